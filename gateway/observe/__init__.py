"""What a person can see of a running gateway.

* ``events``  the event log: what the gateway did and what went wrong, one line each
"""
