"""The kinds of values that configuration keys take, and the rule of each, told with its cure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, ClassVar, NoReturn
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr
from pydantic_core import PydanticCustomError

from gateway.config.networks import is_address, unbracketed

if TYPE_CHECKING:
    from collections.abc import Callable

VERSIONS = {769: "1.0", 770: "1.1", 771: "1.2", 772: "1.3"}
LOWEST_DEFAULT, HIGHEST_DEFAULT = 771, 772

_STREAMS = {"tcp", "tls"}
_YEAR = 365 * 24 * 3600
_STORE_ID = re.compile(r"[A-Za-z0-9_-]*[0-9a-fA-F]{64}", re.ASCII)
_PRIVATE_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_COPIED = "(inline PEM, "
_ANYTHING = "any:.*"
_FLAGS = re.compile(r"\(\?([ims]+)\)")
_CLASS = re.compile(r"\[[^\]]*\[:\^?\w+:\]")
_HOST = re.compile(r"(\*\.)?[\w-]+(\.[\w-]+)*\.?")


class Section(BaseModel):
    """A mapping of keys in a file. Types are exact: quoted digits are text, and text is no number."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    tyk_only: ClassVar[frozenset[str]] = frozenset()
    """Keys that Tyk has in this place and that mean nothing here."""
    shorthand: ClassVar[str] = ""
    """The key that is meant when the whole section is one word."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Remove the keys that are obeyed from those that mean nothing."""
        cls.tyk_only = cls.tyk_only.difference(cls.model_fields)


def refuse(message: str, cure: str = "") -> NoReturn:
    """Refuse a value from within a validator."""
    raise PydanticCustomError("refused", "{message}", {"message": message, "cure": cure})


def _version(value: object) -> object:
    """Read a TLS version, 771 or "1.2" (RFC 8446 section 4.2.1 has the numbers). 0 is Tyk's "not set"."""
    for number, label in VERSIONS.items():
        if value == number or (isinstance(value, str | float) and str(value) == label):
            return number
    if value is None or (value == 0 and not isinstance(value, bool)):
        return None
    return refuse("is not a TLS version", "write 769, 770, 771 or 772, or '1.0', '1.1', '1.2' or '1.3'")


def _or(default: int) -> BeforeValidator:
    return BeforeValidator(lambda value: _version(value) or default)


def skeleton(pattern: str) -> str:
    """Replace each ``{name}`` or ``{name:regex}`` of a pattern by an x, and refuse those that cannot work."""
    parts, left = _parts(pattern)
    if left is not None:
        refuse("has a brace without its partner", "write {name} or {name:regular expression}")
    variables = [text for text, variable in parts if variable]
    for name, colon, expression in (text.partition(":") for text in variables):
        if not name or (colon and not expression):
            refuse("has an incomplete {}", "write {name} or {name:regular expression}")
        if _CLASS.search(expression):
            refuse("has a class such as [:alpha:], which Python does not know", "write [A-Za-z], \\d, \\w or \\s")
    if not (all(map(_compiles, variables)) and _compiles(*variables)):
        refuse("has a regular expression that does not compile", "correct what stands after the colon in {}")
    return "".join("x" if variable else text for text, variable in parts)


def loosened(pattern: str) -> str:
    """Return a pattern that covers whatever one that `skeleton` refuses can have meant; "" if that is anything."""
    parts, left = _parts(pattern)
    if not any(re.search(r"\w", text) for text, variable in parts if not variable):
        return ""
    shown = (f"{{{text if _works(text) else _ANYTHING}}}" if variable else text for text, variable in parts)
    return "".join(shown) + (f"{{{_ANYTHING}}}" if left is not None else "")


def expression(template: str, default: str) -> str:
    """Return the regular expression that a template comes to. A name alone stands for ``default``.

    Flags at the start of an expression, which Go lets count to its end, count in it alone. Raises ValueError for a
    brace without its partner.
    """
    parts, left = _parts(template)
    if left is not None:
        raise ValueError(f"{template!r} has a brace without its partner")
    return "".join(_grouped(text, default) if variable else re.escape(text) for text, variable in parts)


def _grouped(variable: str, default: str) -> str:
    written = variable.partition(":")[2] or default
    flags = _FLAGS.match(written)
    return f"(?{flags[1]}:{written[flags.end() :]})" if flags else f"(?:{written})"


def _works(variable: str) -> bool:
    name, colon, written = variable.partition(":")
    return bool(name and (written or not colon)) and not _CLASS.search(written) and _compiles(variable)


def _compiles(*variables: str) -> bool:
    """Return whether the patterns of variables compile together, both as text (as in hosts) and as bytes."""
    written = "".join(_grouped(one, "x") for one in variables)
    try:
        re.compile(written)
        re.compile(written.encode())
    except (re.error, ValueError, OverflowError, RecursionError):
        return False
    return True


def _parts(template: str) -> tuple[list[tuple[str, bool]], str | None]:
    """Cut a template into literal and variable parts, the latter without their outer braces.

    Beside them stands what is left from a brace on that has no partner.
    """
    found: list[tuple[str, bool]] = []
    start = depth = 0
    for position, character in enumerate(template):
        step = {"{": 1, "}": -1}.get(character, 0)
        if (depth, step) in ((0, 1), (1, -1)):
            found.append((template[start:position], step < 0))
            start = position + 1
        depth += step
        if depth < 0:
            return [*found, (template[start:position], False)], template[position:]
    return ([*found, (template[start:], False)], None) if depth == 0 else (found, template[start:])


def host_pattern(text: str) -> str:
    """Check a host name, an IP address, ``*.example.com`` or a gorilla template, ``{sub}.example.com``."""
    if not text or is_address(text):
        return text
    literal = skeleton(text)
    if "://" in literal:
        refuse("is a URL, not a host", "write only the host, such as www.example.com")
    if "/" in literal:
        refuse("has a path", "write only the host here, and the path in proxy.listen_path")
    if ":" in literal:
        refuse("has a port", "write only the host: a domain is served on the port of the gateway")
    if not _HOST.fullmatch(literal) or len(literal) > 253 or max(map(len, literal.split("."))) > 63:
        refuse("is not a host name", "write a host such as www.example.com, *.example.com or {name}.example.com")
    return text


def _bind_address(text: str) -> str:
    text = unbracketed(text)
    if text and not is_address(text) and not _HOST.fullmatch(text):
        refuse(
            "is not an address to listen on",
            "write an IP address without port, '' for all; the port has its own key",
        )
    return text


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = f"write {ipaddress.ip_network(text, strict=False)}"
        except ValueError:
            meant = "write an address, or a network such as 10.0.0.0/8"
        refuse("is not an address or a network", meant)
    return text


def _target(text: str) -> str:
    """Check an absolute URL of a kind that can be forwarded to; which one suits whom is a matter of `rules`."""
    if re.search(r"\s", text):
        refuse("has white space in it", "write %20 where a space is meant")
    scheme, separator, _ = text.partition("://")
    if not separator:
        refuse("is not an absolute URL", "start it with http:// or https://")
    if scheme.lower() not in {"http", "https", "h2c", *_STREAMS}:
        refuse("is neither http nor https", "only http://, https:// and h2c:// targets are supported")
    url = _split(text)
    if url is None:
        refuse("has no usable host and port", "write it like http://10.0.0.1:8080/")
    if url.username is not None or url.fragment:
        refuse("has user information or a fragment", "remove what stands before the @, or from the # on")
    if scheme.lower() in _STREAMS and (not url.port or url.path.strip("/") or url.query):
        refuse("is not a host and a port", f"write it like {scheme}://10.0.0.1:5432")
    return text


def _split(text: str) -> SplitResult | None:
    """Split a URL that has a host, and no port that cannot be one."""
    try:
        url = urlsplit(text)
        host = (url.hostname or "").partition("%")[0]
        unusable = not (is_address(host) or _HOST.fullmatch(host)) or url.port == 0
    except ValueError:
        return None
    return None if unusable else url


def _listed_target(text: str) -> str:
    if "://" not in text:  # its scheme depends on the protocol of the API
        _target(f"http://{text}")
        return text
    return _target(text)


def _listen_path(text: str) -> str:
    """Clean a listen path as Tyk does: one leading slash, no dot segments, a trailing slash kept."""
    if not text.strip():
        refuse("is empty", "write / for all paths, or a prefix such as /orders/")
    if re.search(r"\s", text):
        refuse("has white space in it", "remove it: Tyk does not serve such a path either")
    if set("?#") & set(skeleton(text)):
        refuse("is not a path alone", "remove what starts with ? or #")
    segments: list[str] = []
    for segment in text.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in {"", "."}:
            segments.append(segment)
    return "/" + "/".join(segments) + ("/" if segments and text.endswith("/") else "")


def as_copied(reference: str) -> str:
    """A certificate reference as copies of the configuration have it: a name, and never the material itself."""
    return f"{_COPIED}{sha256(reference.encode()).hexdigest()})" if is_inline_pem(reference) else reference


def is_copied_pem(reference: str) -> bool:
    """Return whether a reference is one that `as_copied` made of inline PEM."""
    return reference.startswith(_COPIED)


def is_inline_pem(text: str) -> bool:
    """Whether a certificate reference is the material itself instead of the path of a file."""
    return "-----BEGIN " in text


def source_of(reference: str) -> str:
    """What problems of a certificate reference name as their place: never the material itself."""
    return "inline PEM" if is_inline_pem(reference) else reference


def _public_part(text: str) -> str:
    """What of inline PEM may stand in copies of the configuration: everything but private keys."""
    return _PRIVATE_BLOCK.sub("", text)


def is_store_id(text: str) -> bool:
    """Whether a certificate reference has the form of an id of the certificate store: organisation and SHA-256."""
    return _STORE_ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class PathUnless:
    """Marks text that is a path unless ``exempt`` says otherwise: the reader makes such paths absolute.

    Text that ``ambiguous`` accepts is a path only where a file of that name exists.
    """

    exempt: Callable[[str], bool]
    ambiguous: Callable[[str], bool] = lambda _: False


@dataclass(frozen=True, slots=True)
class CommaSeparated:
    """Marks a list that may be written as one text with commas in it."""


def port_or(default: int) -> BeforeValidator:
    """Take 0, which is Tyk's "not set", for the default."""
    return BeforeValidator(lambda value: default if value == 0 and not isinstance(value, bool) else value)


Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(ge=0, le=_YEAR)]
SomeSeconds = Annotated[float, Field(gt=0, le=_YEAR)]
Count = Annotated[int, Field(ge=0, le=10**9)]
SomeCount = Annotated[int, Field(ge=1, le=10**9)]
Bytes = Annotated[int, Field(ge=0, le=2**50)]
LowestVersion = Annotated[int, _or(LOWEST_DEFAULT)]
HighestVersion = Annotated[int, _or(HIGHEST_DEFAULT)]
OptionalVersion = Annotated[int | None, BeforeValidator(_version)]
HostPattern = Annotated[str, AfterValidator(host_pattern)]
# Tyk's charts write * for the certificate of clients that match no other.
SiteName = Annotated[str, AfterValidator(lambda text: text if text == "*" else host_pattern(text))]
BindAddress = Annotated[str, AfterValidator(_bind_address)]
Network = Annotated[str, AfterValidator(_network)]
Target = Annotated[str, AfterValidator(_target)]
ListedTarget = Annotated[str, AfterValidator(_listed_target)]
ListenPath = Annotated[str, AfterValidator(_listen_path)]
LogPath = Annotated[str, Field(min_length=1), PathUnless("stdout".__eq__)]
# Inline PEM may hold a private key: it stays out of every copy of the configuration that is written.
CertificateReference = Annotated[
    str,
    Field(min_length=1),
    PathUnless(is_inline_pem, ambiguous=is_store_id),
    PlainSerializer(as_copied, when_used="json"),
]
# Never in a copy of the configuration: who needs a secret reads it where it stands.
Secret = Annotated[SecretStr | None, Field(exclude=True, repr=False)]
# What others are recognised by: no copy of the configuration lacks it, and none has a key that was pasted with it.
TrustReference = Annotated[
    str,
    Field(min_length=1),
    PathUnless(is_inline_pem, ambiguous=is_store_id),
    AfterValidator(_public_part),
]
