"""From files to the next generation, the same way at start and at every reload: read, check, publish."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config import client_trust
from gateway.config.load import DEFAULT_CERTIFICATES, Configuration, load_what_can_be_served
from gateway.config.material import wanted
from gateway.config.problems import Problem, Severity
from gateway.config.standing import put_out
from gateway.config.tyk_names import IGNORED
from gateway.errors import ConfigurationError, GatewayError, StoreError
from gateway.observe import access_log
from gateway.routing import policies, shadowed, snapshot
from gateway.store import (
    client_sources,
    control_certificate,
    default_certificate,
    exposure,
    file_sources,
    upstream_sources,
)
from gateway.store.readings import FilesRead
from gateway.store.sqlite import Generation, Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.settings import Settings
    from gateway.observe.events import EventLog
    from gateway.store.audit import Deed


FILES_AT_ONCE = 10_000
"""How many certificate files are read before what they hold is published: this bounds time and memory."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration with its certificates, checked, with errors in definitions at most: what may be published."""

    configuration: Configuration
    collected: file_sources.Collected
    control: file_sources.Collected
    towards: upstream_sources.Provided
    clients: client_sources.Collected
    files_read: datetime
    store: bool
    """Whether there was one, with the last good state of what is not read."""

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What should be looked at, and does not stand in the way."""
        found = self.collected.problems + self.control.problems + self.towards.problems + self.clients.problems
        found += tuple(exposure.problems(self.configuration.files))
        found += policies.problems(self.configuration) + tuple(shadowed.problems(self.configuration))
        return self.configuration.warnings + found

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, including those of refused definitions."""
        return tuple(one for refused in self.configuration.refused for one in refused.problems) + self.warnings


def read(
    config_path: Path,
    environ: Mapping[str, str],
    data_dir: Path | None = None,
    *,
    anew: bool = True,
    most: int | None = None,
) -> Candidate:
    """Read the files and everything that they name.

    The store in ``data_dir`` (default: the one that is configured, if it is there and can be read) has what is
    named by id, and the last good state of what cannot be read. Unless ``anew``, it also has what certificate files
    hold that are unchanged since they were published. At most ``most`` of them are read; the rest is postponed.

    Raises ConfigurationError with every problem, and StoreError when ``data_dir`` is given and cannot be read.
    """
    began = datetime.now(UTC)

    def last(settings: Settings) -> Configuration | None:
        return _served(data_dir or settings.gateway.data_dir)

    configuration = load_what_can_be_served(config_path, environ, last)
    try:
        with contextlib.closing(
            Store.open(data_dir or configuration.settings.gateway.data_dir, writable=False)
        ) as store:
            collected, control = _collect(configuration, began, store, anew=anew, most=most)
            towards = upstream_sources.collect(configuration, began, store)
            clients = client_sources.collect(configuration, began, store)
            there = not store.is_empty()
    except StoreError:
        if data_dir:
            raise
        collected, control = _collect(configuration, began, None, anew=anew, most=most)
        towards = upstream_sources.collect(configuration, began)
        clients = client_sources.collect(configuration, began, None)
        there = False
    configuration = configuration.model_copy(update={"material": towards.material, "client_trust": clients.trust})
    unwritable = access_log.trouble(configuration.settings.gateway.access_log.path)
    problems = configuration.problems + collected.problems + control.problems + clients.problems
    fatal = collected.problems + control.problems + clients.problems
    if unwritable:
        cure = "name a file in a directory that exists and is writable, or stdout"
        problem = Problem(Severity.ERROR, "gateway.access_log.path", "", unwritable, cure)
        problems, fatal = (*problems, problem), (*fatal, problem)
    if any(problem.severity is Severity.ERROR for problem in fatal):
        raise ConfigurationError(problems)
    # What no worker could build must not become a generation: the next worker to start would have nothing else.
    configuration = _buildable(configuration)
    return Candidate(configuration, collected, control, towards, clients, began, there)


def _served(data_dir: Path) -> Configuration | None:
    """Return what is served, for the last good state of definitions; None where the store does not tell."""
    try:
        with contextlib.closing(Store.open(data_dir, writable=False)) as store:
            return store.last_good()
    except StoreError:
        return None


def _buildable(configuration: Configuration) -> Configuration:
    """Return the configuration with those APIs out of service of which no worker could make anything."""
    try:
        snapshot.build(configuration, 0)
    except (GatewayError, ValueError) as error:
        refused: dict[str, Problem] = {}
        for api in configuration.apis:
            try:
                snapshot.build(configuration.model_copy(update={"apis": (api,), "closed": ()}), 0)
            except (GatewayError, ValueError) as reason:
                said = reason.problems[0] if isinstance(reason, ConfigurationError) else None
                problem = Problem(Severity.ERROR, f"apis[{api.api_id}]", "", str(reason), "correct it")
                refused[api.api_id] = said or problem
        if not refused or configuration.settings.gateway.strict:
            told = [*refused.values(), Problem(Severity.ERROR, "", "", f"no worker can serve it: {error}")]
            raise ConfigurationError(told[: len(refused) or None]) from error
        return put_out(configuration, refused)
    return configuration


def _collect(
    configuration: Configuration, now: datetime, store: Store | None, *, anew: bool, most: int | None
) -> tuple[file_sources.Collected, file_sources.Collected]:
    """The certificates for clients, and those of the control port."""
    settings = configuration.settings
    collected = file_sources.collect(configuration, now, store, anew=anew, most=most)
    collected = default_certificate.stand_in(collected, settings, socket.gethostname(), now, store)
    policy, _ = policies.towards_clients(settings)
    return collected, control_certificate.collect(settings.gateway.control_tls, collected.entries, now, policy, store)


def publish(data_dir: Path, candidate: Candidate, deed: Deed) -> tuple[Generation, frozenset[str]]:
    """Make ``candidate`` the next generation; return it and the names whose certificates changed.

    When it says what is served already, that is the present generation, and no name. Raises StoreError, and then
    nothing has changed.
    """
    collected = candidate.collected
    unresolved = collected.unresolved + candidate.control.unresolved
    unresolved += candidate.towards.unresolved + candidate.clients.unresolved
    with contextlib.closing(Store.open(data_dir, writable=True)) as store:
        return store.publish(
            client_trust.with_crls(candidate.configuration, store.crls()),
            collected.entries + collected.later + candidate.control.entries,
            collected.default,
            f"{deed.action} by {deed.who}",
            files=FilesRead(candidate.files_read, tuple(map(str, unresolved)), collected.readings),
            deed=deed,
        )


def watched(configuration: Configuration) -> frozenset[Path]:
    """Return the files and directories whose change asks for a reload."""
    settings = configuration.settings
    options = settings.http_server_options
    files = {path for pair in options.certificates for path in (pair.cert_file, pair.key_file)}
    files.update(pair.chain_file for pair in options.certificates if pair.chain_file)
    files.update(pair.passphrase_file for pair in options.certificates if pair.passphrase_file)
    placed = (*configuration.apis, *configuration.closed)
    references = {*options.ssl_certificates, *(name for api in placed for name in api.certificates)}
    if (control := settings.gateway.control_tls) and control.certificate:
        references.add(control.certificate)
    references.update(item.reference for item in wanted(settings, configuration.apis))
    references.update(reference for _, reference in client_trust.references(settings, configuration.apis))
    files.update(settings.gateway.client_crls)
    files.update(Path(name) for name in references if name.startswith("/"))
    files.update(path for path in (settings.app_path, settings.gateway.certificates_dir) if path)
    if not settings.gateway.certificates_dir:  # the default directory, should it be made
        files.update(main.parent / DEFAULT_CERTIFICATES for main in configuration.files[:1])
    return frozenset(files.union(configuration.files))


def needs_restart(started: Settings, wanted: Settings) -> tuple[str, ...]:
    """Return the keys that differ and that take a restart, because sockets and processes hang on them."""

    def fixed(settings: Settings) -> dict[str, object]:
        gateway = settings.gateway
        return {
            "listen_address": settings.listen_address,
            "listen_port": settings.listen_port,
            "control_api_port": settings.control_api_port,
            "gateway.control_address": gateway.control_address,
            "gateway.workers": gateway.workers,
            "gateway.http_redirect.port": gateway.http_redirect and gateway.http_redirect.port,
            "gateway.data_dir": gateway.data_dir,
            "pid_file_location": settings.pid_file_location,
        }

    before, after = fixed(started), fixed(wanted)
    return tuple(key for key in before if before[key] != after[key])


def log_refused(events: EventLog, configuration: Configuration, before: Configuration | None = None) -> None:
    """Write a line for each definition that is refused, and was not so ``before``."""
    known = before.refused if before else ()
    for one in configuration.refused:
        if one not in known:
            events.error(
                "definition.refused", f"{one.reason}; {one.standing.consequence}",
                api=one.api_id or None, source=one.source, standing=one.standing.value,
            )  # fmt: skip


def log_problems(events: EventLog, problems: tuple[Problem, ...]) -> None:
    """Write a line for each problem, as loud as it is severe, and one for all keys that only Tyk knows."""
    ignored = [problem for problem in problems if problem.message == IGNORED]
    if len(ignored) > 1:  # a tyk.conf has dozens of them
        events.info(
            "configuration.ignored", f"{len(ignored)} keys mean something in Tyk and nothing here; see gateway check",
            keys=" ".join(problem.path or problem.source for problem in ignored),
        )  # fmt: skip
    for problem in problems:
        if problem.message == IGNORED and len(ignored) > 1:
            continue
        write = {"error": events.error, "warning": events.warning, "note": events.info}[problem.severity]
        write("configuration.problem", str(problem).partition(": ")[2])
