"""What a person can see of a running gateway.

* ``access_log``  one line per request
* ``events``  the event log: what the gateway did and what went wrong, one line each
* ``whole_lines``  lines that are written whole or not at all, for both
"""
