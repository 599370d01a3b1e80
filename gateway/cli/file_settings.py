"""The effective settings of a file that no gateway runs, in the form in which a running gateway reports them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from gateway.cli.failures import AdminError
from gateway.config.load import load_what_can_be_served
from gateway.errors import ConfigurationError
from gateway.runtime import in_force
from gateway.runtime.main_file import MainFile

if TYPE_CHECKING:
    from pathlib import Path


def part(path: Path, name: str) -> Any:
    """Return a part of `admin.configuration.Running`. Raises AdminError when the file cannot be read."""
    try:
        match name:
            case "tls":
                return in_force.negotiated(MainFile.read(path, os.environ).settings).model_dump(mode="json")
            case "settings":
                return in_force.listed(MainFile.read(path, os.environ).settings).model_dump(mode="json")
        configuration = load_what_can_be_served(path, os.environ)
    except ConfigurationError as error:
        raise AdminError(str(error).removeprefix("error: "), exit_code=2) from error
    if name == "upstreams":
        found: Any = in_force.services(configuration)
    else:
        found = in_force.authorities(in_force.with_authorities(configuration))
    return [one.model_dump(mode="json") for one in found]
