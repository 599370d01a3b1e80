"""A client of the admin API, with its refusals as sentences."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gateway.cli.failures import AbsentError, AdminError
from gateway.cli.variables import CLIENT_CERT_VARIABLE, SECRET_VARIABLE, TRUST_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    import httpx

    from gateway.cli.address import Address

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 300.0
"""A reload of very many files takes its time; an answer is worth more than a guess."""

_ERRNO = r"^\[Errno -?\d+\] "
_TYKS_REFUSAL = "Attempted administrative access"


class AdminClient:
    """Calls the admin API. A context manager, used from one thread. Raises AdminError when nobody can be trusted."""

    def __init__(self, address: Address, transport: httpx.BaseTransport | None = None) -> None:
        self.address = address
        self.password = ""
        self._transport = transport
        self._client = self._connected()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def call(self, method: str, path: str, *, accept: tuple[int, ...] = (), **request: Any) -> Any:
        """Send a request (httpx's ``params``, ``json``, ``content``, ``headers``) and return the JSON of the answer.

        Raises AdminError for every status from 300 on that is not in ``accept``.
        """
        import httpx

        from gateway.cli.trust import alert, is_distrust

        try:
            response = self._send(method, path, request)
        except httpx.InvalidURL as error:
            raise AdminError(f"{path!r} cannot be asked for: {error}", exit_code=2) from error
        except httpx.TimeoutException as error:
            late = f"no answer within {ANSWER_SECONDS:.0f} s; `gateway status` tells what became of it"
            absent = f"no connection within {CONNECT_SECONDS:.0f} s; is the address right?"
            reason = absent if isinstance(error, httpx.ConnectTimeout) else late
            raise AdminError(f"{self.address.url}: {reason}") from error
        except httpx.TransportError as error:
            if is_distrust(error) and self.address.pinned:
                raise AdminError(self.address.changed(self.address.certificate())) from error
            if is_distrust(error):
                raise AdminError(
                    f"the certificate of {self.address.url} is not trusted: {error}; name the file with it or its CA's "
                    f"with --trust FILE or {TRUST_VARIABLE}, and in the address a host that it is for; or look at its "
                    "fingerprint with --trust-admin-cert"
                ) from error
            if said := alert(error):
                raise AdminError(
                    f"{self.address.url} refused the TLS connection ({said}); if it wants a client certificate, name "
                    f"one that it knows with --client-cert FILE (and --client-key FILE), or in {CLIENT_CERT_VARIABLE}"
                ) from error
            raise AbsentError(
                f"cannot reach the gateway at {self.address.url}: {re.sub(_ERRNO, '', str(error))}; start it with "
                "gateway serve, or name its control port with --server URL"
            ) from error
        body = _json(response)
        if response.status_code < 300 or response.status_code in accept:
            if body is None:
                raise AdminError(f"{self.address.url} does not answer like the admin API; is that the control port?")
            return body
        raise AdminError(self._refusal(response.status_code, body), body=body)

    def log_in(self, user: str, password: str) -> Any:
        """Begin a session, and be its owner from now on; return what the API says of it. Raises AdminError."""
        begun = self.call("POST", "/tyk/login", json={"user": user, "password": password})
        self.address, self.password = replace(self.address, token=begun["token"]), password
        self._client.headers.update({"Authorization": f"Bearer {begun['token']}"})
        return begun

    def _connected(self) -> httpx.Client:
        import httpx

        address = self.address
        try:
            verify = address.trust.context() if address.url.startswith("https:") else False
        except OSError as error:
            raise AdminError(address.trust.trouble(error), exit_code=2) from error
        return httpx.Client(
            base_url=address.url,
            headers=address.headers,
            verify=verify,
            trust_env=False,  # proxies of the environment are for the web, not for this
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            transport=self._transport,
        )

    def _send(self, method: str, path: str, request: Mapping[str, Any]) -> httpx.Response:
        """Send a request; a certificate that is not trusted may be a new one, so that is looked up once more."""
        import httpx

        from gateway.cli.trust import is_distrust

        try:
            return self._client.request(method, path, **request)
        except httpx.ConnectError as error:
            if not is_distrust(error) or self.address.trust.own is None:
                raise
        self._client.close()
        self._client = self._connected()
        return self._client.request(method, path, **request)

    def _refusal(self, status: int, body: Any) -> str:
        message = str(body.get("message") or "") if isinstance(body, dict) else ""
        if status == 401 and self.address.token:
            return f"{self.address.url}: {self.address.secret_source} has ended; `gateway login` begins another"
        if message.startswith(_TYKS_REFUSAL) or (status == 401 and not self.address.user):
            return (
                f"{self.address.url} does not accept the secret from {self.address.secret_source}; "
                f"give the right one with --secret-file FILE or {SECRET_VARIABLE}"
            )
        if not message:
            return f"{self.address.url} answered with status {status}; is that the gateway's control port?"
        return message


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
