"""What a class of a plugin states in its class variables, held against what edgeopt's base says that it must."""

from __future__ import annotations

import functools
import inspect
import re
from dataclasses import is_dataclass
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

_MISSING = object()


def is_ours(kind: type[Any]) -> bool:
    """Whether a class is edgeopt's own."""
    return kind.__module__.partition(".")[0] in ("edgeopt", "edgeopt_exporters")


def check_declared(made: object) -> None:
    """Raise TypeError where a plugin lacks what its base asks for, or has something else there; it names the attribute.

    made: a class, or an instance of one.
    """
    kind: Any = made if isinstance(made, type) else type(made)
    base = next((each for each in kind.__mro__ if is_ours(each)), None)
    if base is None:
        raise TypeError(f"{kind.__name__} derives from no class of edgeopt.plugins")
    if inspect.isabstract(kind):
        raise TypeError(f"{kind.__name__} lacks {', '.join(sorted(kind.__abstractmethods__))}")
    for name, hint in _asked(base).items():
        value = getattr(made, name, _MISSING)
        if value is _MISSING:
            raise TypeError(f"{kind.__name__} lacks {name}")
        if not _is_of(value, hint):
            raise TypeError(f"{name} of {kind.__name__} is {value!r}, and must be {_shown(hint)}")


@functools.cache
def _asked(base: type[Any]) -> dict[str, Any]:
    """The type of every class variable that a class of edgeopt's and its bases annotate, and of a record's fields."""
    hints, record = get_type_hints(base, include_extras=True), is_dataclass(base)
    return {
        name: get_args(hint)[0] if get_origin(hint) is ClassVar else hint
        for name, hint in hints.items()
        if record or get_origin(hint) is ClassVar
    }


def _is_of(value: object, hint: Any) -> bool:
    if isinstance(hint, type):
        return isinstance(value, hint)
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else re.sub(r"\b(?:[a-z_]+\.)+", "", str(hint))
