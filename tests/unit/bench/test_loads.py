from __future__ import annotations

import pytest

from bench import loads
from bench.loads import Served, parse_wrk


def test_wrk_is_read_from_the_line_of_our_script() -> None:
    output = """\
Running 2s test @ https://localhost:40001/small
  1 threads and 32 connections
  40000 requests in 2.00s, 9.00MB read
Requests/sec:  20000.00
{"requests":40000,"bytes":9437184,"seconds":2.000500,"errors":3,"p50":1.030000,"p99":3.970000}
"""
    assert parse_wrk(output) == Served(40000, 9437184, 2.0005, errors=3, p50=1.03, p99=3.97)


def test_wrk_that_could_not_connect_is_quoted() -> None:
    with pytest.raises(ValueError, match="unable to connect to localhost:1"):
        parse_wrk("unable to connect to localhost:1 Connection refused\n")


H2LOAD = """\
finished in 1.42s, 7042.11 req/s, 1.98MB/s
requests: 10000 total, 10000 started, 10000 done, 9999 succeeded, 1 failed, 0 errored, 0 timeout
status codes: 9999 2xx, 0 3xx, 0 4xx, 1 5xx
traffic: 2.81MB (2950000) total, 480.51KB (492044) headers (space savings 95.21%), 1.22MB (1280000) data
                     min         max         mean         sd        +/- sd
time for request:     1.04ms     45.80ms     13.92ms      4.92ms    74.16%
time for connect:     6.35ms     15.32ms     10.50ms      3.01ms    60.00%
"""


def test_h2loads_summary_is_read() -> None:
    served = loads.parse_h2load(H2LOAD)
    assert (served.requests, served.errors, served.bytes, served.seconds) == (9999, 1, 1280000, 1.42)
    assert served.p50 == pytest.approx(13.92)


def test_what_h2load_says_instead_is_quoted() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        loads.parse_h2load("unable to connect")
