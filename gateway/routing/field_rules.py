"""Changes to header fields that an API asks for, made ready when the snapshot is built."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.config.definitions import ApiDefinition, HeaderRules, Version


@dataclass(frozen=True, slots=True)
class FieldRules:
    """Fields whose lower-case names are in ``gone`` go, whatever their case; then ``lines`` are added."""

    gone: frozenset[bytes]
    lines: tuple[bytes, ...] = field(repr=False)  # there may be a password among them

    def apply(self, lines: Iterable[bytes]) -> list[bytes]:
        """Return field lines (name, colon, value) as they are after the changes."""
        return [*self.kept(lines), *self.lines]

    def kept(self, lines: Iterable[bytes]) -> list[bytes]:
        """Return those of the lines that stay, such as trailers: what may not be said may not be said late."""
        return [line for line in lines if line[: line.find(b":")].lower() not in self.gone]


def of_requests(api: ApiDefinition, credentials: tuple[str, str] | None = None) -> FieldRules | None:
    """What changes on the way to the upstream; None for nothing. ``credentials`` are a field that nothing overrules."""
    version = effective_version(api)
    if version is None or version.global_headers_disabled:
        rules = _rules({}, (), api.gateway.request_headers)
    else:
        rules = _rules(version.global_headers, version.global_headers_remove, api.gateway.request_headers)
    if credentials is None:
        return rules
    name, value = (part.encode() for part in credentials)
    rules = rules or FieldRules(frozenset(), ())
    kept = tuple(line for line in rules.lines if line[: line.find(b":")].lower() != name.lower())
    return FieldRules(rules.gone | {name.lower()}, (*kept, b"%b: %b" % (name, value)))


def of_responses(api: ApiDefinition) -> FieldRules | None:
    """What changes in the upstream's responses; None for nothing."""
    version = effective_version(api)
    own = api.gateway.response_headers
    if version is None or version.global_response_headers_disabled:
        return _rules({}, (), own)
    return _rules(version.global_response_headers, version.global_response_headers_remove, own)


def effective_version(api: ApiDefinition) -> Version | None:
    """The version that counts: ``Default``, or the only one."""
    versions = api.version_data.versions
    default = next((version for name, version in versions.items() if name.lower() == "default"), None)
    return default or (next(iter(versions.values())) if len(versions) == 1 else None)


def _rules(tyk_set: Mapping[str, str], tyk_remove: Iterable[str], own: HeaderRules) -> FieldRules | None:
    """Join Tyk's rules with the gateway's own, which come later and therefore win."""
    replaced = {name.lower() for name in (*own.remove, *own.set)}
    lines = [(name, value) for name, value in tyk_set.items() if name.lower() not in replaced]
    lines += [*own.set.items(), *own.add.items()]
    gone = replaced.union(name.lower() for name in (*tyk_set, *tyk_remove))
    if not lines and not gone:
        return None
    return FieldRules(
        frozenset(name.encode() for name in gone), tuple(f"{name}: {value}".encode() for name, value in lines)
    )
