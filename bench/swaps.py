"""Certificates swapped under load, a thousand times in every way: `python -m bench.swaps` (see README.md).

Two workers serve kept connections, new connections, streams that never end and a large download, while the certificates
of some domains are swapped through the API, by files in each style, and rolled back. No request may fail, no connection
may be reset, no stream may break or jump; what was acknowledged must show on every new connection; sessions must go on
to be resumed. Exit status: 0 when all of that held, else 1.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import signal
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

from bench import swap_clients, swap_upstream
from bench.servers import free_ports
from bench.swap_clients import PATIENCE, Course, Handshake, Outcome, Place
from bench.swap_node import API, OTHERS, STYLES, Node, Swap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


QUIET = "without swaps"


def broken_promises(history: Sequence[Swap], seen: Iterable[Handshake]) -> Iterator[str]:
    """Tell of connections that saw a certificate before it was asked for, or after its successor was acknowledged.

    ``history`` are the swaps of one name in order, and ``seen`` the new connections for it.
    """
    ends = [*(swap.acknowledged for swap in history[1:]), float("inf")]
    served: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for swap, end in zip(history, ends, strict=True):
        served[swap.fingerprint].append((swap.asked, end))
    for one in seen:
        if not any(asked <= one.ended and one.began <= end for asked, end in served[one.fingerprint]):
            late = min((one.began - end for _, end in served[one.fingerprint]), default=0.0, key=abs)
            yield f"{one.name} showed another certificate than it should ({late * 1000:.1f} ms after its end)"


class Load:
    """The clients and the upstream, in processes of their own."""

    def __init__(self, place: Place, options: argparse.Namespace) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.course = Course(spawn.Semaphore(0), spawn.Event(), spawn.Queue())
        rate, size = options.rate, options.download
        kinds = [
            ("newcomers", 8, rate), ("regulars", 16, options.requests), ("resumers", 4, max(rate / 20, 2.0)),
            ("downloads", 1, size / options.download_seconds, size), ("streams", options.streams),
        ]  # fmt: skip
        self._processes = [
            spawn.Process(target=swap_clients.be, args=(kind, many, place, self.course, *more), daemon=True)
            for kind, many, *more in kinds
        ]
        for process in self._processes:
            process.start()
        for _ in self._processes:
            self.course.begun.acquire(timeout=PATIENCE)

    def end(self) -> list[Outcome]:
        """Stop the clients; return what they saw."""
        self.course.stop.set()
        outcomes = [self.course.results.get(timeout=2 * PATIENCE) for _ in self._processes]
        for process in self._processes:
            process.join(PATIENCE)
        return outcomes


@dataclass(slots=True)
class Run:
    """The phases of a run: what was done in each, and when."""

    node: Node
    seen: list[Handshake] = field(default_factory=list)
    times: dict[str, list[float]] = field(default_factory=dict)
    phases: dict[str, tuple[float, float]] = field(default_factory=dict)

    def wait(self, seconds: float) -> None:
        """Let the load run without swaps."""
        began = time.monotonic()
        time.sleep(seconds)
        self.phases[QUIET] = began, time.monotonic()

    def swap(self, title: str, change: Callable[[], float], count: int, seconds: float, names: Sequence[str]) -> None:
        """Change so many times, for so many seconds at most; look at new connections after each."""
        began, self.times[title] = time.monotonic(), []
        while len(self.times[title]) < count and time.monotonic() - began < seconds:
            self.times[title].append(change())
            self.seen += self.node.look(names)
        self.phases[title] = began, time.monotonic()


def judge(run: Run, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Tell everything that went wrong."""
    for outcome in outcomes:
        for reason, count in outcome.failures.items():
            yield f"{outcome.kind}: {count} x {reason}"
        if not outcome.done:
            yield f"{outcome.kind}: nothing was done"
    for complaint, count in run.node.complaints.items():
        yield f"event log: {count} x {complaint}"
    handshakes = [*run.seen, *(one for outcome in outcomes for one in outcome.handshakes)]
    for name, history in run.node.histories.items():
        wrong = list(broken_promises(history, (one for one in handshakes if one.name == name)))
        if wrong:
            yield f"{len(wrong)} x {wrong[0]}"


def report(run: Run, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Write what was done, in Markdown."""
    yield "| what | how often | ms, median | ms, 95 of 100 within |"
    yield "|---|---|---|---|"
    for title, times in run.times.items():
        yield f"| {title} | {len(times):,} | {_ms(times)} |"
    handshakes = [one for outcome in outcomes for one in outcome.handshakes if one.name in OTHERS]
    for title, (began, ended) in run.phases.items():
        times = [one.ended - one.began for one in handshakes if began <= one.began <= ended]
        yield f"| handshakes of other domains, {title} | {len(times):,} | {_ms(times)} |"
    for outcome in outcomes:
        for what, count in outcome.done.items():
            yield f"| {what} | {count:,} | | |"


def _ms(times: Sequence[float]) -> str:
    if len(times) < 2:
        return " | "
    return f"{median(times) * 1e3:.1f} | {quantiles(times, n=20)[-1] * 1e3:.1f}"


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.swaps", description=__doc__)
    parser.add_argument("--swaps", type=int, default=200, help="swaps through the API, and rollbacks (%(default)s)")
    parser.add_argument("--file-swaps", type=int, default=20, help="swaps by file in each style (%(default)s)")
    parser.add_argument("--rate", type=float, default=50, help="new TLS connections a second (%(default)s)")
    parser.add_argument("--requests", type=float, default=200, help="requests a second, kept connections (%(default)s)")
    parser.add_argument("--streams", type=int, default=50, help="answers that never end (%(default)s)")
    parser.add_argument("--download", type=int, default=10**8, help="bytes of the large file (%(default)s)")
    parser.add_argument("--download-seconds", type=float, default=20, help="how long it takes (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="no phase takes longer than this (%(default)s)")
    parser.add_argument("--quiet-seconds", type=float, default=5, help="load before the first swap (%(default)s)")
    return parser.parse_args()


def main() -> int:
    """Run it, and tell what happened."""
    chosen = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    (upstream,) = free_ports(1)
    answering = multiprocessing.get_context("spawn").Process(target=swap_upstream.serve, args=(upstream,), daemon=True)
    answering.start()
    with tempfile.TemporaryDirectory(prefix="bench-swaps-") as home, contextlib.ExitStack() as started:
        node = Node.start(Path(home), upstream)
        started.callback(node.stop)
        load = Load(Place(node.port, (API, *STYLES), OTHERS), chosen)
        started.callback(load.course.stop.set)
        run = Run(node)
        run.wait(chosen.quiet_seconds)
        run.swap("swaps through the API", node.put, chosen.swaps, chosen.seconds, [API] * 2)
        run.swap("swaps by file, four styles at a time", node.write_files, chosen.file_swaps, chosen.seconds, [*STYLES])
        if chosen.swaps > 1:
            run.swap("rollbacks", node.roll_back, chosen.swaps, chosen.seconds, [API] * 2)
        outcomes = load.end()
        wrong = list(judge(run, outcomes))
    answering.terminate()
    print("\n".join(report(run, outcomes)))
    print("\n".join(f"FAILED: {one}" for one in wrong) or "nothing failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
