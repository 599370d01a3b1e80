"""The certificates that the running gateway serves after a change: its workers are asked, name by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.domain import certificate_of
from gateway.cli.failures import AdminError
from gateway.cli.layout import clean, expiry_of, listed
from gateway.tls.ciphers import select

if TYPE_CHECKING:
    from gateway.admin.adjustments import Adjustment
    from gateway.cli.admin_client import AdminClient
    from gateway.cli.new_certificate import NewCertificate

_HOSTS = 20


def asked(gateway: AdminClient, name: str) -> Any:
    """Return what a client of a name ("" for none) meets, as the workers say. Raises AdminError."""
    return gateway.call("GET", "/tyk/served", params={"domain": name} if name else {})


def met(gateway: AdminClient, name: str) -> Any:
    """Return what a client of a name meets at every worker. Raises AdminError when they disagree."""
    answer = asked(gateway, name)
    _demand_agreement(answer)
    return answer


def _demand_agreement(answer: Any) -> None:
    if answer["shortfalls"]:
        raise AdminError(f"not every worker serves the same: {clean('; '.join(answer['shortfalls']))}")


def demand(answer: Any, fingerprint: str | None) -> None:
    """Raise AdminError unless every worker shows that certificate (None: whatever is left) for the name."""
    _demand_agreement(answer)
    if fingerprint and answer["fingerprints"] and fingerprint not in answer["fingerprints"]:
        raise AdminError(f"{answer['domain']} is served with another certificate, from {source(answer)}")


def shown(answer: Any) -> str:
    """Write what a client is shown, and by how many workers."""
    if not answer["fingerprints"]:
        return "no certificate" if answer["tls"] else "no certificate: plain HTTP is served"
    workers = f"{answer['workers']} worker{'s' if answer['workers'] != 1 else ''}"
    return f"{_certificates(answer)}, served by {workers}"


def _certificates(answer: Any) -> str:
    known = {one["fingerprint"]: one for one in answer["certificates"]}
    said = [
        f"{known[one]['key_type']} {one[:12]} until {expiry_of(known[one]['not_after'])}" if one in known else one[:12]
        for one in answer["fingerprints"]
    ]
    return " and ".join(said)


def source(answer: Any) -> str:
    """Write where the certificates come from that a client is shown."""
    return ", ".join(dict.fromkeys(clean(one["source"]) for one in answer["certificates"])) or "an unknown place"


def confirm_certificate(gateway: AdminClient, new: NewCertificate) -> None:
    """Say for each name of a certificate what its clients are shown. Raises AdminError when it is another one."""
    others = []
    for name in new.names:
        answer = met(gateway, name)
        if new.fingerprint not in answer["fingerprints"] and answer["site"] == name and _is_swapped(answer):
            gateway.call("DELETE", certificate_of(name))
            typer.echo(f"{name}: what was swapped in for it is taken back; the configuration's certificate serves it")
            answer = met(gateway, name)
        typer.echo(f"{clean(name)}: {shown(answer)}")
        if new.fingerprint not in answer["fingerprints"] and answer["fingerprints"]:
            others.append(f"{name} is served with another certificate, which comes from {source(answer)}")
        elif not answer["fingerprints"] and answer["tls"]:
            others.append(f"{name} is served with no certificate")
    if others:
        raise AdminError(f"{'; '.join(others)}: take that away first, or swap: gateway cert swap")
    if not met(gateway, "")["tls"]:
        typer.echo("plain HTTP is served, so nobody is shown it on that port yet: gateway tls enable")


def _is_swapped(answer: Any) -> bool:
    return any(one["source"] == "admin" for one in answer["certificates"])


def confirm(gateway: AdminClient, wanted: Adjustment) -> None:
    """Say what is in force of the settings that were changed. Raises AdminError when it is something else."""
    if wanted.use_ssl is not None:
        answer = met(gateway, "")
        typer.echo("in force: TLS" if answer["tls"] else "in force: plain HTTP")
        if answer["tls"] is not wanted.use_ssl:
            raise AdminError("that is not what was asked for; see gateway tls status")
    running = gateway.call("GET", "/tyk/configuration")
    _demand_agreement(running)
    if wanted.min_version or wanted.max_version or wanted.ssl_ciphers is not None:
        _confirm_rules(gateway, wanted, running)
    for name, reference in wanted.authorities.items():
        _confirm_authority(name, running, present=reference is not None)
    for name, upstream in wanted.upstreams.items():
        _confirm_upstream(name, running, present=upstream is not None)


def _confirm_rules(gateway: AdminClient, wanted: Adjustment, running: Any) -> None:
    """Ask what is negotiated: by default, and for each host with rules of its own."""
    usual = met(gateway, "")
    if not usual["minimum"]:
        typer.echo("in force: plain HTTP, so nothing of it yet: gateway tls enable")
        return
    typer.echo(f"in force: {_rules(usual, wanted)}")
    for host in running["hosts"][:_HOSTS]:
        answer = met(gateway, host)
        if _rules(answer, wanted) != _rules(usual, wanted):
            typer.echo(f"{clean(host)} has rules of its own: {_rules(answer, wanted)}")
    if len(running["hosts"]) > _HOSTS:
        typer.echo(f"{len(running['hosts']) - _HOSTS} more hosts have rules of their own: gateway check")
    low, high = wanted.min_version or usual["minimum"], wanted.max_version or usual["maximum"]
    if (usual["minimum"], usual["maximum"]) != (low, high):
        raise AdminError(f"that is not what was asked for, TLS {low} to {high}; see gateway tls status")
    chosen = {*select(wanted.ssl_ciphers or ()).ciphers}
    if chosen and usual["ciphers"] and chosen != {*usual["ciphers"]}:
        raise AdminError("these are not the suites that were asked for; see gateway tls status")


def _rules(answer: Any, wanted: Adjustment) -> str:
    versions = f"TLS {answer['minimum']} to {answer['maximum']}"
    if wanted.ssl_ciphers is None:
        return versions
    return f"{versions}, {' '.join((*answer['suites'], *answer['ciphers']))}"


def _confirm_authority(name: str, running: Any, *, present: bool) -> None:
    found = next((one for one in running["authorities"] if one["name"] == name), None)
    if (found is not None) is not present or (found and found["problem"]):
        raise AdminError(f"authority {name}: {found['problem'] if found else 'it is not trusted'}; see gateway ca list")
    subjects = listed(clean(one["subject"]) for one in found["certificates"]) if found else ""
    typer.echo(f"authority {name}: {f'{subjects}, trusted now' if found else 'trusted no longer'}")


def _confirm_upstream(name: str, running: Any, *, present: bool) -> None:
    found = next((one for one in running["upstreams"] if one["name"] == name), None)
    if (found is not None) is not present:
        raise AdminError(f"upstream {name} is {'not' if present else 'still'} served; see gateway upstream list")
    typer.echo(
        f"upstream {name}: {clean(found['target'])}, at {found['clients']}" if found else f"upstream {name}: gone"
    )
