"""A flood from one client is one line a minute, hides nobody, and is counted to the last."""

from __future__ import annotations

from typing import Any

from gateway.observe.events import EventLog
from gateway.proxy.complaints import Complaints


class RecordingLog(EventLog):
    """Keeps the messages of warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def warning(self, event: str, message: str, **fields: object) -> None:
        self.said.append(f"{event}: {message}")


def heard() -> tuple[Complaints, list[str], Any]:
    log = RecordingLog()
    complaints = Complaints(log)

    def note(now: float, address: str, message: str, event: str = "e") -> None:
        complaints.note(now, event, address, message, {})

    return complaints, log.said, note


def test_one_client_gets_one_line_a_minute_with_the_count_of_the_rest() -> None:
    complaints, said, note = heard()
    for _ in range(100):
        note(0.0, "192.0.2.1", "flood")
    note(1.0, "192.0.2.2", "another client")
    note(1.0, "192.0.2.1", "of another kind", event="f")
    assert said == ["e: flood", "e: another client", "f: of another kind"]
    complaints.tick(59.9)
    assert len(said) == 3
    complaints.tick(60.0)
    assert said[3:] == ["e: 99 more of 192.0.2.1, the last: flood"]
    note(61.0, "192.0.2.1", "again")
    assert said[4:] == ["e: again"]
    assert complaints.left_out == 99


def test_the_addresses_of_one_ipv6_network_are_one_client() -> None:
    _, said, note = heard()
    for number in range(100):
        note(0.0, f"2001:db8::{number}", f"line {number}")
    assert len(said) == 4
    for host in ("::1", ":2:3:4:5", ":ffff::%eth0"):
        note(0.0, f"2001:db8:0:1{host}", "line")
    note(0.0, "2001:db8:0:2::1", "line")
    assert len(said) == 6


def test_a_client_that_fails_in_different_ways_hears_of_a_few() -> None:
    complaints, said, note = heard()
    for number in (1, 1, 2, 2, 3, 4, 5, 6):
        note(0.0, "192.0.2.1", f"reason {number}")
    assert said == [f"e: reason {number}" for number in (1, 2, 3, 4)]
    complaints.close()
    assert said[4:] == ["e: 4 more of 192.0.2.1, the last: reason 6"]


def test_a_flood_from_everywhere_is_bounded_in_lines_and_in_memory() -> None:
    complaints, said, note = heard()
    for tick in range(100):
        for number in range(1000):
            note(tick / 10, f"10.{tick}.{number >> 8}.{number & 255}", "line")
        complaints.tick(tick / 10)
    assert len(said) == 1023
    assert len(complaints._matters) == 1024  # the last one is all others
    complaints.tick(100.0)
    assert said[1023:] == [f"e: {100_000 - 1023} more, the last: line"]


def test_what_is_nobodys_in_particular_is_told_beside_a_flood() -> None:
    complaints, said, note = heard()
    for tick in range(100):
        for number in range(20):
            note(0.0, f"10.0.{tick}.{number}", "line")
        complaints.tick(0.0)
    note(0.0, "", "this worker is full", event="accept.paused")
    assert said[-1] == "accept.paused: this worker is full"


def test_the_end_tells_what_was_left_out() -> None:
    complaints, said, note = heard()
    for _ in range(3):
        note(0.0, "192.0.2.1", "line")
    complaints.close()
    assert said == ["e: line", "e: 2 more of 192.0.2.1, the last: line"]
