"""TLS: who is asked for, what may be negotiated, and why a handshake failed.

* ``versions``      the four versions and their spellings
* ``ciphers``       one table of cipher suites, and the language in which people choose from it
* ``policy``        versions + ciphers + preference: what one listener or one upstream may negotiate
* ``names``         server names as they are compared: A-labels, wildcards, addresses
* ``client_hello``  the first message of a client, read before TLS starts; ``octets`` takes messages apart
* ``postgresql``    how clients of PostgreSQL ask for TLS
* ``context``       the only file that turns a policy into OpenSSL
* ``records``       application data through OpenSSL, below pyOpenSSL's costlier wrappers
* ``alerts``        OpenSSL's errors in words, and the alert that refuses a connection
* ``transport``     the encrypted connection on the event loop
* ``client_authentication``  how a client is asked for a certificate; ``client_certificates`` whether it gets in
* ``upstream``      what is demanded of an upstream, and what it is shown
* ``trial``         a handshake in memory, before a certificate is served
* ``scan``          what another server negotiates; ``probe`` asks it, ``suites`` are all that it may speak

The first six decide and do no I/O.
"""
