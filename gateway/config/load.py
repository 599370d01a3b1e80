"""All that is configured, from files and environment, as one frozen value; or every problem at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from gateway.config import document, environment, refusals, rules
from gateway.config.client_trust import ClientTrust
from gateway.config.definition_rules import Served
from gateway.config.definition_text import classic, is_half, paired, read_definition
from gateway.config.definitions import ApiDefinition  # noqa: TC001 - pydantic evaluates it
from gateway.config.material import Material
from gateway.config.node import Node
from gateway.config.own_ports import own_port
from gateway.config.problems import Findings, Place, Problem, Severity
from gateway.config.reading import Keys, read
from gateway.config.settings import CONTROL_PORT, Settings
from gateway.config.standing import Entry, Refused, settle
from gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# Where Tyk's packages and images keep definitions: named by its published files, rightly absent elsewhere.
_TYK_APP_PATHS = frozenset({Path("/etc/tyk/apps"), Path("/opt/tyk-gateway/apps")})


DEFAULT_CERTIFICATES = "certs"
"""The directory beside the main file that is ``certificates_dir`` when it is there and none is named."""


class Configuration(BaseModel):
    """What is configured: settings, served APIs, what a person should know, and the files that were read.

    ``closed`` hold the places of APIs that are out of service, whose requests get 503; ``refused`` are all definitions
    with errors, whatever became of them. ``homes`` are the files of APIs that have one of their own, by api_id.
    ``material`` is what was found of what is named towards upstreams; who loads a configuration has none yet.
    ``client_trust`` is the same towards clients, and public.
    Its JSON form reads back equal, except that secrets, passphrases and inline PEM stay out of it, but for what is in
    ``material``: so it is sealed wherever it is kept, and never shown.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    settings: Settings
    apis: tuple[ApiDefinition, ...]
    warnings: tuple[Problem, ...]
    files: tuple[Path, ...]
    closed: tuple[ApiDefinition, ...] = ()
    refused: tuple[Refused, ...] = ()
    homes: dict[str, str] = {}
    material: Material = Field(Material(), repr=False)
    client_trust: ClientTrust = Field(ClientTrust(), repr=False)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems of what was read."""
        return (*(problem for one in self.refused for problem in one.problems), *self.warnings)

    def of_port(self, port: int) -> Configuration:
        """Return the same with nothing but what is served on the gateway's port (0), or on another one."""

        def there(api: ApiDefinition) -> bool:
            return own_port(api, self.settings) == port

        return self.model_copy(
            update={"apis": tuple(filter(there, self.apis)), "closed": tuple(filter(there, self.closed))}
        )


def load(path: Path, environ: Mapping[str, str]) -> Configuration:
    """Read the main file, the environment and the API definitions.

    Raises ConfigurationError, with every problem that there is, when one of them is an error.
    """
    return _Load(path, environ).configuration(lambda _: None, strict=True)


def load_what_can_be_served(
    path: Path, environ: Mapping[str, str], last: Callable[[Settings], Configuration | None] = lambda _: None
) -> Configuration:
    """Do the same, but let a definition with errors harm only itself, unless ``gateway.strict`` is true.

    ``last`` returns what is served, which has the last good state of definitions; it is asked only where one has
    errors. Raises ConfigurationError for what is wrong with the main file.
    """
    return _Load(path, environ).configuration(last, strict=False)


class _Load:
    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        self._found = Findings()
        self._files: list[tuple[Path, str]] = []

    def configuration(self, last: Callable[[Settings], Configuration | None], *, strict: bool) -> Configuration:
        root = self._main_file()
        if root is None:
            raise ConfigurationError(self._problems())
        root, inline = self._without_apis(root)
        root = environment.overlay(root, self._environ, self._found)
        refusals.check_main_file(root, self._found)
        main = read(Settings, root, self._found)
        if main.model is None:
            raise ConfigurationError(self._problems())
        rules.check_settings(main.model, main.origin, self._found)
        settings = self._with_paths(main.model, alone=inline is not None)
        entries = [*self._inline(inline), *self._from_directory(settings.app_path, main.origin.place("app_path"))]
        for one in entries:
            if one.served:
                rules.check_alone(one.served, settings)
        strict = strict or settings.gateway.strict
        settled = settle(entries, settings, lambda: None if strict else last(settings))
        rules.check_all((*settled.apis, *settled.closed), settings, main.origin, self._found)
        if not entries:
            self._found.warning(
                main.origin.place(),
                "no API is defined, so every request is answered with 404",
                "define one under apis: or in a file in app_path",
            )
        self._found.problems += settled.problems
        if self._found.refused or (strict and settled.refused):
            self._found.problems += [problem for one in settled.refused for problem in one.problems]
            raise ConfigurationError(self._problems())
        return Configuration(
            settings=settings,
            apis=settled.apis,
            warnings=self._problems(),
            files=tuple(file for file, _ in self._files),
            closed=settled.closed,
            refused=settled.refused,
            homes=settled.homes,
        )

    def _main_file(self) -> Node | None:
        """Read the main file, unless the environment shall do without one (Tyk's TYK_GW_OMITCONFIGFILE)."""
        if environment.is_omitted(self._environ):
            self._files.append((self._path.absolute(), str(self._path)))
            return Node({}, "", self._path.absolute().parent)
        return self._read(self._path, str(self._path))

    def _read(self, path: Path, shown: str) -> Node | None:
        self._files.append((path.absolute(), shown))
        return document.read(path, shown, self._found)

    def _with_paths(self, settings: Settings, *, alone: bool) -> Settings:
        """Settle the directories whose defaults depend on where the main file is.

        A file that defines APIs itself stands alone: the directory beside it is then read only if it is named.
        """
        base = self._path.absolute().parent
        beside = base / "apps"
        default = base / DEFAULT_CERTIFICATES
        certificates = settings.gateway.certificates_dir or (default if default.is_dir() else None)
        directories = {"data_dir": base / settings.gateway.data_dir, "certificates_dir": certificates}
        gateway = settings.gateway.model_copy(update=directories)
        control = settings.control_api_port or CONTROL_PORT
        app_path = settings.app_path or (beside if beside.is_dir() and not alone else None)
        return settings.model_copy(update={"gateway": gateway, "app_path": app_path, "control_api_port": control})

    def _without_apis(self, root: Node) -> tuple[Node, Node | None]:
        """Split the inline API definitions off the main file."""
        members = root.value if isinstance(root.value, dict) else {}
        inline = [(key, value) for key, value in members.items() if key.lower() == "apis"]
        for key, value in inline[1:]:
            self._found.error(Place(key, value.source), "the key stands twice", "put all APIs into one list")
        rest = {key: value for key, value in members.items() if key.lower() != "apis"}
        return (Node(rest, root.source, root.base), inline[0][1]) if inline else (root, None)

    def _inline(self, inline: Node | None) -> Iterator[Entry]:
        if inline is None or inline.value is None:
            return
        if not isinstance(inline.value, list):
            self._found.error(Place("apis", inline.source), "must be a list", "start each API with a dash")
            return
        for index, node in enumerate(inline.value):
            yield from self._definition(node, ("apis", index), "", Findings())

    def _from_directory(self, directory: Path | None, place: Place) -> Iterator[Entry]:
        if directory is None:
            return
        try:
            files = paired(entry for entry in directory.iterdir() if not entry.is_dir())
        except FileNotFoundError:
            tell = self._found.warning if directory in _TYK_APP_PATHS else self._found.error
            tell(place, f"the directory {directory} does not exist", "create it, correct it, or remove app_path")
            return
        except OSError as error:
            self._found.error(place, f"{directory} cannot be listed: {error.strerror}", "name a readable directory")
            return
        for file, companion in files:
            yield from self._from_file(file, companion)

    def _from_file(self, file: Path, companion: Path | None) -> Iterator[Entry]:
        """Read a definition, or the OAS document beside it if that has all of the API."""
        shown, found = self._shown(file), Findings()
        self._files.append((file.absolute(), shown))
        node = document.read(file, shown, found)
        if node is None:
            yield Entry(shown, str(file.absolute()), None, None, found)
        elif companion is not None and is_half(node):
            yield from self._from_file(companion, None)
        else:
            if companion is not None:
                message = f"is not read, as {file.name} does not say is_oas: true"
                self._found.warning(Place("", self._shown(companion)), message, "remove one of the two, or say it")
            yield from self._definition(node, (), str(file.absolute()), found)

    def _shown(self, file: Path) -> str:
        """A file's name as a person would type it who typed that of the main file."""
        base = self._path.absolute().parent
        return str(self._path.parent / file.relative_to(base)) if file.is_relative_to(base) else str(file)

    def _definition(self, node: Node, prefix: Keys, file: str, found: Findings) -> Iterator[Entry]:
        """Read a definition, unless it says itself that it is not to be served."""
        reading = read_definition(node, prefix, found)
        if reading is None and not found.refused:
            self._found.problems += found.problems
            return
        served = Served(reading.model, reading.origin, found) if reading and reading.model else None
        source = node.source.rpartition(":")[0] if file else node.source
        yield Entry(source, file, classic(node), served, found)

    def _problems(self) -> tuple[Problem, ...]:
        """All problems in the order of files and lines, variables first; no note where an error says more."""
        ranks = {shown: rank for rank, (_, shown) in enumerate(self._files)}

        def position(problem: Problem) -> tuple[int, int]:
            file, _, line = problem.source.rpartition(":")
            return (ranks[file], int(line)) if file in ranks else (ranks.get(problem.source, -1), 0)

        refused = {
            (problem.source.rpartition(":")[0], part)
            for problem in self._found.problems
            if problem.severity is Severity.ERROR
            for part in _outer(problem.path)
        }
        kept = [
            problem
            for problem in self._found.problems
            if problem.severity is not Severity.NOTE or (problem.source.rpartition(":")[0], problem.path) not in refused
        ]
        return tuple(sorted(kept, key=position))


def _outer(path: str) -> list[str]:
    """A path and the paths of what it is in: a.b.c, a.b, a."""
    parts = path.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
