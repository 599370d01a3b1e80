"""An HTTPS gateway: many domains on one port, their certificates swapped at runtime, with nothing dropped.

Where everything lives, in the order in which imports may point (left may import right, never back):

``cli`` → ``runtime`` → ``admin`` | ``proxy`` → ``store`` | ``http`` | ``routing`` | ``observe`` → ``tls`` | ``certs``
→ ``config`` → ``errors``

* ``config``   files and environment become frozen settings, or a list of problems
* ``tls``      policy, ClientHello, contexts, the encrypted transport
* ``certs``    certificate material: parsing, checking, describing, sealing
* ``store``    what outlives a process: generations, certificates
* ``routing``  which API a request belongs to, and which of its targets; pure decisions
* ``http``     the wire: heads, framing, connections on both sides
* ``proxy``    the request path from accept to access-log line
* ``observe``  access log, event log
* ``admin``    the control port
* ``runtime``  the three roles: supervisor, control, worker
* ``cli``      what a person types
"""

__version__ = "0.1.0"
