from __future__ import annotations

import pytest

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
