"""What the functions that a program calls take: an argument of another kind is one error, which names it."""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import ParamSpec, TypeVar

from edgeopt.support.errors import bad_input, contained

P = ParamSpec("P")
T = TypeVar("T")
Is = Callable[[object], bool]


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """A function that a program calls: its arguments are looked at first, and nothing below it ends the process.

    Raises InputError E100 for an argument that is not of its kind. None is taken where it is the default.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def called(*args: P.args, **more: P.kwargs) -> T:
        with contained():
            try:
                given = signature.bind(*args, **more).arguments
            except TypeError:
                given = {}  # Python says it better
            for name, value in given.items():
                parameter = signature.parameters[name]
                for each in value if parameter.kind is parameter.VAR_POSITIONAL else (value,):
                    if not (each is None and parameter.default is None):
                        _check(name, each)
            return function(*args, **more)

    return called


def _check(name: str, value: object) -> None:
    what, fits = _KINDS.get(name, ("", lambda _: True))
    if not fits(value):
        raise bad_input("E100", f"the argument {name} must be {what}, and this is {value!r:.60}")


def _one_of(*kinds: type) -> Is:
    return lambda value: isinstance(value, kinds)


def _is_recipe(value: object) -> bool:
    from edgeopt.recipe.expand import Grid
    from edgeopt.recipe.load import Recipe

    return isinstance(value, str | os.PathLike | Mapping | Recipe | Grid)


def _is_run(value: object) -> bool:
    return isinstance(value, str | os.PathLike) or hasattr(value, "model_dir")  # its class imports this module


def _is_values(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value)
    return isinstance(value, Sequence) and all(isinstance(text, str) for text in value)


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) > 0


def _is_time(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 < float(value) < math.inf


_PATH, _RUN = ("a path", _one_of(str, os.PathLike)), ("a run or the path of one", _is_run)
_BOOL = ("True or False", _one_of(bool))
#: What an argument must be, by its name, which says the same wherever it is.
_KINDS: Mapping[str, tuple[str, Is]] = {
    "recipe": ("a path, a mapping or what `load` gave", _is_recipe),
    "set": ("a mapping from key paths to values, or texts `key.path=value`", _is_values),
    "cell": ("the name of a cell", _one_of(str)),
    **dict.fromkeys(("folder", "out", "store"), _PATH),
    **dict.fromkeys(("runs", "first", "second"), _RUN),
    **dict.fromkeys(("path", "against"), ("a run, a model or the path of one", _is_run)),
    **dict.fromkeys(("baseline", "remeasure", "emissions", "cost"), _BOOL),
    "locked": ("True, False or a path", _one_of(bool, str, os.PathLike)),
    "track": ("the name of a tracker", _one_of(str)),
    "max_seconds": ("a number of seconds", _is_time),
    "batch_size": ("a whole number from 1", _is_count),
    "progress": ("True, False or a function", lambda value: isinstance(value, bool) or callable(value)),
}
