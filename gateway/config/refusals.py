"""The settings that are refused: a promise that the gateway cannot keep is an error, and is never quietly dropped.

They are looked up in the nodes, not in the models, so other errors never hide a refusal. The keys
and the reasons are those of `tyk_names`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.config import tyk_names
from gateway.config.node import Node, asks_for_nothing
from gateway.config.problems import Findings, Place
from gateway.config.reading import Keys, dotted
from gateway.config.switches import is_off
from gateway.config.tyk_names import Fate, Row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_REFUSED = tyk_names.refusals()
_WARNED = tyk_names.tree(tyk_names.MAIN_FILE, Fate.WARNED)


def check_definition(node: Node, prefix: Keys, off: Collection[tuple[str, ...]], found: Findings) -> None:
    """Refuse a definition that is not explicitly open to everybody, or asks for what is not there.

    What is ``off`` (`switches`) asks for nothing.
    """
    members = node.value if isinstance(node.value, dict) else {}
    keys = {key.lower(): child for key, child in members.items()}
    keyless, protocol = keys.get("use_keyless"), keys.get("protocol")
    service = protocol is not None and protocol.value in ("tcp", "tls")  # Tyk asks the clients of those for no key
    if not service and (keyless is None or asks_for_nothing(keyless)):
        found.refusal(
            Place(dotted((*prefix, "use_keyless")), (keyless or node).source),
            "is not true, so the API wants keys, which this gateway does not check yet",
            "write use_keyless: true if everybody may use the API; otherwise it cannot be served here",
        )
    for row, keys_of_it, asking in _asking(_REFUSED, node, (), off):
        if row.fate is Fate.REFUSED:
            found.refusal(Place(dotted((*prefix, *keys_of_it)), asking.source), row.message, row.cure)


def check_main_file(node: Node, found: Findings) -> None:
    """Warn of settings of a main file with which Tyk acts on requests and this gateway does not."""
    for row, keys, asking in _asking(_WARNED, node, (), ()):
        found.warning(Place(dotted(keys), asking.source), row.message, row.cure)


def _asking(tree: Any, node: Node, at: Keys, off: Collection[tuple[str, ...]]) -> Iterator[tuple[Row, Keys, Node]]:
    """Walk a node along a tree of keys, which match in any case, as in Go; yield what asks for something."""
    if isinstance(tree, Row):
        if not tree.idle(node) and not is_off(at, off):
            yield tree, at, node
    elif isinstance(node.value, dict):
        for key, child in node.value.items():
            if branch := tree.get(key.lower()) or tree.get("*"):
                yield from _asking(branch, child, (*at, key), off)
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):  # a list where a section belongs hides nothing either
            yield from _asking(tree.get("*", tree), child, (*at, index), off)
