"""A client of the admin API: where it is, the secret, and its refusals as sentences."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gateway.cli.trust import TRUST_VARIABLE, Trust, is_distrust

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    import httpx

    from gateway.config.settings import Settings

URL_VARIABLE = "GATEWAY_ADMIN_URL"
SECRET_VARIABLE = "TYK_GW_SECRET"  # noqa: S105 - the name of a variable, not a secret
SECRET_HEADER = "X-Tyk-Authorization"  # noqa: S105 - the name of a field

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 300.0
"""A reload of very many files takes its time; an answer is worth more than a guess."""

_TYKS_REFUSAL = "Attempted administrative access"
_UNSPECIFIED = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on, asked on loopback


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


@dataclass(frozen=True, slots=True)
class Address:
    """Where the admin API is, the secret for it, where that secret was found, and whom to trust over https."""

    url: str
    secret: str = field(repr=False)
    secret_source: str
    trust: Trust = field(default_factory=Trust)


def locate(
    environ: Mapping[str, str],
    *,
    server: str | None,
    secret_file: Path | None,
    config: Path | None,
    found: Path | None,
    trust_file: Path | None = None,
) -> Address:
    """Find address, secret and trust: options first, then the environment, then the configuration file.

    ``config`` is the configuration file that was named, ``found`` the one that lies in the usual place. The secret
    of the latter goes to the address of the same file only: a command that names another server must not carry
    there what happens to lie in the working directory. Raises AdminError.
    """
    if trust_file is None and environ.get(TRUST_VARIABLE):
        trust_file = Path(environ[TRUST_VARIABLE])
    trust = Trust(trust_file)
    url = server or environ.get(URL_VARIABLE)
    file = config or (None if url else found)
    settings = _settings(file, environ) if file else None
    if url is None:
        if settings is None:
            raise AdminError(
                "Where is the gateway? There is no configuration file here; name one with --config FILE, or give the "
                f"address with --server URL or {URL_VARIABLE}",
                exit_code=2,
            )
        url = _own_url(settings)
        trust = Trust(trust_file, settings.gateway.control_tls, settings.gateway.data_dir)
    _check(url)
    secret, source = _secret(environ, secret_file, settings, file)
    return Address(url.rstrip("/"), secret, source, trust)


class AdminClient:
    """Calls the admin API. A context manager, used from one thread. Raises AdminError when nobody can be trusted."""

    def __init__(self, address: Address, transport: httpx.BaseTransport | None = None) -> None:
        self.address = address
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
            if is_distrust(error):
                raise AdminError(
                    f"the certificate of {self.address.url} is not trusted: {error}; name the file with it or its CA's "
                    f"with --trust FILE or {TRUST_VARIABLE}, and in the address a host that it is for"
                ) from error
            raise AbsentError(
                f"cannot reach the gateway at {self.address.url}: {error}; does it run, and is that its control port?"
            ) from error
        body = _json(response)
        if response.status_code < 300 or response.status_code in accept:
            if body is None:
                raise AdminError(f"{self.address.url} does not answer like the admin API; is that the control port?")
            return body
        raise AdminError(self._refusal(response.status_code, body), body=body)

    def _connected(self) -> httpx.Client:
        import httpx

        address = self.address
        try:
            verify = address.trust.context() if address.url.startswith("https:") else False
        except OSError as error:
            file = address.trust.file
            raise AdminError(
                f"{file} holds no certificates to trust: {error.strerror or error}", exit_code=2
            ) from error
        return httpx.Client(
            base_url=address.url,
            headers={SECRET_HEADER.encode(): address.secret.encode()},
            verify=verify,
            trust_env=False,  # proxies of the environment are for the web, not for this
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            transport=self._transport,
        )

    def _send(self, method: str, path: str, request: Mapping[str, Any]) -> httpx.Response:
        """Send a request; a certificate that is not trusted may be a new one, so that is looked up once more."""
        import httpx

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
        if status == 401 or message.startswith(_TYKS_REFUSAL):
            return (
                f"{self.address.url} does not accept the secret from {self.address.secret_source}; "
                f"give the right one with --secret-file FILE or {SECRET_VARIABLE}"
            )
        if not message:
            return f"{self.address.url} answered with status {status}; is that the gateway's control port?"
        return message


def _own_url(settings: Settings) -> str:
    """Where the gateway of a configuration is, seen from its own host."""
    host = settings.gateway.control_address
    scheme = "https" if settings.gateway.control_tls else "http"
    return f"{scheme}://{_bracketed(_UNSPECIFIED.get(host, host))}:{settings.control_api_port}"


def _settings(file: Path, environ: Mapping[str, str]) -> Settings | None:
    """Read the main file and the environment as far as they can be read: a broken one may still say where it serves."""
    from gateway.config import document, environment, reading
    from gateway.config.problems import Findings
    from gateway.config.settings import Settings

    problems = Findings()
    root = document.read(file, str(file), problems)
    if root is None:
        raise AdminError("\n".join(str(problem) for problem in problems.problems), exit_code=2)
    settings = reading.read(Settings, environment.overlay(root, environ, problems), problems).model
    if settings is None:
        return None
    data_dir = file.absolute().parent / settings.gateway.data_dir
    return settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"data_dir": data_dir})})


def _secret(
    environ: Mapping[str, str], secret_file: Path | None, settings: Settings | None, file: Path | None
) -> tuple[str, str]:
    """The secret, and where it was found."""
    if secret_file:
        return _read(secret_file), str(secret_file)
    if secret := environ.get(SECRET_VARIABLE):
        return secret, SECRET_VARIABLE
    if settings is None:
        raise AdminError(
            f"which secret? Set {SECRET_VARIABLE}, or name a file that holds it with --secret-file FILE", exit_code=2
        )
    if settings.secret and settings.secret.get_secret_value():
        return settings.secret.get_secret_value(), str(file)
    generated = settings.gateway.data_dir / "admin.secret"
    return _read(generated), str(generated)


def _read(path: Path) -> str:
    """The first line of a file with a secret."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        raise AbsentError(
            f"{path} does not exist; the gateway makes data_dir/admin.secret when it first starts without a `secret`. "
            f"Or set {SECRET_VARIABLE}, or name another file with --secret-file FILE",
            exit_code=2,
        ) from error
    except OSError as error:
        raise AdminError(
            f"the secret in {path} cannot be read: {error.strerror}; be the user that the gateway runs as, or set "
            f"{SECRET_VARIABLE}",
            exit_code=2,
        ) from error
    except UnicodeDecodeError as error:
        raise AdminError(f"{path} is not a text file with a secret", exit_code=2) from error
    secret = lines[0].strip() if lines else ""
    if not secret or not secret.isprintable():
        raise AdminError(f"{path} does not hold a secret in its first line", exit_code=2)
    return secret


def _check(url: str) -> None:
    """Refuse what is no address of a server."""
    parts = urlsplit(url)
    try:
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.query:
        raise AdminError(f"{url!r} is not the address of a server; write it like http://127.0.0.1:9696", exit_code=2)


def is_exposed(url: str) -> bool:
    """Whether the secret would go over a network in clear text."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost" or host.endswith(".localhost")
    return parts.scheme == "http" and not local


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
