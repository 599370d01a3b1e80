"""The wire: HTTP as bytes, without a decision about where a request goes.

* ``fields``      field lines: grammar, and what each name means to an intermediary
* ``head``        request and response heads: bytes become frozen values, or a ``MessageError``
* ``beginnings``  heads of which a part has come: refused as soon as nothing can mend them
* ``targets``     request targets: what is one, and the form in which it passes
* ``body``        the chunked coding, and how long a body is
* ``huffman``     the code that HTTP/2 writes field names and values in
* ``hpack``       header compression of HTTP/2
* ``h2_fields``   fields of HTTP/2 as the lines of everything else
* ``forwarding``  what an upstream is told about the client; ``forwarded`` is RFC 7239's field
* ``proxy_protocol``  who the client is, said before the first byte of TLS or HTTP
* ``unsent``      how much a client has not taken yet
* ``cookies``     the one that keeps a client at its target
* ``responses``   the answers that the gateway gives itself
* ``announced``   the length of a response, as its client was told, against what is sent
* ``remainder``   the rest of a request that has its answer already
* ``downstream``  what a client's connection, its exchanges and its worker know of each other
* ``upstream``    what an exchange and a connection to an upstream know of each other
* ``h1_server``   a connection from a client (downstream)
* ``h1_client``   a connection to an upstream, and ``last_words`` what one said that broke
* ``h2_frames``   frames of HTTP/2, both ways
* ``h2_credit``   the credit that floods of frames spend, clients' and upstreams'
* ``h2_server``   an HTTP/2 connection from a client; ``h2_output`` is what it sends, ``h2_lifetime`` how it ends
* ``h2_stream``   a request on it, and ``h2_numbers`` streams that are not open
* ``h2_head``     heads of HTTP/2 requests
* ``h2_client``   an HTTP/2 connection to an upstream, and ``h2_upstream_stream`` a request on it
* ``h2_response`` heads of HTTP/2 responses
* ``websocket``   where frames end, how to say goodbye, and the keys of a handshake
* ``h2_tunnel``   a stream of HTTP/2 that carries a WebSocket
"""
