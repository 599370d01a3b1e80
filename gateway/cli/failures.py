"""What can go wrong between a command and the admin API."""

from __future__ import annotations

from typing import Any


class AdminError(Exception):
    """The gateway refused, failed or was not there; the message says what to do.

    ``body`` is the API's own answer, if there is one. ``exit_code`` is 2 when the command was given too little.
    """

    def __init__(self, message: str, *, body: Any = None, exit_code: int = 1) -> None:
        self.body = body
        self.exit_code = exit_code
        super().__init__(message)


class AbsentError(AdminError):
    """Nobody answers at the address, or has ever been there to do so."""
