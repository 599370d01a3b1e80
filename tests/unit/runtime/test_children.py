"""What the supervisor knows of its children: slots, back-off, words for an end, and a shared number."""

from __future__ import annotations

import os
import signal

import pytest

from gateway.runtime.children import QUICK_DEATH_SECONDS, Role, SharedCount, Slot, how_it_ended


def test_the_first_death_is_replaced_at_once_and_a_crash_loop_ever_more_slowly() -> None:
    slot = Slot(Role.WORKER, 1)
    now, delays = 100.0, []
    for _ in range(11):
        slot.filled(4711, now)
        delays.append(slot.emptied(now + 0.1))
        assert (slot.pid, slot.due) == (0, now + 0.1 + delays[-1])
    assert delays == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_child_that_has_lived_is_replaced_at_once_whatever_was_before() -> None:
    slot = Slot(Role.WORKER, 1, quick_deaths=5)
    slot.filled(4711, 100.0)
    assert slot.emptied(100.0 + QUICK_DEATH_SECONDS) == 0.0
    slot.filled(4712, 200.0)
    assert slot.emptied(200.1) == 0.0


@pytest.mark.parametrize(("slot", "name"), [(Slot(Role.WORKER, 3), "worker 3"), (Slot(Role.CONTROL, 0), "control")])
def test_slots_have_names_for_people(slot: Slot, name: str) -> None:
    assert slot.name == name


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with status 0"),
        (3, "exited with status 3"),
        (-9, "was killed by SIGKILL"),
        (-11, "was killed by SIGSEGV"),
        (-(signal.SIGRTMIN + 1), "was killed by signal 35"),
    ],
)
def test_an_end_is_told_in_words(status: int, words: str) -> None:
    assert how_it_ended(status) == words


def test_a_shared_number_is_seen_by_children_of_a_fork() -> None:
    count = SharedCount(2)
    go_reader, go_writer = os.pipe()
    if (pid := os.fork()) == 0:
        os.read(go_reader, 1)
        os._exit(count.get() % 256)
    count.set(77)
    os.write(go_writer, b"x")
    _, status = os.waitpid(pid, 0)
    os.close(go_reader)
    os.close(go_writer)
    assert os.waitstatus_to_exitcode(status) == 77
