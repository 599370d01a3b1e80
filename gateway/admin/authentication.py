"""Who may ask: the secret in X-Tyk-Authorization, the session of an administrator in Authorization: Bearer, and no
web page that a browser shows to somebody who may.

A secret is compared as a digest in constant time. Each wrong one is answered late, and an address that sends many
is not listened to for a while, right secret or not: else it could guess on many connections at once. Wrong passwords
count like wrong secrets, and for the name as well. A request without any secret is no guess; nor is the token of a
session that is over, since no number of tries finds one of 256 bits.

A page of another site can make a browser send requests here. The secret alone stops those, unless the browser has
it; so whatever says that it comes from another origin is refused, and on loopback so is every request for a host
name that is not this machine's own, which is how a page gets around that (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import OrderedDict
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.requests import Request

from gateway.admin.declarations import Refusal
from gateway.admin.identity import SECRET
from gateway.admin.routes import IDENTITY, explain
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

    from gateway.admin.identity import Accounts, Identity
    from gateway.observe.events import EventLog

HEADER = "X-Tyk-Authorization"
WRONG_SECRET = "Attempted administrative access with invalid or missing key!"  # noqa: S105 - Tyk's sentence

_DELAY_SECONDS = 0.5
_GUESSES = 10.0
_SECONDS_PER_GUESS = 6.0
_ADDRESSES = 1024


class Guesses:
    """How many wrong secrets each address, or for each name, may still come: ten, and one more every six seconds.

    The table is bounded; the address that was quiet for longest is forgotten first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Return the seconds until this address is listened to; 0 when it is."""
        return max(0.0, (self._level(address) - _GUESSES + 1) * _SECONDS_PER_GUESS)

    def wrong(self, address: str) -> None:
        """Count a wrong secret."""
        self._spent[_network(address)] = (self._level(address) + 1, self._clock())
        self._spent.move_to_end(_network(address))
        if len(self._spent) > _ADDRESSES:
            self._spent.popitem(last=False)

    def right(self, address: str) -> None:
        """Take one back."""
        count, moment = self._spent.pop(_network(address), (0.0, 0.0))
        if count > 1:
            self._spent[_network(address)] = (count - 1, moment)

    def _level(self, address: str) -> float:
        count, moment = self._spent.get(_network(address), (0.0, 0.0))
        return max(0.0, count - (self._clock() - moment) / _SECONDS_PER_GUESS)


class Attempts:
    """Wrong secrets and passwords, by the address that they come from and by the name that they are for."""

    def __init__(
        self, events: EventLog, clock: Callable[[], float], sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._events = events
        self._sleep = sleep
        self._addresses = Guesses(clock)
        self._names = Guesses(clock)

    def listen(self, address: str, name: str = "") -> None:
        """Raise Refusal unless something may come from there, and for that name."""
        for guesses, key, said in (
            (self._addresses, address, f"too many wrong secrets from {address or 'there'}"),
            (self._names, name, "too many wrong passwords for this name"),
        ):
            if wait := guesses.wait(key):
                seconds = int(wait) + 1
                raise Refusal(429, f"{said}; try again in {seconds} s", more={"retry_after": seconds})

    def begin(self, address: str, name: str) -> None:
        """Count a try to log in, as if it had failed. Raises Refusal as `listen`."""
        self.listen(address, name)
        self._addresses.wrong(address)
        self._names.wrong(name)

    def succeeded(self, address: str, name: str) -> None:
        """It had not failed."""
        self._addresses.right(address)
        self._names.right(name)

    def wrong(self, address: str) -> None:
        """Count a wrong secret."""
        self._addresses.wrong(address)

    async def failed(self, address: str, said: str) -> None:
        """Tell, and take time."""
        self._events.warning("admin.refused", said, peer=address)
        await self._sleep(_DELAY_SECONDS)


class Guard:
    """Stands before the application. ``loopback`` says that the control port is on a loopback address only."""

    def __init__(
        self,
        secret_digest: Callable[[], bytes],
        accounts: Accounts,
        events: EventLog,
        *,
        loopback: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Demand the secret whose SHA-256 ``secret_digest`` returns (it may change with a reload), or a session."""
        self._secret_digest = secret_digest
        self._accounts = accounts
        self._loopback = loopback
        self.attempts = Attempts(events, clock, sleep)

    def before(self, app: ASGIApp, open_paths: Collection[str]) -> ASGIApp:
        """Return ``app`` behind this guard; ``open_paths`` are for everybody."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                request = Request(scope)
                try:
                    self._refuse_foreign(request)
                    if scope["path"] not in open_paths:
                        scope = {**scope, IDENTITY: await self._recognise(request)}
                except (Refusal, GatewayError) as error:
                    response = await explain(request, error)
                    await response(scope, receive, send)
                    return
            await app(scope, receive, send)

        return guarded

    def _refuse_foreign(self, request: Request) -> None:
        host = request.headers.get("host", "")
        if self._loopback and host and not _is_this_machine(host):
            raise Refusal(403, "the Host header does not name this machine; ask for localhost or a loopback address")
        origin = request.headers.get("origin")
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin") or (
            origin is not None and _authority(origin) != host.lower()
        ):
            raise Refusal(403, "a request from another site's page is not answered")

    async def _recognise(self, request: Request) -> Identity:
        """Return who asks. Raises Refusal."""
        secret, token = request.headers.get(HEADER, ""), _token(request)
        if not secret and not token:
            raise Refusal(403, WRONG_SECRET)
        if not secret:  # a session goes on, whoever guesses at the same address
            return await self._of_session(token)
        address = request.client.host if request.client else ""
        self.attempts.listen(address)
        # Header values are bytes of any kind, which Starlette shows as Latin-1.
        if not hmac.compare_digest(sha256(secret.encode("latin-1")).digest(), self._secret_digest()):
            self.attempts.wrong(address)
            await self.attempts.failed(address, "a wrong secret was sent to the control port")
            raise Refusal(403, WRONG_SECRET)
        return SECRET

    async def _of_session(self, token: str) -> Identity:
        identity = await self._accounts.identify(token)
        if identity is None:
            raise Refusal(401, "the session has ended; log in again")
        return identity


def _token(request: Request) -> str:
    """Return the token of a session, "" for none (RFC 6750 section 2.1)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _network(address: str) -> str:
    """Addresses that one sender can change between at will count as one: an IPv6 network of 64 bits."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((parsed, 64), strict=False))
    return address


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_this_machine(host: str) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
        return name == "localhost" or name.endswith(".localhost") or ip_address(name).is_loopback
    except ValueError:
        return False
