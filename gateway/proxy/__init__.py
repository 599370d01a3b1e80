"""The request path, from accept to the access-log line.

* ``server``     one worker's front: its connections, the tick, what they share
* ``listener``   accepting
* ``shares``     so that no worker takes many more connections than the others
* ``room``       whom a full worker lets go for those who wait
* ``complaints``  what of a flood is logged
* ``peeking``    a connection before anything is taken from it; a PROXY header
* ``handshake``  from an accepted socket to TLS: peek, name, site, handshake
* ``sites``      the bounded cache of TLS sites
* ``exchange``   one request and its response, phase by phase
* ``attempts``   the part of it that finds a connection; ``affinity`` is what a request is known by
* ``edge_fields``  what the gateway adds to header fields and removes from them
* ``tunnel``     what an exchange becomes when both ends switch protocols
* ``services``   the ports of services; ``service_handshake`` finds which a connection is for, ``service_connection``
  is one of a client's, ``service_pool`` those to targets
* ``upstreams``  what a worker knows of upstreams, over all snapshots: pools, names, health
* ``upstream_tls``  contexts towards upstreams, and the last look at who is there
* ``resolver``   the addresses of names; ``dialling`` connects to the first that answers
* ``pool``       connections to one upstream address; ``multiplexed_pool`` those of HTTP/2, ``introduced_pool`` those
  that begin with a PROXY header
"""
