"""The control port: what can be asked of a running gateway over HTTP.

* ``app``             the application, composed of the calls that these declare:
  ``health``, ``certificates``, ``domains``, ``bulk``, ``crls``, ``expiring``, ``definitions``, ``reload``,
  ``generations``, ``upstreams``, ``accounts``, ``keys``, ``configuration``
* ``adjustments``     what may be changed in the main file
* ``operations``      what the calls ask of the gateway; the runtime implements it; ``key_operations`` about keys
* ``authentication``  who may ask; ``identity``: administrators and their roles
* ``concealment``     secrets within definitions, which are not shown
* ``declarations``    how a call is declared; ``routes`` serves it, ``openapi`` describes it
* ``uploads``         the bodies that a certificate comes in
"""
