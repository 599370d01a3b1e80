"""What is looked at, in the order of InfluxDB's page: logs, files, connections, permissions, settings, versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from OpenSSL import SSL

from gateway.cli import access
from gateway.cli.admin_client import AdminClient
from gateway.cli.doctor import files, live
from gateway.cli.doctor.finding import State, ok, problem, warning
from gateway.cli.failures import AdminError
from gateway.cli.layout import SOON_DAYS, days_left, moment
from gateway.cli.target import Target
from gateway.config.networks import is_address
from gateway.config.own_ports import own_port, spoken
from gateway.runtime.file_identity import identity
from gateway.store.sites import SELF_SIGNED
from gateway.tls.names import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from pathlib import Path

    from gateway.cli.access import Access
    from gateway.cli.doctor.finding import Finding
    from gateway.config.load import Configuration

_MOST_DOMAINS = 200
_OPENSSL = (3, 5)
"""The first version of OpenSSL with post-quantum groups, with support until 2030."""


def examine(path: Path, config: Path | None, ca: Path | None, wanted: Access, now: datetime) -> Iterator[Finding]:
    """Look at everything; ``config`` is ``path`` if it was named. What cannot be looked at is a finding, too."""
    answered: list[Finding] = []
    target, running, ending = _ask(path, config, wanted, answered)
    environ = target.environ
    candidate, configured = files.configuration(path, environ)
    yield from answered
    yield from configured
    if candidate:
        yield from files.certificates(candidate)
    if configuration := candidate.configuration if candidate else files.written(path, environ):
        names = [one.name for one in candidate.collected.entries if one.source != SELF_SIGNED] if candidate else []
        names += [one["domain"] for one in running or () if one["certificates"][0]["source"] != SELF_SIGNED]
        yield from files.permissions(configuration)
        yield from _connections(configuration, names, ca, now)
    yield from _openssl()
    yield from _endings(ending, now)


def _ask(
    path: Path, config: Path | None, wanted: Access, findings: list[Finding]
) -> tuple[Target, list[Any] | None, list[Any] | None]:
    """Return the running gateway, its first domains, and the certificates that end soon; None if it is silent."""
    target = Target(path)
    try:
        with access.reach(AdminClient, wanted, config=config, found=path) as client:
            findings.extend(live.control(client))
            target = _target(path, client, findings)
            domains = client.call("GET", "/tyk/domains", params={"limit": _MOST_DOMAINS})["domains"]
            return target, domains, client.call("GET", "/tyk/expiring", params={"days": SOON_DAYS})["certificates"]
    except AdminError as error:
        if not findings:
            what, _, cure = str(error).partition("; ")
            findings.append(problem("control port", what, cure))
        return target, None, None


def _target(path: Path, client: AdminClient, findings: list[Finding]) -> Target:
    """Return the target: whether the gateway that answers serves this file, and what overrides the file there."""
    running = client.call("GET", "/tyk/configuration")
    if identity(path) != running["identity"]:
        said = f"the gateway that answers serves another file, {running['file']} (pid {running['pid']})"
        findings.append(warning("running gateway", said, f"name {path}'s own with --server, or look at that file"))
        return Target(path)
    target = Target(path, None, running)
    findings += [
        ok("running gateway", f"{target.said(one)}, which wins over {one['key']} of {path}")
        for one in running["overrides"]
    ]
    return target


def _connections(configuration: Configuration, names: list[str], ca: Path | None, now: datetime) -> Iterator[Finding]:
    settings = configuration.settings
    place = live.Place.of(settings.listen_address, settings.listen_port)
    if settings.gateway.http_redirect:
        redirect = live.Place.of(settings.listen_address, settings.gateway.http_redirect.port)
        yield live.port(redirect, "redirects to HTTPS")
    found = live.port(place, "clients")
    yield found
    yield from _services(configuration, ca, now)
    if not settings.http_server_options.use_ssl:
        yield warning("connection", "TLS is disabled: clients are served plain HTTP", "gateway tls enable")
    elif settings.gateway.proxy_protocol:
        cure = "connect through the load balancer: openssl s_client -connect BALANCER:PORT -servername NAME"
        yield warning("connection", "not tried: this port wants a PROXY header first", cure)
    elif found.state is State.OK:
        served = [api for api in configuration.of_port(0).apis if api.active and not api.domain_disabled]
        domains = _domains([api.domain for api in served] + names)
        yield from live.handshakes(place, domains[:_MOST_DOMAINS], ca, now)
        if len(domains) > _MOST_DOMAINS:
            cure = "gateway cert verify, or openssl s_client -servername NAME, for one in particular"
            yield warning("connection", f"only the first {_MOST_DOMAINS} domains were tried", cure)


def _services(configuration: Configuration, ca: Path | None, now: datetime) -> Iterator[Finding]:
    """The ports of services, and a handshake where one ends TLS that begins at once."""
    for api in configuration.apis:
        port = own_port(api, configuration.settings)
        if not port or not api.active:
            continue
        place = live.Place.of(configuration.settings.listen_address, port)
        found = live.port(place, f"{'service' if api.is_service else 'API'} {api.api_id}")
        yield found
        ends_tls = api.terminates_tls or spoken(api, configuration.settings) == "https"
        speaks_first = not ends_tls or api.gateway.negotiate or api.enable_proxy_protocol
        if found.state is State.OK and not speaks_first and api.domain:
            yield from live.handshakes(place, _domains([api.domain]), ca, now)


def _domains(names: Iterable[str]) -> list[str]:
    """Those that clients can ask for, each once, in order."""
    found = {}
    for name in names:
        try:
            found[canonical(name)] = True
        except ValueError:
            continue
    for address in filter(is_address, list(found)):
        del found[address]  # which clients cannot ask for by name
    return list(found) or ["localhost"]  # which the self-signed one is for


def _openssl() -> Iterator[Finding]:
    text = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()
    number = SSL.OPENSSL_VERSION_NUMBER
    if (number >> 28, number >> 20 & 0xFF) >= _OPENSSL:
        yield ok("versions", f"{text}, which the cryptography package brings")
    else:
        yield warning("versions", f"{text} is older than 3.5", "pip install --upgrade cryptography pyopenssl")


def _endings(ending: list[Any] | None, now: datetime) -> Iterator[Finding]:
    """The certificates that the running gateway knows and that end soon, whatever they are for."""
    for one in ending or ():
        left = days_left(moment(one["not_after"]), now)
        tell, said = (problem, "has expired") if left < 0 else (warning, f"ends in {left} days")
        used = f"{one['role']}: {', '.join(one['places'])}"
        yield tell("expiry", f"the certificate of {one['name']} ({used}) {said}", "renew it and swap it in")
    if ending == []:
        yield ok("expiry", f"no certificate ends within {SOON_DAYS} days")
