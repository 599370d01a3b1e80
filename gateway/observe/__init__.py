"""What a person can see of a running gateway.

* ``access_log``  one line per request
* ``events``  the event log: what the gateway did and what went wrong, one line each
"""
