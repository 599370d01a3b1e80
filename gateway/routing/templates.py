"""Domains and listen paths with ``{name}`` and ``{name:expression}`` in them, as Tyk's router reads them.

A name without an expression stands for anything within one label or segment. Expressions come from the
configuration and are trusted: whoever writes one decides what matching it costs.
"""

from __future__ import annotations

import re
from typing import AnyStr

from gateway.config.kinds import expression


def is_template(text: str) -> bool:
    """Return whether it contains more than literal text."""
    return "{" in text


def host_pattern(domain: str) -> re.Pattern[str]:
    """Return the pattern that canonical host names of ``domain`` match from end to end.

    Raises ValueError for a brace without its partner, or an expression that does not compile.
    """
    labels, domain = ("[^.]+", domain[1:]) if domain.startswith("*.") else ("", domain)
    return _compile(labels + expression(domain, "[^.]+"), re.IGNORECASE)


def path_pattern(listen_path: str) -> re.Pattern[bytes]:
    """Return the pattern that decoded paths under ``listen_path`` begin with. Raises ValueError like `host_pattern`."""
    return _compile(expression(listen_path, "[^/]+").encode(), 0)


def effective_length(listen_path: str) -> int:
    """Return how specific Tyk takes a path to be: its length, to which a wholly variable segment adds nothing."""
    segments = listen_path.split("/")
    literal = [text for text in segments if not (text.startswith("{") and text.endswith("}"))]
    return sum(map(len, literal)) + len(segments) - 1


def _compile(text: AnyStr, flags: int) -> re.Pattern[AnyStr]:
    try:
        return re.compile(text, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{text!r} does not compile as a regular expression: {error}") from error
