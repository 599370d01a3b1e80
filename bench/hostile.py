"""What a well-behaved client notices of the others, and whether every bound holds. README.md says how to read it.

One gateway with one worker, on the last core, with limits of two seconds, 600 connections and 200 per address; the
attackers are another process on the other cores, beside the client that is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING

from bench import __main__ as table_of_fronts
from bench import report, servers
from bench.attacks import ATTACKS
from bench.loads import client_context
from bench.measure import PROC, cpu_seconds, memory_kb, session

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CONNECTIONS, MOST_PER_ADDRESS, LIMIT_SECONDS = 600, 200, 2.0
# A connection may need one to the upstream; listeners, database, logs and all other processes are in it too.
MOST_FILES = 2 * MOST_CONNECTIONS + 150
MOST_KB_PER_CONNECTION = 100
# The tick looks twice a second, and a loaded machine takes its time.
SLACK_SECONDS = 2.0
MORE_THAN_FIT = 900
SLOW_READERS = 100  # each holds megabytes of the kernel's memory
SLOWHTTPTEST = {
    "slowhttptest -H": "-H -i 1",
    "slowhttptest -B": "-B -i 3 -s 100000 -t POST",
    "slowhttptest -X": "-X -w 512 -y 1024 -n 3 -z 32",
}


@dataclass
class Client:
    """Asks at a steady pace, on a kept connection and on new ones; latencies are in ms."""

    port: int
    kept: list[float] = field(default_factory=list)
    fresh: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Ask while the block runs."""
        over = threading.Event()
        threads = [
            threading.Thread(target=self._ask, args=(over, self.kept, 0.005, True)),
            threading.Thread(target=self._ask, args=(over, self.fresh, 0.05, False)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _ask(self, over: threading.Event, taken: list[float], pause: float, keep: bool) -> None:
        context = client_context()
        connection = None
        while not over.wait(pause):
            started = time.monotonic()
            try:
                connection = connection or HTTPSConnection("localhost", self.port, timeout=10, context=context)
                connection.request("GET", "/small")
                answer = connection.getresponse()
                if answer.status != 200 or not answer.read():
                    self.failures.append(f"status {answer.status}")
            except OSError as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                connection = None
                continue
            taken.append((time.monotonic() - started) * 1e3)
            if not keep:
                connection.close()
                connection = None
        if connection:
            connection.close()


@dataclass
class Watch:
    """The most files and memory that the gateway's processes had while it looked."""

    leader: int
    files: int = 0
    memory: int = 0

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Look now and then while the block runs."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(0.3):
                self.files = max(self.files, open_files(self.leader))
                self.memory = max(self.memory, memory_kb(self.leader))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def open_files(leader: int) -> int:
    """Count the descriptors of all processes of a session."""
    return sum(sum(1 for _ in (PROC / str(pid) / "fd").iterdir()) for pid in session(leader))


@dataclass(frozen=True)
class Row:
    """One attack: what it did, what the client had of it, what the gateway spent, and which bounds broke."""

    name: str
    cells: tuple[str, ...]
    broken: tuple[str, ...]


def attack(name: str, port: int, connections: int, seconds: int, home: Path) -> dict[str, float]:
    """Run an attack in a process of its own; give its report."""
    if flags := SLOWHTTPTEST.get(name):
        target = "/bulk" if name.endswith("X") else "/upload" if name.endswith("B") else "/small"
        command = f"slowhttptest {flags} -c 150 -r 150 -l {seconds} -p 3 -u https://localhost:{port}{target}"
        subprocess.run(command.split(), cwd=home, capture_output=True, timeout=seconds + 60, check=False)
        return {}
    command = [sys.executable, "-m", "bench.attacks", name.partition(" ")[0], str(port), str(connections), str(seconds)]
    done = subprocess.run(
        command, cwd=servers.HERE.parent, capture_output=True, text=True, timeout=seconds + 60, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the attackers failed: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def p(values: list[float], percent: int) -> float:
    """Give a percentile, or 0 where there is too little to tell."""
    return quantiles(values, n=100)[percent - 1] if len(values) > 1 else 0.0


def measure(name: str, place: servers.Place, leader: int, connections: int, seconds: int) -> Row:
    """Measure a client alone, then beside an attack, and see that all is as before afterwards."""
    alone, beside = Client(place.port), Client(place.port)
    with alone.asking():
        time.sleep(2)
    settled(leader)
    files, memory, spent = open_files(leader), memory_kb(leader), cpu_seconds(leader)
    watch = Watch(leader)
    with watch.looking(), beside.asking():
        told = attack(name, place.port, connections, seconds, place.home)
    spent = cpu_seconds(leader) - spent
    bound = {"one_address": MOST_PER_ADDRESS}.get(name, MOST_CONNECTIONS)
    longest = told.get("longest", 0.0)
    broken = [
        f"{len(client.failures)} failures, {when}: {client.failures[0]}"
        for when, client in (("alone", alone), ("beside", beside))
        if client.failures
    ]
    # A kept connection to an upstream is not the attacker's; the client's own are few.
    if watch.files > files + 2 * bound + 20 or watch.files > MOST_FILES:
        broken.append(f"{watch.files} open files")
    grown = watch.memory - memory
    if grown > MOST_KB_PER_CONNECTION * bound:
        broken.append(f"{grown / 1024:.0f} MB")
    if longest > 2 * LIMIT_SECONDS + SLACK_SECONDS:
        broken.append(f"a connection lived {longest:.1f} s")
    if not settled(leader, files + 20):
        broken.append("connections are left over")
    kept, quiet = p(beside.kept, 99), p(alone.kept, 99)
    return Row(
        name,
        (
            f"{told.get('made', 150):.0f}", f"{p(alone.kept, 50):.2f}", f"{p(beside.kept, 50):.2f}",
            f"{quiet:.2f}", f"{kept:.2f}{' (!)' if kept > 2 * quiet else ''}", f"{p(alone.fresh, 99):.1f}",
            f"{p(beside.fresh, 99):.1f}", f"{watch.files - files}", f"{grown / 1024:.1f}", f"{longest:.1f}",
            f"{spent / seconds * 100:.0f} %", "; ".join(broken) or "held",
        ),
        tuple(broken),
    )  # fmt: skip


def settled(leader: int, most: int | None = None) -> bool:
    """Wait until the gateway has closed what an attack left; tell whether it has come down to ``most`` files."""
    deadline = time.monotonic() + 2 * LIMIT_SECONDS + SLACK_SECONDS
    before = -1
    while time.monotonic() < deadline:
        now = open_files(leader)
        if now <= most if most is not None else now == before:
            return True
        before = now
        time.sleep(0.3)
    return False


HEADINGS = (
    "attack", "connections", "p50 alone", "p50 beside", "p99 alone", "p99 beside", "new p99 alone", "new p99 beside",
    "files", "MB", "longest s", "CPU", "bounds",
)  # fmt: skip


def table(rows: list[Row]) -> str:
    """Write the table in Markdown."""
    lines = [HEADINGS, tuple("-" * len(heading) for heading in HEADINGS), *((row.name, *row.cells) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.hostile", description=__doc__)
    names = [*ATTACKS, "idle (full)", *(SLOWHTTPTEST if servers.which("slowhttptest") else ())]
    parser.add_argument("--only", default=",".join(names), help="which attacks (%(default)s)")
    parser.add_argument("--connections", type=int, default=400, help="of an attack at a time (%(default)s)")
    parser.add_argument("--seconds", type=int, default=6, help="of each attack (%(default)s)")
    parser.add_argument("--save", action="store_true", help="add the table to bench/RESULTS.md")
    return parser.parse_args()


def main() -> int:
    """Run the attacks; 1 when a bound was broken."""
    options = arguments()
    load, cores = os.getloadavg()[0], sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:-1] or cores)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    rows = []
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        servers.make_certificates(base)
        upstream, port = servers.free_ports(2)
        others = set(cores[:-1] or cores)
        stack.enter_context(servers.running("upstream", servers.Place(base / "upstream", upstream, upstream), others))
        place = servers.Place(base / "hostile", port, upstream)
        process = stack.enter_context(servers.running("hostile", place, {cores[-1]}))
        servers.await_answer(process, place)
        for name in options.only.split(","):
            counts = {"idle (full)": MORE_THAN_FIT, "slow_read": min(SLOW_READERS, options.connections)}
            connections = counts.get(name, options.connections)
            rows.append(measure(name, place, process.pid, connections, options.seconds))
            print(f"{name}: {rows[-1].cells[-1]}", file=sys.stderr, flush=True)
        lines = place.output.read_text(errors="replace").count("\n")
    command = shlex.join(["python", "-m", "bench.hostile", *sys.argv[1:]])
    entry = (
        f"{table_of_fronts.circumstances(len(cores), load, command)}\n\n{table(rows)}\n\n"
        f"{lines} lines in the event log.\n"
    )
    print(entry)
    if options.save:
        results = table_of_fronts.RESULTS
        results.write_text(report.with_entry(results.read_text() if results.exists() else "", entry))
    return 1 if any(row.broken for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
