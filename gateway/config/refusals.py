"""What may not be asked for: promises of security that cannot be kept are errors, never quietly dropped.

Looked up in the nodes, not in the models, so that a definition is refused whatever else is wrong with it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from gateway.config.node import Node, asks_for_nothing
from gateway.config.problems import Findings, Place
from gateway.config.reading import Keys, dotted

Refusal: TypeAlias = tuple[str, str]  # message and cure

_ACCESS = (
    "asks for an access control that this gateway does not have, and nothing is served without it",
    "remove it only if everybody may use the API",
)
_UPSTREAM = (
    "asks for a proof of identity towards upstreams that this gateway does not have",
    "remove it only if the upstreams do without",
)

_ACCESS_CONTROLS = """
    use_oauth2 external_oauth.enabled use_openid enable_jwt use_basic_auth use_standard_auth
    enable_signature_checking auth.use_certificate
    auth.validate_signature auth_configs.*.use_certificate auth_configs.*.validate_signature
    security_requirements enable_coprocess_auth use_go_plugin_auth custom_plugin_auth_enabled
    custom_middleware.auth_check
    version_data.versions.*.paths.white_list version_data.versions.*.paths.black_list
    version_data.versions.*.extended_paths.white_list version_data.versions.*.extended_paths.black_list
    version_data.versions.*.extended_paths.internal
"""
DEFINITION: dict[str, Refusal] = {
    **dict.fromkeys(_ACCESS_CONTROLS.split(), _ACCESS),
    "upstream_auth.oauth.enabled": _UPSTREAM,
    "upstream_auth.upstream_request_signing.enabled": _UPSTREAM,
}


def check_definition(node: Node, prefix: Keys, found: Findings) -> None:
    """Refuse a definition that is not explicitly open to everybody, or asks for what is not there."""
    members = node.value if isinstance(node.value, dict) else {}
    keys = {key.lower(): child for key, child in members.items()}
    keyless, protocol = keys.get("use_keyless"), keys.get("protocol")
    service = protocol is not None and protocol.value in ("tcp", "tls")  # Tyk asks the clients of those for no key
    if not service and (keyless is None or asks_for_nothing(keyless)):
        found.error(
            Place(dotted((*prefix, "use_keyless")), (keyless or node).source),
            "is not true, so the API wants keys, which this gateway does not check yet",
            "write use_keyless: true if everybody may use the API; otherwise it cannot be served here",
        )
    _check(_DEFINITION, node, prefix, found)


def _check(tree: Any, node: Node, at: Keys, found: Findings) -> None:
    """Walk a node along a tree of keys, which match in any case, as in Go; ``*`` stands for any key."""
    if isinstance(tree, tuple):
        if not asks_for_nothing(node):
            found.error(Place(dotted(at), node.source), *tree)
    elif isinstance(node.value, dict):
        for key, child in node.value.items():
            if branch := tree.get(key.lower()) or tree.get("*"):
                _check(branch, child, (*at, key), found)


def _tree(table: dict[str, Refusal]) -> dict[str, Any]:
    """A table by its keys, section in section: each key of a file is looked up once."""
    tree: dict[str, Any] = {}
    for path, refusal in table.items():
        *sections, last = path.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[last] = refusal
    return tree


_DEFINITION = _tree(DEFINITION)
