"""docs/configuration.md, from the models: ``python -m gateway.config.reference > docs/configuration.md``."""

from __future__ import annotations

import sys
from textwrap import fill
from typing import TYPE_CHECKING, Any, get_origin

from gateway.config import refusals, tyk_names
from gateway.config.definitions import ApiDefinition
from gateway.config.environment import variable, variables
from gateway.config.reading import inner_section
from gateway.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from gateway.config.kinds import Section

_INTRODUCTION = """\
# Configuration

Made from the source by `python -m gateway.config.reference`; do not edit.

The gateway reads one main file, JSON or YAML, with the keys of Tyk's `tyk.conf` where Tyk has one and its own in
the section `gateway`. `config/tyk.conf` and `config/gateway.yaml` are samples that run. `gateway check` tells all
that is wrong with a file at once, and what it would serve.

* **Format**: `*.json` is JSON, `*.yaml` and `*.yml` are YAML; any other file is JSON if it starts with a brace.
* **Keys** match in any case. A key that is not known is an error when it resembles one that is, else a warning.
  Keys that exist in Tyk and mean nothing here are noted and ignored. A key with the value `null` is not set.
* **Types** are exact: `"8443"` in quotes is text, not a number. In YAML, what stands without quotes is whatever
  its key wants, so that `access_log: off` is the word and `use_ssl: on` the switch.
* **Paths** start from the directory of the file that they stand in.
* **Environment**: a variable wins over the main file. Lists are separated by commas; `certificates` is a JSON
  list of objects. An empty variable is not set. Paths in variables start from the directory that the gateway is
  started in.
* **APIs** are defined inline, in the list `apis` of the main file, and in the files `*.json`, `*.yaml` and
  `*.yml` of `app_path`, one each. Tyk's companions `*-oas.*` and `*-mcp.*` are skipped.
* **Times** are in seconds, fractions allowed. Sizes are in bytes.

TLS versions are 769 (1.0), 770 (1.1), 771 (1.2) and 772 (1.3), or `'1.0'` to `'1.3'`. A bound that is not written
has its default, and bounds that leave no version are an error.
"""

_REFUSED = """\
## What is refused

An API is served only if it says `use_keyless: true`. What asks for a protection that the gateway does not have is
an error, never served without it.
"""

_IGNORED = """\
## What is ignored

These keys exist in Tyk and mean nothing here. Each one is noted; in API definitions only if its value asks for
something.
"""


def document() -> str:
    """The text of docs/configuration.md."""
    parts = [
        _INTRODUCTION,
        "## The main file\n",
        *_tables(Settings, settable=True),
        "## An API definition\n\nTyk's classic format. Definitions have no variables.\n",
        *_tables(ApiDefinition, settable=False),
        _REFUSED,
        _names("API definition", refusals.DEFINITION),
        _IGNORED,
        _names("Main file", tyk_names.MAIN_FILE),
        _names("`http_server_options`", tyk_names.HTTP_SERVER_OPTIONS),
        _names("API definition", tyk_names.DEFINITION.difference(refusals.DEFINITION)),
        _names("`proxy`", tyk_names.PROXY),
        _names("`proxy.transport`", tyk_names.TRANSPORT),
        _names("`version_data.versions`", tyk_names.VERSION),
    ]
    return "\n".join(parts)


def _tables(model: type[Section], path: tuple[str, ...] = (), *, settable: bool, title: str = "") -> Iterator[str]:
    """The table of a section, then those of the sections in it. ``settable``: by variables, too."""
    columns = ["Key", "Variable", "Default", "Meaning"] if settable else ["Key", "Default", "Meaning"]
    rows = [columns, ["---"] * len(columns)]
    inner: list[str] = []
    for name, described in model.model_fields.items():
        keys = (*path, name)
        section = inner_section(described.annotation)
        if section is not None:
            listed = get_origin(described.annotation) in (tuple, dict)
            dots = f"### `{'.'.join(keys)}`{', each' if listed else ''}\n"
            inner += _tables(section, keys, settable=settable and not listed, title=dots)
        row = [f"`{name}`", _default(described, section), described.description or ""]
        if settable:
            row.insert(1, f"`{variable(keys)}`" if variable(keys) in variables() else "by its keys")
        rows.append(row)
    yield "\n".join([*([title] if title else []), *(f"| {' | '.join(row)} |" for row in rows), ""])
    yield from inner


def _default(described: FieldInfo, section: type[Section] | None) -> str:
    if described.is_required():
        return "required"
    default: Any = described.default
    if section is not None and default not in ((), {}):
        return "see below" if default is not None else "none"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return "empty" if default in (None, "", (), {}) else f"`{default}`"


def _names(title: str, names: Any) -> str:
    listed = ", ".join(f"`{name}`" for name in sorted(names))
    return fill(f"{title}: {listed}.", 110, break_on_hyphens=False, break_long_words=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
