"""What the tests of configuration share: files to write, and the problems that come of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.config.load import Configuration, load
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.config.problems import Problem

API = {
    "api_id": "one",
    "use_keyless": True,
    "proxy": {"listen_path": "/", "target_url": "http://127.0.0.1:9000/"},
}


class Workshop:
    """A directory for configuration files, and what they come to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, content: str | Mapping[str, Any], name: str = "main.json") -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def load(self, content: str | Mapping[str, Any], name: str = "main.json", **environ: str) -> Configuration:
        return load(self.write(content, name), environ)

    def problems(self, content: str | Mapping[str, Any], name: str = "main.json", **environ: str) -> list[Problem]:
        """Everything that is told about a file, whether it can be served or not."""
        try:
            return list(self.load(content, name, **environ).warnings)
        except ConfigurationError as error:
            return list(error.problems)

    def told(self, content: str | Mapping[str, Any], name: str = "main.json", **environ: str) -> str:
        """The same as text, without the directory."""
        return "\n".join(map(str, self.problems(content, name, **environ))).replace(f"{self.directory}/", "")
