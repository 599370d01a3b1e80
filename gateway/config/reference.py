"""docs/configuration.md, from the models: ``python -m gateway.config.reference > docs/configuration.md``."""

from __future__ import annotations

import sys
from textwrap import fill
from typing import TYPE_CHECKING, Any, get_origin

from gateway.config import tyk_names
from gateway.config.definitions import ApiDefinition
from gateway.config.environment import variable, variables
from gateway.config.reading import inner_section
from gateway.config.settings import Settings
from gateway.config.tyk_names import Fate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic.fields import FieldInfo

    from gateway.config.kinds import Section
    from gateway.config.tyk_names import Row

_INTRODUCTION = """\
# Configuration

Made from the source by `python -m gateway.config.reference`; do not edit.

The gateway reads one main file, JSON or YAML, with the keys of Tyk's `tyk.conf` where Tyk has one and its own in
the section `gateway`. `config/tyk.conf` and `config/gateway.yaml` are samples that run. `gateway check` tells all
that is wrong with a file at once, and what it would serve.

* **Format**: `*.json` is JSON, `*.yaml` and `*.yml` are YAML; any other file is JSON if it starts with a brace.
* **Keys** match in any case. A key that is not known is an error when it resembles one that is, else a warning.
  The last part of this page says what becomes of those that only Tyk knows. A key with the value `null` is not set.
* **Types** are exact: `"8443"` in quotes is text, not a number. In YAML, what stands without quotes is whatever
  its key wants, so that `access_log: off` is the word and `use_ssl: on` the switch.
* **Paths** start from the directory of the file that they stand in.
* **Environment**: a variable wins over the main file. Lists are separated by commas; `certificates` is a JSON
  list of objects. An empty variable is not set. Paths in variables start from the directory that the gateway is
  started in.
* **APIs** are defined inline, in the list `apis` of the main file, and in the files `*.json`, `*.yaml` and
  `*.yml` of `app_path`, one each, in Tyk's classic format or as OAS documents with `x-tyk-api-gateway`. As Tyk writes
  them, `ID.json` and `ID-oas.json` are one API. Files `*-mcp.*` are skipped.
* **Times** are in seconds, fractions allowed. Sizes are in bytes.

TLS versions are 769 (1.0), 770 (1.1), 771 (1.2) and 772 (1.3), or `'1.0'` to `'1.3'`. A bound that is not written
has its default, and bounds that leave no version are an error.
"""

_FATES = """\
## What becomes of Tyk's other keys

Every key that Tyk has and that is not above is in one of the following lists. A value asks for nothing when it is
empty, false, 0 or null, when its section is switched off (`enabled: false`, `disabled: true`), or when a key
elsewhere switches it off (such as `upstream_certificates_disabled` or `not_versioned`); what asks for nothing is not
looked at any further. In doubt it asks: `extended_paths` without `use_extended_paths` is not taken for switched off.

### Refused

An API is served only if it says `use_keyless: true`. A definition with one of these keys, asking for something,
restricts its clients or changes their requests in a way that the gateway does not: that is an error, never served
without it. That API alone is then out of service ([deploying.md](deploying.md#one-definition-that-is-wrong)).
`*` stands for any name, and for each item of a list.
"""

_WARNED = """\
### Warned of

Keys of the main file that change what Tyk does with requests, and do not here.
"""

_IGNORED = """\
### Ignored

These change nothing about the fate of a request. Each is noted if its value asks for something. A key of a section
stands for all in it that is not in another list.
"""

_SILENT = """\
### Passed over

These are nobody's news.
"""


def document() -> str:
    """The text of docs/configuration.md."""
    parts = [
        _INTRODUCTION,
        "## The main file\n",
        *_tables(Settings, settable=True),
        "## An API definition\n\nTyk's classic format. Definitions have no variables.\n",
        *_tables(ApiDefinition, settable=False),
        _FATES,
        _reasons(tyk_names.DEFINITION, Fate.REFUSED),
        _WARNED,
        _reasons(tyk_names.MAIN_FILE, Fate.WARNED),
        _IGNORED,
        _names("Main file", tyk_names.MAIN_FILE, Fate.NOTED),
        _names("API definition", tyk_names.DEFINITION, Fate.NOTED),
        _SILENT,
        _names("API definition", tyk_names.DEFINITION, Fate.SILENT),
    ]
    return "\n".join(parts)


def _reasons(table: Iterable[Row], fate: Fate) -> str:
    """Return a table of the keys of one fate: keys with the same reason share a line."""
    keys: dict[tuple[str, str], list[str]] = {}
    for row in table:
        if row.fate is fate:
            keys.setdefault((row.message, row.cure), []).append(f"`{row.path}`")
    lines = (f"| {', '.join(paths)} | {why} | {cure} |" for (why, cure), paths in keys.items())
    return "\n".join(["| Key | It | What to do |", "| --- | --- | --- |", *lines, ""])


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


def _names(title: str, table: Iterable[Row], fate: Fate) -> str:
    listed = ", ".join(f"`{row.path}`" for row in sorted(table, key=lambda row: row.path) if row.fate is fate)
    return fill(f"{title}: {listed}.", 110, break_on_hyphens=False, break_long_words=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
