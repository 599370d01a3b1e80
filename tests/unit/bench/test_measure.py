from __future__ import annotations

import os
import subprocess
import sys

from bench.measure import cpu_seconds, memory_kb, parse_pss, parse_stat, session

STAT = (
    "4242 (a ) (b) S 7 4242 4200 0 -1 4194560 2046 913 0 0 1500 250 30 4 20 0 4 0 880 "
    "1040000 512 18446744073709551615 1 1 0 0 0 0 0 16781312 0 0 0 0 17 1 0 0 0 0 0\n"
)


def test_a_process_name_with_spaces_and_parentheses_does_not_shift_the_fields() -> None:
    assert parse_stat(STAT) == (4200, 1500 + 250 + 30 + 4)


def test_the_memory_is_the_proportional_size_and_not_its_parts() -> None:
    assert parse_pss("55d0-7ffe ---p 0 00:00 0 [rollup]\nRss: 9000 kB\nPss: 4321 kB\nPss_Anon: 17 kB\n") == 4321


def test_a_session_is_its_leader_and_what_it_forked_and_nothing_else() -> None:
    script = "import os, sys; pid = os.fork(); pid and print(pid, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        forked = int(process.stdout.readline())
        assert set(session(process.pid)) == {process.pid, forked}
        assert 0 <= cpu_seconds(process.pid) < 60
        assert memory_kb(process.pid) > 100
        assert os.getpid() not in session(process.pid)
        process.communicate()
