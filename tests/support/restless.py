"""Clients without a pause, beside which a gateway is resized, stopped or replaced."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from support.roles import until

if TYPE_CHECKING:
    from support.roles import Gateway


class Load:
    """Some connect for each request, one keeps its connection until it is told to go. Any failure is kept."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._over = threading.Event()
        self.answers = 0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._ask, args=(kept,)) for kept in (False, False, True)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.goes_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self) -> None:
        """Wait until a few more answers have come."""
        enough = self.answers + 20
        until(lambda: self.answers >= enough or bool(self.failures))
        assert self.failures == []

    def _ask(self, kept: bool) -> None:
        while not self._over.is_set():
            try:
                with contextlib.closing(self._gateway.connect()) as connection:
                    more = True
                    while more and not self._over.is_set():
                        connection.send("/")
                        response = connection._http.getresponse()
                        assert (response.status, response.read()) == (200, b"first")
                        self.answers += 1
                        more = kept and response.getheader("Connection") != "close"
            except Exception as error:  # noqa: BLE001 - whatever a client sees is for the test to judge
                self.failures.append(f"{type(error).__name__}: {error}")
                return
