"""The gateway that a command about settings means: the one that serves this file, one elsewhere, or none.

The command changes the file itself when the gateway says that it serves this very file. Otherwise the gateway that was
named is asked to change its own file. When no gateway runs with a file, the command changes the file and says so.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli import access, configuration_file
from gateway.cli.configuration_file import ConfigOption  # noqa: TC001 - typer reads it
from gateway.cli.connected import Gateway, failure
from gateway.cli.failures import AbsentError, AdminError
from gateway.cli.layout import clean, expiry_of, listed
from gateway.cli.options import with_options_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gateway.cli.access import Access
    from gateway.config.problems import Problem

_OPTIONS = "TYK_GW_HTTPSERVEROPTIONS"
_FLAGS = {
    f"{_OPTIONS}_CERTIFICATES": ("--tls-cert", True),
    f"{_OPTIONS}_USESSL": ("--tls-cert", False),
    f"{_OPTIONS}_MINVERSION": ("--tls-min-version", True),
    f"{_OPTIONS}_CIPHERS": ("--tls-strict-ciphers", False),
    "TYK_GW_GATEWAY_STRICT": ("--strict", False),
}
"""The flags of `gateway serve` by the variables that they stand for, and whether each has the variable's value."""


@dataclass(frozen=True, slots=True)
class Target:
    """``file`` is the main file of this host that is meant, None when the gateway elsewhere is.

    ``gateway`` is None when no gateway runs; ``running`` is what it says of itself (`GET /tyk/configuration`).
    """

    file: Path | None
    gateway: Gateway | None = None
    running: Any = None

    @property
    def whose(self) -> str:
        """Say whose settings are shown."""
        if self.running is None:
            return f"{self.file}; no gateway runs it"
        where = f" at {self.gateway.address.url}" if self.gateway and self.file is None else ""
        return f"running gateway{where}, pid {self.running['pid']}"

    def part(self, name: str) -> Any:
        """Return a part of what `GET /tyk/configuration` answers, or of the file. Raises AdminError."""
        if self.running is not None:
            return self.running[name]
        from gateway.cli.file_settings import part

        assert self.file is not None
        return part(self.file, name)

    @property
    def hosts(self) -> list[str]:
        """The hosts with rules of TLS of their own, as far as a gateway tells."""
        return [*self.running["hosts"]] if self.running else []

    def facts(self) -> list[tuple[str, str]]:
        """Say whose settings are shown, and what wins over the file."""
        won = [("started with", f"{_started_with(one)}, which wins over {one['key']}") for one in self._told()]
        return [("of", self.whose), *won]

    def _told(self) -> list[Any]:
        overrides = self.running["overrides"] if self.running else ()
        return [one for one in overrides if one["key"].startswith("http_server_options.")]

    def names_of(self, reference: str) -> list[str]:
        """Return what certificate of the gateway's store stands behind an id, as far as a gateway tells."""
        from gateway.config.kinds import is_store_id

        if self.gateway is None or not is_store_id(reference):
            return []
        with suppress(AdminError):
            found = self.gateway.call("GET", f"/tyk/certs/{reference}")
            return [f"in the store: {listed(found.get('dns_names') or ())}, until {expiry_of(found['not_after'])}"]
        return []

    def overriding(self) -> list[Problem]:
        """Return a note for each flag and variable of the running gateway that wins over the file."""
        from gateway.config.problems import Problem, Severity

        overrides = self.running["overrides"] if self.running else ()
        return [
            Problem(Severity.NOTE, one["key"], self.whose, f"{self.said(one)}, which wins over the file")
            for one in overrides
        ]

    def problems_elsewhere(self) -> list[Problem]:
        """Have a gateway elsewhere check its own file; return what it says. Raises AdminError."""
        from gateway.config.problems import Problem, Severity

        assert self.gateway is not None
        parameters = {"dry_run": "true"}
        answer = self.gateway.call("POST", "/tyk/configuration", json={}, params=parameters, accept=(409,))
        if answer["status"] != "ok" and not answer.get("problems"):
            raise AdminError(answer["message"], body=answer)
        return [Problem(**{**one, "severity": Severity(one["severity"])}) for one in answer["problems"]]

    @property
    def environ(self) -> dict[str, str]:
        """The environment that counts for the file: the running gateway's, as far as it is told, else this one."""
        if self.running is None:
            return {**os.environ}
        from gateway.config.environment import variables

        known = {one["variable"]: one["value"] for one in self.running["overrides"]}
        own = {name: value for name, value in os.environ.items() if name not in variables() or name in known}
        return own | {name: value for name, value in known.items() if value is not None}

    @property
    def overrides(self) -> dict[str, str]:
        """The variables that win over the file, each in words."""
        if self.running is None:
            from gateway.runtime.main_file import overriding

            return overriding(os.environ)
        return {one["variable"]: self.said(one) for one in self.running["overrides"]}

    def said(self, override: Any) -> str:
        """Say what wins over a key of the file."""
        return f"the running gateway was started with {_started_with(override)}"


def _started_with(override: Any) -> str:
    variable: str = override["variable"]
    value: str | None = override["value"]
    if not override["flag"]:
        return variable if value is None else f"{variable}={value}"
    flag, with_value = _FLAGS.get(variable, (variable, False))
    if not with_value or value is None:
        return flag
    return f"{flag} {json.loads(value)[0]['cert_file'] if variable.endswith('CERTIFICATES') else value}"


@contextmanager
def changing(wanted: Access, config: Path | None, *, dry_run: bool) -> Iterator[Target]:
    """Find who is meant, and make sure that whoever asks may change something. Raises AdminError."""
    with _found(wanted, config, changing=True) as target:
        if target.gateway and not dry_run:
            asker = target.gateway.call("GET", "/tyk/session")
            if asker["role"] != "operator":
                raise AdminError(f"{asker['user']} is a {asker['role']} and may only look; nothing has changed")
        yield target


def shown_of(command: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function that shows settings of the `Target` that it is given."""

    def run(config: ConfigOption = None, **arguments: Any) -> None:
        try:
            with showing(access.taken(arguments), config) as target:
                command(target, **arguments)
        except AdminError as error:
            raise failure(error, as_json=bool(arguments.get("json"))) from error

    return with_options_of(run, command, access.options)


@contextmanager
def showing(wanted: Access, config: Path | None) -> Iterator[Target]:
    """Find who is meant, to show settings. Raises AdminError."""
    with _found(wanted, config, changing=False) as target:
        yield target


@contextmanager
def examined(wanted: Access, config: Path | None) -> Iterator[Target]:
    """Find who is meant, to look at a file: who cannot ask its gateway looks at the file alone. Raises AdminError."""
    with ExitStack() as stack:
        try:
            target = stack.enter_context(showing(wanted, config))
        except AdminError as error:
            if wanted.user or access.is_named(wanted):
                raise
            typer.echo(f"note: whether its gateway was started with flags is not known: {clean(error)}", err=True)
            target = Target(configuration_file.find(config))
        yield target


@contextmanager
def _found(wanted: Access, config: Path | None, *, changing: bool) -> Iterator[Target]:
    named = access.is_named(wanted)
    file = config or configuration_file.nearby()
    if file is None and not named:
        file = configuration_file.find(None)  # which says where was looked
    with ExitStack() as stack:
        try:
            gateway = stack.enter_context(access.reach(Gateway, wanted, config=config, found=file))
            running = gateway.call("GET", "/tyk/configuration")
        except AbsentError as error:
            if named:
                raise
            assert file is not None
            from gateway.cli.address import answered_at

            if url := answered_at(file, os.environ):
                raise AdminError(f"a gateway answers at {url}, and it cannot be asked: {error}") from error
            yield Target(file)
            return
        yield _target(gateway, running, file, changing=changing, addressed=named and config is None)


def _target(gateway: Gateway, running: Any, file: Path | None, *, changing: bool, addressed: bool) -> Target:
    from gateway.runtime.file_identity import identity

    try:
        own = file is not None and identity(file) == running["identity"]
    except OSError as error:
        raise AdminError(f"{file} cannot be read: {error.strerror}", exit_code=2) from error
    if own or addressed:
        return Target(file if own else None, gateway, running)
    if not changing and not addressed:
        return Target(file)  # another gateway's port: this file's own does not run
    raise AdminError(
        f"{gateway.address.url} is answered by the gateway of another file, {running['file']} (pid {running['pid']}),"
        f" and not by one that serves {file}; nothing has changed. To change that one's, name it with --server and"
        " leave out --config; to change this file, give it a control port of its own"
    )
