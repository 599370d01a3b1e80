"""The control port: what can be asked of a running gateway over HTTP.

* ``app``  the Starlette application: ``/hello`` and ``/ready``
"""
