"""The layout of help texts: plain text, with options under their headings.

Every command imports what `--help` needs, so it imports little: no rich, which is typer's own way, and no
typing_extensions (for ``override``). Each of them takes longer to import than this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ONLY_A_COMMAND = f"{__name__}: no option stands before the command"


class Command(TyperCommand):
    """A command whose help shows its options under their headings."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        write_parameters(self, ctx, formatter)


class Group(TyperGroup):
    """A command with commands of its own, whose help looks the same."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        write_parameters(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def get_params(self, ctx: Any) -> list[Any]:
        # typer imports pydantic even to handle an option that is absent.
        return [] if ctx.meta.get(_ONLY_A_COMMAND) else super().get_params(ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            ctx.exit(2)
        ctx.meta[_ONLY_A_COMMAND] = bool(args) and not args[0].startswith("-")
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        shown = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        write_section(formatter, "Commands", ((name, summary(command.help)) for name, command in shown if command))


class Commands(typer.Typer):
    """Make a group, or add commands to one, so that the help of all looks the same."""

    def __init__(self, text: str | None = None, *, kind: type[Group] = Group, **options: Any) -> None:
        # Pretty tracebacks print local variables, which may be private keys.
        super().__init__(
            help=text, cls=kind, no_args_is_help=True, add_completion=False, rich_markup_mode=None,
            pretty_exceptions_enable=False, **options,
        )  # fmt: skip

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        return super().command(name, **{"cls": Command, **options})


def write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    """Write arguments and options, each heading in the order in which it first comes; "Options" before any other."""
    sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for one in command.get_params(ctx):
        if record := one.get_help_record(ctx):
            heading = "Arguments" if one.param_type_name == "argument" else "Options"
            sections.setdefault(getattr(one, "rich_help_panel", None) or heading, []).append(record)
    for heading, rows in sections.items():
        write_section(formatter, heading, rows)


def write_section(formatter: Any, heading: str, rows: Iterable[tuple[str, str]]) -> None:
    """Write what stands under a heading in two columns."""
    if rows := [*rows]:
        with formatter.section(heading):
            formatter.write_dl(rows)


def summary(text: str | None) -> str:
    """Return the first paragraph of a help text on one line."""
    return " ".join((text or "").strip().partition("\n\n")[0].split())
