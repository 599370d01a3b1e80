"""Changes of the configuration by commands: shown, checked, saved with a backup, served and verified, in this order.

Whoever asks is authorised first. The file of this host is changed where the gateway that answers serves it, or where no
gateway runs; a gateway elsewhere changes its own. Afterwards the workers are asked what a client meets now, and that
is what the command says. A file that cannot be written is not worked around: the lines to change are printed.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import access
from gateway.cli.configuration_file import ConfigOption  # noqa: TC001 - typer reads it
from gateway.cli.connected import Gateway, failure, line
from gateway.cli.failures import AdminError
from gateway.cli.layout import clean
from gateway.cli.options import with_options_of
from gateway.cli.target import Target, changing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gateway.cli.new_certificate import NewCertificate
    from gateway.runtime.adjusting import Edits
    from gateway.runtime.main_file import MainFile

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show and check the change, and leave it at that.")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A command's request: ``settings`` as in `admin.adjustments.Adjustment`, and a certificate to serve."""

    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    certificate: NewCertificate | None = None


def rewriting(command: Callable[..., Wanted]) -> Callable[..., None]:
    """Make a command of a function that returns what it wants changed.

    It gets the options that say which file, which gateway, and ``--dry-run``. Exit status: 0 it is done and what the
    running gateway serves is what was wanted; 1 refused and nothing has changed, or something else is served; 2 wrong
    usage.
    """

    def run(config: ConfigOption = None, *, dry_run: DryRunOption = False, **arguments: Any) -> None:
        from gateway.errors import GatewayError

        try:
            asked = access.taken(arguments)
            wanted = command(**arguments)
            with changing(asked, config, dry_run=dry_run) as target, _explained():
                if wanted.certificate:
                    wanted.certificate.read()
                if target.file is None:
                    _change_elsewhere(target, wanted, dry_run=dry_run)
                else:
                    _change_file(target, wanted, dry_run=dry_run)
        except AdminError as error:
            raise failure(error) from error
        except GatewayError as error:
            raise failure(AdminError(str(error))) from error

    return with_options_of(run, command, access.options, given=0)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the problems of a configuration into the shape that the admin API has for them."""
    from gateway.errors import ConfigurationError

    try:
        yield
    except ConfigurationError as error:
        raise AdminError(
            "the change is refused and nothing has changed",
            body={"problems": [asdict(problem) for problem in error.problems if problem.severity == "error"]},
        ) from error


def _adjustment(wanted: Wanted) -> Any:
    from pydantic import ValidationError

    from gateway.admin.adjustments import Adjustment

    try:
        return Adjustment.model_validate(dict(wanted.settings))
    except ValidationError as error:
        said = error.errors(include_input=False, include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise AdminError(f"{said}; nothing has changed", exit_code=2) from error


def _change_file(target: Target, wanted: Wanted, *, dry_run: bool) -> None:
    """Change the file of this host, and have its gateway serve it."""
    from gateway.cli import new_certificate
    from gateway.runtime.adjusting import edits
    from gateway.runtime.main_file import MainFile

    assert target.file is not None
    file = MainFile.read(target.file, target.environ)
    found = edits(_adjustment(wanted), file)
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    with _stored(target, wanted, dry_run=dry_run):
        if wanted.certificate:
            found.changes += new_certificate.changes(file, target, wanted.certificate, found.changes)
        _try_and_serve(target, file, wanted, found, dry_run=dry_run)
    if target.gateway and not dry_run:
        _confirm(target, wanted)


@contextmanager
def _stored(target: Target, wanted: Wanted, *, dry_run: bool) -> Iterator[None]:
    """Put the certificate into the gateway's store if it goes there, and take it back if the rest fails."""
    new = wanted.certificate
    added = bool(new and target.gateway and not dry_run and new.upload(target.gateway))
    try:
        yield
    except BaseException:
        if added and new and target.gateway:
            target.gateway.call("DELETE", f"/tyk/certs/{new.fingerprint}", params={"force": "true"})
        raise


def _try_and_serve(target: Target, file: MainFile, wanted: Wanted, found: Edits, *, dry_run: bool) -> None:
    """Show the change, check it, and have it served."""
    text = file.changed(found.changes, target.overrides)
    typer.echo(file.difference(text) or f"{file.path} says so already")
    candidate = file.check(text, target.environ)
    coming = {str(secret.path) for secret in found.secrets}  # when all is checked
    coming |= {wanted.certificate.fingerprint} if wanted.certificate else set()
    for problem in file.remarks(candidate, coming):
        typer.echo(clean(problem), err=True)
    if not dry_run and (text != file.text or found.secrets):
        _serve(target, file, text, found)


def _serve(target: Target, file: MainFile, text: str, found: Edits) -> None:
    """Save the file, and have the gateway serve it; what it refuses is taken back."""
    done = False
    try:
        for secret in found.secrets:
            secret.write()
        if text != file.text:
            backup = file.save(text)
            done = True
            typer.echo(f"saved; {backup} is what it was")
            _reload(target, file, text)
    except BaseException:
        if done:
            file.restore(text)
        for secret in found.secrets:
            secret.forget()
        raise
    for secret in found.secrets:
        secret.succeed()


def _reload(target: Target, file: MainFile, text: str) -> None:
    if target.gateway is None:
        typer.echo("no gateway answers at the control port, so none was told: it takes effect at the next start")
        return
    answer = _reloaded(target.gateway)
    reason = "" if answer.get("status") == "ok" else str(answer.get("message"))
    known = set(target.running["refused"])
    new = [f"{one['api_id']}: {one['reason']}" for one in answer.get("refused", ()) if one["api_id"] not in known]
    if reason or new:
        file.restore(text)
        if new:  # the rest of the file is served already
            _reloaded(target.gateway)
        said = reason or "; ".join(new)
        raise AdminError(f"the gateway refused it, and {file.path} is what it was: {said}", body=answer)
    typer.echo(f"generation {answer.get('generation')} serves it")


def _reloaded(gateway: Gateway) -> Any:
    return gateway.call("GET", "/tyk/reload", params={"block": "true"}, accept=(409,))


def _change_elsewhere(target: Target, wanted: Wanted, *, dry_run: bool) -> None:
    """Have a gateway elsewhere change its own settings, by its own checks; of files it gets what is in them."""
    from gateway.cli import ca

    assert target.gateway is not None
    body = _adjustment(wanted).without_paths(ca.as_pem).model_dump(mode="json", exclude_unset=True)
    parameters = {"dry_run": "true"} if dry_run else {}
    if wanted.certificate:
        wanted.certificate.put(target.gateway, dry_run=dry_run)
    if body:
        answer = target.gateway.call("POST", "/tyk/configuration", json=body, params=parameters)
        for note in answer["notes"]:
            typer.echo(f"note: {clean(note)}", err=True)
        typer.echo(_printable(answer["difference"]) or f"{clean(answer['file'])} says so already")
        for problem in answer["problems"]:
            typer.echo(line(problem), err=True)
        where = target.gateway.address.url
        if answer["backup"]:
            typer.echo(f"saved by the gateway at {where}; {clean(answer['backup'])} there is what it was")
        if answer["generation"] is not None:
            typer.echo(f"generation {answer['generation']} serves it")
    if not dry_run:
        _confirm(target, wanted)


def _printable(text: str) -> str:
    return "\n".join(map(clean, text.splitlines()))


def _confirm(target: Target, wanted: Wanted) -> None:
    """Ask what is served now, say it, and fail where it is not what was wanted."""
    from gateway.cli import in_service

    assert target.gateway is not None
    if wanted.certificate:
        in_service.confirm_certificate(target.gateway, wanted.certificate)
    in_service.confirm(target.gateway, _adjustment(wanted))
