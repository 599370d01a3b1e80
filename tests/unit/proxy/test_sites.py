"""Which sites a worker remembers: no more than allowed, and those that were asked for last."""

from __future__ import annotations

import pytest
from support.front import LOCALHOST, api, configuration

from gateway.certs.choice import NEVER, Choice
from gateway.errors import StoreError
from gateway.proxy.sites import Sites
from gateway.routing import snapshot

MOST = 8


class Shelf:
    """A store that counts what it is asked; sites in front of it, and their clock."""

    def __init__(self, *served: str, until: float = NEVER) -> None:
        self.served = served
        self.until = until
        self.now = 1000.0
        self.broken = False
        self.asked: list[str] = []
        self.snapshot = snapshot.build(configuration(api(), limits={"active_sites": MOST}), 1)
        self.sites = Sites(self._choose, lambda: self.now)

    def _choose(self, name: str) -> Choice:  # type: ignore[type-arg]
        self.asked.append(name)
        if self.broken:
            raise StoreError("the disk is gone")
        return Choice((LOCALHOST,) if name in self.served else (), current=name in self.served, until=self.until)

    def find(self, name: str) -> bool:
        """Whether there is a site for a name."""
        return self.sites.find(name, self.snapshot, self.snapshot)[1] is not None

    def questions(self, name: str) -> list[str]:
        """What the store is asked for a name."""
        self.asked.clear()
        self.find(name)
        return self.asked.copy()


@pytest.mark.parametrize("served", [True, False])
def test_strangers_who_scan_for_names_do_not_make_it_grow(served: bool) -> None:
    names = [f"a{number}.test" for number in range(50)]
    shelf = Shelf(*names * served)
    for name in names:
        assert shelf.find(name) is served
        assert len(shelf.sites) <= MOST
    assert len(shelf.sites) == MOST


def test_what_was_asked_for_last_is_kept_and_what_was_not_is_forgotten() -> None:
    names = [f"a{number}.test" for number in range(MOST)]
    shelf = Shelf(*names, "new.test")
    for name in names:
        shelf.find(name)
    assert shelf.questions(names[0]) == []
    shelf.find("new.test")
    assert shelf.questions(names[0]) == []
    assert shelf.questions(names[1]) == [names[1]]


def test_a_name_nobody_serves_is_remembered_as_such() -> None:
    shelf = Shelf()
    assert shelf.questions("a.test") == ["a.test", "*.test", ""]
    assert shelf.questions("a.test") == []
    assert shelf.questions("b.test") == ["b.test"]


def test_a_change_forgets_its_names_and_no_others() -> None:
    shelf = Shelf("a.test", "b.test")
    shelf.find("a.test")
    shelf.find("b.test")
    shelf.sites.evict(["a.test", "c.test"])
    assert shelf.questions("b.test") == []
    assert shelf.questions("a.test") == ["a.test"]
    shelf.sites.evict(None)
    assert len(shelf.sites) == 0
    assert shelf.questions("b.test") == ["b.test"]


def test_a_choice_holds_until_its_time_and_a_store_that_fails_then_takes_nothing_away() -> None:
    shelf = Shelf("a.test", until=1010.0)
    assert shelf.find("a.test")
    shelf.now = 1009.9
    assert shelf.questions("a.test") == []
    shelf.now, shelf.broken = 1010.0, True
    assert shelf.find("a.test")
    shelf.now = 1014.9
    assert shelf.questions("a.test") == []
    shelf.now = 1015.0
    assert shelf.questions("a.test") == ["a.test"]
    shelf.sites.evict(["a.test"])
    with pytest.raises(StoreError):
        shelf.find("a.test")
