"""The parts of an API definition that a key elsewhere in it switches off.

A part that is off asks for nothing: nothing in it is refused, and no value in it is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from gateway.config.node import switch as said

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from gateway.config.node import Node

Keys: TypeAlias = tuple[str, ...]
"""Keys in lower case, without the numbers of list items."""

# Each switch, what it switches, and whether that is on where the switch is not written. In doubt it is on, unless
# the section is one that is obeyed here, whose default is known. An exclamation mark: true switches off.
_VERSION: Final = "version_data.versions.*"
_SWITCHES: tuple[tuple[str, str, bool], ...] = (
    ("upstream_auth.enabled", "upstream_auth.basic_auth", False),
    ("upstream_auth.enabled", "upstream_auth.oauth upstream_auth.upstream_request_signing", True),
    ("upstream_auth.enabled", "upstream_auth.request_signing", True),
    ("upstream_auth.basic_auth.enabled", "upstream_auth.basic_auth", False),
    ("upstream_auth.basic_auth.header.enabled", "upstream_auth.basic_auth.header", False),
    ("!uptime_tests.disabled", "uptime_tests.check_list uptime_tests.config", True),
    ("!domain_disabled", "domain certificates", True),
    ("!ip_access_control_disabled", "allowed_ips blacklisted_ips", True),
    ("enable_ip_whitelisting", "allowed_ips", False),
    ("enable_ip_blacklisting", "blacklisted_ips", False),
    ("use_mutual_tls_auth", "client_certificates", True),
    ("!upstream_certificates_disabled", "upstream_certificates", True),
    ("!certificate_pinning_disabled", "pinned_public_keys", True),
    ("proxy.enable_load_balancing", "proxy.target_list", False),
    (f"!{_VERSION}.global_headers_disabled", f"{_VERSION}.global_headers {_VERSION}.global_headers_remove", True),
    (
        f"!{_VERSION}.global_response_headers_disabled",
        f"{_VERSION}.global_response_headers {_VERSION}.global_response_headers_remove",
        True,
    ),
    (f"!{_VERSION}.global_size_limit_disabled", f"{_VERSION}.global_size_limit", True),
    (f"{_VERSION}.use_extended_paths", f"{_VERSION}.extended_paths", True),
    (f"!{_VERSION}.use_extended_paths", f"{_VERSION}.paths", True),
    ("!version_data.not_versioned", f"definition.location {_VERSION}.expires", True),
    ("!custom_middleware_bundle_disabled", "custom_middleware_bundle", True),
    ("!disable_rate_limit", f"global_rate_limit {_VERSION}.extended_paths.rate_limit", True),
    ("!error_overrides_disabled", "error_overrides", True),
    ("!global_enforce_timeout_disabled", "global_enforce_timeout", True),
    ("!tags_disabled", "tags", True),
    ("!config_data_disabled", "config_data", True),
)


def switched_off(definition: Node) -> frozenset[Keys]:
    """Return the paths of what is switched off; everything below them is, too."""
    off: set[Keys] = set()
    for switch, switched, otherwise in _SWITCHES:
        path = tuple(switch.removeprefix("!").split("."))
        for names in _expanded(definition, path):
            found = _at(definition, names)
            written = found is not None and found.value is not None
            value = said(found)
            on = otherwise if not written else value is None or value != switch.startswith("!")
            if not on:
                stars = iter(name for name, part in zip(names, path, strict=True) if part == "*")
                star = next(stars, "*")
                off |= {tuple(star if part == "*" else part for part in one.split(".")) for one in switched.split()}
    return frozenset(off)


def is_off(keys: Iterable[str | int], off: Collection[Keys]) -> bool:
    """Return whether a key is switched off, or lies within a part that is."""
    path = tuple(key.lower() for key in keys if isinstance(key, str))
    return any(_within(path, one) for one in off)


def _within(path: Keys, off: Keys) -> bool:
    return len(path) >= len(off) and all(part in (key, "*") for key, part in zip(path, off, strict=False))


def _expanded(node: Node, path: Keys) -> Iterator[Keys]:
    """Yield the path with each existing name in place of ``*``."""
    if "*" not in path:
        yield path
        return
    at = path.index("*")
    section = _at(node, path[:at])
    for name in section.value if section is not None and isinstance(section.value, dict) else ():
        yield (*path[:at], name.lower(), *path[at + 1 :])


def _at(node: Node | None, path: Keys) -> Node | None:
    for name in path:
        members = node.value if node is not None and isinstance(node.value, dict) else {}
        node = next((child for key, child in members.items() if key.lower() == name), None)
    return node
