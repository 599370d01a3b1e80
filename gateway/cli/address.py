"""Where the admin API is, who asks there, and whom to believe: found in options, environment and configuration."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway import files
from gateway.cli import sessions
from gateway.cli.failures import AbsentError, AdminError
from gateway.cli.trust import Trust, certificate_at, fingerprint
from gateway.cli.variables import SECRET_VARIABLE, TRUST_VARIABLE, URL_VARIABLE, USER_VARIABLE
from gateway.config.networks import bracketed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.settings import Settings

SECRET_HEADER = "X-Tyk-Authorization"  # noqa: S105 - the name of a field

_UNSPECIFIED = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on, asked on loopback


@dataclass(frozen=True, slots=True)
class Address:
    """Where the admin API is, what to show there, where that was found, and whom to trust over https.

    That is the ``secret``, or the ``token`` of a session; with ``user`` a session is yet to begin.
    """

    url: str
    secret: str = field(repr=False)
    secret_source: str
    trust: Trust = field(default_factory=Trust)
    token: str = field(default="", repr=False)
    user: str = ""

    @property
    def headers(self) -> dict[bytes, bytes]:
        """What says who asks."""
        if self.token:
            return {b"Authorization": b"Bearer " + self.token.encode()}
        return {SECRET_HEADER.encode(): self.secret.encode()} if self.secret else {}

    @property
    def pinned(self) -> bytes:
        """The only certificate (DER) that is believed, b"" for no such."""
        return self.trust.pinned

    @property
    def fingerprint(self) -> str:
        """Of ``pinned``."""
        return fingerprint(self.pinned)

    def certificate(self) -> bytes:
        """Return the certificate (DER) that is shown there just now, not to be believed yet. Raises AdminError."""
        return certificate_at(self.url, self.trust)

    def trusting(self, certificate: bytes) -> Address:
        """The same, believing that certificate and no other."""
        return replace(self, trust=replace(self.trust, pinned=certificate))

    def changed(self, certificate: bytes) -> str:
        """Tell that another certificate is shown than the one that is pinned."""
        return (
            f"the certificate of {self.url} is not the one that was trusted when you logged in: it was SHA-256"
            f" {self.fingerprint}, it is {fingerprint(certificate)}. If that is right, `gateway logout` and log in"
            " again; if nobody has changed it, somebody listens"
        )


def locate(  # noqa: PLR0913 - each is a way to say where or who
    environ: Mapping[str, str],
    *,
    server: str | None,
    secret_file: Path | None,
    config: Path | None,
    found: Path | None,
    trust_file: Path | None = None,
    user: str | None = None,
    shown: tuple[Path, Path | None] | None = None,
) -> Address:
    """Find address, who asks, and trust: options first, then the environment, then the configuration file.

    ``config`` is the configuration file that was named, ``found`` the one that lies in the usual place. The secret
    of the latter goes to the address of the same file only: a command that names another server must not carry
    there what happens to lie in the working directory. A session at that address goes before a secret that is
    merely configured. ``shown`` are the files of a client certificate and its key. Raises AdminError.
    """
    if trust_file is None and environ.get(TRUST_VARIABLE):
        trust_file = Path(environ[TRUST_VARIABLE])
    trust = Trust(trust_file, shown=shown)
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
        trust = Trust(trust_file, settings.gateway.control_tls, settings.gateway.data_dir, shown=shown)
    _check(url)
    url, session = url.rstrip("/"), sessions.find(environ, url)
    if session and trust_file is None:
        trust = replace(trust, pinned=session.pinned)
    if user := user or ("" if secret_file else environ.get(USER_VARIABLE, "")):
        return Address(url, "", f"the administrator {user}", trust, user=user)
    if session and not secret_file and not environ.get(SECRET_VARIABLE):
        if session.is_over:
            raise AdminError(f"the session at {url} is over; `gateway login`, or `gateway logout` to forget it")
        return Address(url, "", f"the session of {session.user}", trust, token=session.token)
    secret, source = _secret(environ, secret_file, settings, file)
    return Address(url, secret, source, trust)


def answered_at(file: Path, environ: Mapping[str, str]) -> str:
    """Return the address of the file's control port if a gateway answers there, whoever asks; else ""."""
    from gateway.cli.admin_client import AdminClient

    settings = _settings(file, environ)
    if settings is None:
        return ""
    url = _own_url(settings)
    trust = Trust(None, settings.gateway.control_tls, settings.gateway.data_dir)
    try:
        with AdminClient(Address(url, "", "", trust)) as client:
            client.call("GET", "/hello")
    except AbsentError:
        return ""
    except AdminError:
        return url  # it answers, and not like somebody who can be believed
    return url


def _own_url(settings: Settings) -> str:
    """Where the gateway of a configuration is, seen from its own host."""
    host = settings.gateway.control_address
    scheme = "https" if settings.gateway.control_tls else "http"
    return f"{scheme}://{bracketed(_UNSPECIFIED.get(host, host))}:{settings.control_api_port}"


def _settings(file: Path, environ: Mapping[str, str]) -> Settings | None:
    """Read the main file and the environment as far as they can be read: a broken one may still say where it serves."""
    from gateway.config import document, environment, reading
    from gateway.config.problems import Findings
    from gateway.config.settings import Settings

    problems = Findings()
    root = document.read(file, str(file), problems)
    if root is None:
        broken = "\n".join(map(str, problems.problems))
        raise AdminError(broken.removeprefix("error: "), exit_code=2)
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
        return first_line(secret_file), str(secret_file)
    if secret := environ.get(SECRET_VARIABLE):
        return secret, SECRET_VARIABLE
    if settings is None:
        raise AdminError(
            f"which secret? Set {SECRET_VARIABLE}, or name a file that holds it with --secret-file FILE; or log in "
            "by name: gateway login",
            exit_code=2,
        )
    if settings.secret and settings.secret.get_secret_value():
        return settings.secret.get_secret_value(), str(file)
    generated = settings.gateway.data_dir / "admin.secret"
    try:
        return first_line(generated), str(generated)
    except AbsentError as error:
        raise AbsentError(
            f"{error}; the gateway makes data_dir/admin.secret when it first starts without a `secret`. "
            f"Or set {SECRET_VARIABLE}, or name another file with --secret-file FILE",
            exit_code=2,
        ) from error


def first_line(path: Path) -> str:
    """Return the first line of a file with a secret or a password, - being stdin. Raises AdminError."""
    try:
        line = files.first_line(sys.stdin.buffer.readline()) if str(path) == "-" else files.read_first_line(path)
        secret = line.decode().strip()
    except FileNotFoundError as error:
        raise AbsentError(f"{path} does not exist", exit_code=2) from error
    except OSError as error:
        raise AdminError(
            f"the secret in {path} cannot be read: {error.strerror}; be the user that the gateway runs as, or set "
            f"{SECRET_VARIABLE}",
            exit_code=2,
        ) from error
    except UnicodeDecodeError as error:
        raise AdminError(f"{path} is not a text file with a secret", exit_code=2) from error
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
