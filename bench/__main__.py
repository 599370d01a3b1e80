"""Measure the fronts side by side and print one table. README.md here says how to read it."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import platform
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import gateway
from bench import loads, report, servers
from bench.measure import cpu_seconds, memory_kb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    Result = TypeVar("Result")

RESULTS = Path(__file__).parent / "RESULTS.md"
VERSION_FLAGS = {"nginx": "-v", "haproxy": "-v", "caddy": "version"}
H2_REQUESTS, H2_DOWNLOADS = 10_000, 10
HANDSHAKES = IDLE_CONNECTIONS = 1000
FAILURES = (RuntimeError, ValueError, OSError, HTTPException, subprocess.TimeoutExpired)


@dataclass(frozen=True, slots=True)
class Front:
    """A server under measurement."""

    name: str
    pid: int
    place: servers.Place

    def cost(self, load: Callable[[], Result]) -> tuple[Result, float]:
        """Apply a load and give its result and the CPU seconds that the front spent on it."""
        before = cpu_seconds(self.pid)
        result = load()
        return result, cpu_seconds(self.pid) - before

    def wrk(self, path: str, seconds: int, connections: int) -> tuple[loads.Served, float]:
        """Drive with wrk; RuntimeError when the front failed a request."""
        place = self.place
        return self.done(partial(loads.wrk, place.port, path, place.home, seconds, connections))

    def done(self, load: Callable[[], loads.Served]) -> tuple[loads.Served, float]:
        """Apply a load of requests; RuntimeError when the front failed one."""
        served, spent = self.cost(load)
        if served.errors or not served.requests:
            raise RuntimeError(f"{served.requests} answers and {served.errors} errors")
        return served, spent


# Each measurement puts one load on one front and gives measures by the names that the report knows.


def idle(front: Front, _: int) -> dict[str, float]:
    """Hold idle connections, after a few that make the front allocate what it keeps anyway."""
    with loads.idle_connections(front.place.port, 10):
        pass
    before = memory_kb(front.pid)
    with loads.idle_connections(front.place.port, IDLE_CONNECTIONS):
        return {"idle": (memory_kb(front.pid) - before) / IDLE_CONNECTIONS}


def requests(front: Front, seconds: int) -> dict[str, float]:
    """Ask for a small answer as fast as the front gives it."""
    served, spent = front.wrk("/small", seconds, 32)
    return {
        "rate": served.requests / served.seconds,
        "rate_busy": spent / served.seconds,
        "request": spent / served.requests * 1e6,
        "p50": served.p50,
        "p99": served.p99,
    }


def bulk(front: Front, seconds: int) -> dict[str, float]:
    """Fetch 10 MB after 10 MB, then send them; of a fetch that the end cut, the bytes count."""
    served, spent = front.wrk("/bulk", max(1, seconds // 2), 4)
    download = spent / served.bytes * loads.BULK_BYTES
    served, spent = front.wrk("/upload", max(1, seconds // 2), 4)
    return {"download": download * 1e3, "upload": spent / served.requests * 1e3}


def http2(front: Front, seconds: int) -> dict[str, float]:
    """Ask for small answers on ten connections, ten at a time on each; then for large ones."""
    small = partial(loads.h2load, front.place.port, "/small", H2_REQUESTS * seconds, 10, 10)
    served, spent = front.done(small)
    large = partial(loads.h2load, front.place.port, "/bulk", H2_DOWNLOADS * seconds, 2, 2)
    _, spent_large = front.done(large)
    return {
        "h2_rate": served.requests / served.seconds,
        "h2_rate_busy": spent / served.seconds,
        "h2_request": spent / served.requests * 1e6,
        "h2_download": spent_large / (H2_DOWNLOADS * seconds) * 1e3,
    }


def handshakes(key: str, name: str, front: Front, seconds: int) -> dict[str, float]:
    """Do nothing but handshakes for a name; they are resumed when the key says so."""
    resume = key == "resumed"
    load = partial(loads.handshakes, front.place.port, name, HANDSHAKES, seconds, resume=resume)
    (done, taken), spent = front.cost(load)
    return {f"{key}_rate": done / taken, f"{key}_rate_busy": spent / taken, key: spent / done * 1e6}


MEASUREMENTS = (
    requests,
    bulk,
    http2,
    partial(handshakes, "full", "localhost"),
    partial(handshakes, "resumed", "localhost"),
    partial(handshakes, "full_rsa", "rsa.localhost"),
)


def measure_all(fronts: list[Front], seconds: int, rounds: int) -> tuple[report.Samples, bool]:
    """Measure the fronts in turn, load by load: a noisy minute of the machine falls on all of them.

    Also gives whether every front carried every load; where one did not, that is told and there is no sample.
    Memory is measured once and first, while the fronts are new.
    """
    samples: dict[str, dict[str, list[float]]] = {front.name: defaultdict(list) for front in fronts}
    whole = True
    for number in range(rounds + 1):
        tell(f"round {number} of {rounds}")
        for measurement in MEASUREMENTS if number else (idle,):
            for front in fronts:
                try:
                    for key, value in measurement(front, seconds).items():
                        samples[front.name][key].append(value)
                except FAILURES as error:
                    whole = False
                    tell(f"{front.name} failed: {error}")
    return samples, whole


@contextlib.contextmanager
def started(names: list[str], cores: list[int]) -> Iterator[list[Front]]:
    """Run the upstream and the named fronts; one that does not start is told about and left out."""
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        servers.make_certificates(base)
        upstream, *ports = servers.free_ports(1 + len(names))
        place = servers.Place(base / "upstream", upstream, upstream)
        stack.enter_context(servers.running("upstream", place, set(cores[:-1] or cores)))
        fronts = []
        for name, port in zip(names, ports, strict=True):
            place = servers.Place(base / name, port, upstream)
            process = stack.enter_context(servers.running(name, place, {cores[-1]}))
            try:
                servers.await_answer(process, place)
                fronts.append(Front(name, process.pid, place))
            except RuntimeError as error:
                tell(f"{name} is left out: {error}")
        yield fronts


def tell(text: str) -> None:
    """Say what happens, beside the table on standard output."""
    print(text, file=sys.stderr, flush=True)


def first_line(*command: str) -> str:
    """Give the first line that a command says, on either stream, or nothing when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True, cwd=servers.HERE.parent)
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout + done.stderr).partition("\n")[0]


def circumstances(cores: int, load: float, command: str) -> str:
    """Write the date, the machine, the command and the versions of a run."""
    model = Path("/proc/cpuinfo").read_text().partition("model name\t: ")[2].partition("\n")[0]
    commit = first_line("git", "describe", "--always", "--dirty")
    lines = [
        f"## {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC\n",
        f"* machine: {model or platform.machine()}, {cores} cores, load average before {load:.2f}",
        f"* command: `{command}`",
        f"* ours: {gateway.__version__} {commit}, Python {platform.python_version()}",
    ]
    for name, flag in VERSION_FLAGS.items():
        if path := servers.which(name):
            lines.append(f"* {name}: {first_line(path, flag)}")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--only", default=",".join(servers.FRONTS), help="which fronts (%(default)s)")
    add("--rounds", type=int, default=5, help="how often each front is measured (%(default)s)")
    add("--seconds", type=int, default=2, help="of small requests per front and round (%(default)s)")
    add("--quick", action="store_const", dest="rounds", const=1, help="one round: to look at, not to keep")
    add("--save", action="store_true", help="add the table to bench/RESULTS.md")
    return parser.parse_args()


def main() -> int:
    """Run the benchmark; 0 when every wanted and installed front was measured, whatever the budget says."""
    options = arguments()
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(servers.FRONTS):
        tell(f"--only knows {', '.join(servers.FRONTS)}, not {', '.join(sorted(unknown))}")
        return 2
    if not servers.which("wrk"):
        tell("wrk is missing and nothing can be measured without it (Debian, Ubuntu: apt-get install wrk)")
        return 2
    names = [name for name in wanted if name == "ours" or servers.which(name)]
    if len(names) < len(wanted):
        tell(f"not installed, left out: {', '.join(name for name in wanted if name not in names)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load, start = os.getloadavg()[0], time.monotonic()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:-1] or cores)  # the last one is the fronts'
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with started(names, cores) as fronts:
        samples, whole = measure_all(fronts, options.seconds, options.rounds)
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    entry = f"{circumstances(len(cores), load, command)}\n\n{report.table(samples)}\n"
    print(entry)
    tell(f"{time.monotonic() - start:.0f} s")
    if options.save:
        RESULTS.write_text(report.with_entry(RESULTS.read_text() if RESULTS.exists() else "", entry))
    return 0 if whole and len(fronts) == len(names) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
