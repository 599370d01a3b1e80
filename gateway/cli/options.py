"""Options that many commands share. They are added to a command's signature, which typer reads."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


def with_options_of(
    run: Callable[..., None], command: Callable[..., object], *more: Callable[..., object], given: int = 1
) -> Callable[..., None]:
    """Let typer see in ``run`` the parameters of ``command``, then those of its own and of ``more``.

    The first ones, as many as are ``given`` to the command by ``run``, are left out. What the command has of the same
    name goes before these, and so does every word of an option that both have.
    """
    own = [*inspect.signature(command, eval_str=True).parameters.values()][given:]
    names, words = {one.name for one in own}, {word for one in own for word in _words(one)}
    shared = [
        left
        for function in (run, *more)
        for one in inspect.signature(function, eval_str=True).parameters.values()
        if one.name not in names | {"arguments"} and (left := _without(one, words))
    ]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *shared)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    return run


def _words(parameter: inspect.Parameter) -> Iterable[str]:
    """Return the names that a parameter has on the command line, if it declares any."""
    return (word for mark in getattr(parameter.annotation, "__metadata__", ()) for word in _words_of(mark))


def _words_of(mark: Any) -> Iterable[str]:
    # In Annotated, typer takes the first name for a default until it makes the command.
    words = (getattr(mark, "default", None), *(getattr(mark, "param_decls", ()) or ()))
    return (word for word in words if isinstance(word, str))


def _without(parameter: inspect.Parameter, taken_words: Collection[str]) -> inspect.Parameter | None:
    """Return an option under those of its words that nobody else has; None when no word is left."""
    words = [*_words(parameter)]
    left = [word for word in words if word not in taken_words]
    if left == words:
        return parameter
    if not left:
        return None
    (mark,) = parameter.annotation.__metadata__
    fewer = copy.copy(mark)
    fewer.default, fewer.param_decls = left[0], tuple(left[1:])
    return parameter.replace(annotation=Annotated[parameter.annotation.__origin__, fewer])
