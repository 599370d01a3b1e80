"""Clients that go on while something else is tested."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from support.roles import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable


class Load:
    """Clients in threads, until they are told to stop; a failure of any of them is the test's."""

    def __init__(self, *clients: Callable[[], None]) -> None:
        self.rounds = 0
        self._stopped = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(client,)) for client in clients]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        assert self._failures == []

    def _run(self, client: Callable[[], None]) -> None:
        try:
            while not self._stopped.is_set():
                client()
                self.rounds += 1
                time.sleep(0.002)  # a load, not a siege: two cores are shared
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            self._failures.append(error)
