"""``python -m gateway``, and the ``gateway`` command."""

from __future__ import annotations

import gc
import sys

from gateway import __version__


def main() -> None:
    """Run the command. Answer for the version at once: scripts ask often."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"gateway {__version__}\n")
        return
    gc.disable()  # imports make many objects and no garbage: looking for it takes a fifth of their time
    from gateway.cli.main import app  # noqa: PLC0415 - it takes its time

    gc.enable()

    app(prog_name="gateway")


if __name__ == "__main__":
    main()
