"""Pydantic's errors as sentences for a person who has the file open in front of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SECRET_KEYS = frozenset({"secret", "passphrase", "certificates", "ssl_certificates"})  # or hold secrets
_FIXED = {
    "finite_number": ("must be a finite number", ""),
    "missing": ("is required and missing", "add it"),
    "string_pattern_mismatch": ("is empty, or has a space or a slash in it", "use letters, digits, - and _"),
    "too_short": ("is empty", "list at least one"),
    "string_too_short": ("is empty", "write a value, or remove the key"),
}
_WANTED = {
    "bool_type": "true or false",
    "dict_type": "a section of names and values",
    "float_type": "a number",
    "int_type": "a whole number",
    "is_instance_of": "the path of a file or directory, as text",
    "model_attributes_type": "a section with keys of its own",
    "model_type": "a section with keys of its own",
    "string_type": "text",
    "tuple_type": "a list",
}
_BOUNDS = {
    "greater_than": ("gt", "must be more than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than_equal": ("le", "must be at most"),
}


def sentence(detail: ErrorDetails) -> tuple[str, str]:
    """Tell what is wrong with a value, and the cure. Values of secrets are never repeated."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "refused":
        return context["message"], context["cure"]
    if kind in _FIXED:
        return _FIXED[kind]
    value = _shown(detail["input"], secret=bool(_SECRET_KEYS.intersection(detail["loc"])))
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {value}", _cure(kind, detail["input"])
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{words} {context[key]}, not {value}", ""
    if kind == "literal_error":
        return f"must be {context['expected']}, not {value}", ""
    return detail["msg"], ""


def _shown(value: Any, *, secret: bool) -> str:
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return "text" if secret or len(value) > 60 else f"the text {value!r}"
    return "a number" if secret else str(value)[:40]


def _cure(kind: str, value: Any) -> str:
    if kind == "tuple_type":
        return "put it in brackets: [...]"
    if kind == "string_type" and isinstance(value, int | float):
        return "put it in double quotes"
    if isinstance(value, str):
        if kind in {"int_type", "float_type"} and value.strip().replace(".", "", 1).isdigit():
            return "remove the quotes"
        if kind == "bool_type":
            return "write true or false, without quotes"
    return ""
