"""What a front spends: CPU time and memory of all processes of its session, read from /proc (Linux).

Every server here is started as the leader of a session, so that session is the server and all that it forked.
"""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def parse_stat(text: str) -> tuple[int, int]:
    """Give the session and the clock ticks of one /proc/PID/stat (proc(5): fields 6 and 14 to 17).

    The ticks of children that ended and were waited for are included: the sum over a session never falls when
    a process is replaced. The name (field 2) may hold spaces and parentheses; the last one ends it.
    """
    fields = text.rpartition(")")[2].split()
    return int(fields[3]), sum(map(int, fields[11:15]))


def parse_pss(text: str) -> int:
    """Give the kB of one /proc/PID/smaps_rollup, where a page shared by n processes counts 1/n."""
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def session(leader: int) -> dict[int, int]:
    """Give the clock ticks of each process of a session."""
    ticks = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                found, used = parse_stat((entry / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
            if found == leader:
                ticks[int(entry.name)] = used
    return ticks


def cpu_seconds(leader: int) -> float:
    """Give the user and system time that a session has used, in steps of a clock tick (10 ms)."""
    return sum(session(leader).values()) / os.sysconf("SC_CLK_TCK")


def memory_kb(leader: int) -> int:
    """Give the kB of memory that a session holds, shared pages counted once."""
    return sum(parse_pss((PROC / str(pid) / "smaps_rollup").read_text()) for pid in session(leader))
