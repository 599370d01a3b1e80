"""The control port: what can be asked of a running gateway over HTTP.

* ``app``             the application, composed of the calls that these declare:
  ``health``, ``certificates``, ``domains``, ``definitions``, ``reload``, ``generations``, ``upstreams``
* ``operations``      what the calls ask of the gateway; the runtime implements it
* ``authentication``  who may ask
* ``declarations``    how a call is declared; ``routes`` serves it, ``openapi`` describes it
* ``uploads``         the bodies that a certificate comes in
"""
