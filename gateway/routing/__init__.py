"""Which API a request belongs to and which of its targets gets it: pure decisions, on the bytes of the wire.

* ``router``     host and path to a route, by Tyk's order
* ``shadowed``  APIs that nobody can reach
* ``paths``      cleaning a request's path, and turning it into the upstream's
* ``domains``    which domain an API answers for
* ``admission``  who may ask an API; ``clients`` who may by certificate
* ``field_rules``  changes to header fields
* ``policies``   TLS towards clients; ``upstream_trust`` towards upstreams
* ``front``      what a client of a name meets, as a worker tells it
* ``templates``  ``{name}`` and ``{name:expression}`` in domains and listen paths
* ``balancing``  the targets of an API
* ``balancer``   which of them gets a request, by ``choice`` (the policies), ``health`` and ``retries``
* ``uptime``     which hosts are down, from the results of checks
* ``services``   what other ports serve, and which service a connection is for
* ``snapshot``   everything that a worker serves, as one value
"""
