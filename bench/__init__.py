"""The gateway beside nginx, HAProxy and Caddy on one machine: `python -m bench` (see README.md).

* ``servers``  the fronts and the upstream behind them: started on their cores, always ended
* ``fronts``   their configurations, as equal as they can be
* ``upstream`` what stands in for an upstream where nginx is missing
* ``loads``    what is done to a front: wrk, TLS handshakes, idle connections
* ``measure``  what a front spent: CPU time and memory of all its processes, out of /proc
* ``scale``    many domains: `python -m bench.scale`
* ``report``   medians, ratios, budgets, the table and RESULTS.md
"""
