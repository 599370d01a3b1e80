"""The request path, from accept to the access-log line.

* ``server``     one worker's front: its connections, the tick, what they share
* ``listener``   accepting
* ``shares``     so that no worker takes many more connections than the others
* ``room``       whom a full worker lets go for those who wait
* ``complaints``  what of a flood is logged
* ``handshake``  from an accepted socket to TLS: peek, name, site, handshake
* ``sites``      the bounded cache of TLS sites
* ``exchange``   one request and its response, phase by phase
* ``tunnel``     what an exchange becomes when both ends switch protocols
* ``pool``       connections to one upstream address, and ``multiplexed_pool`` those of HTTP/2
"""
