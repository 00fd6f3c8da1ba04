"""What a checkpoint calls the outputs of its head."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from edgeopt.support.words import is_integer

_DEFAULT = re.compile(r"LABEL_(-?[0-9]+)")


def named_outputs(config: Mapping[str, Any]) -> list[str]:
    """The names that a config gives the outputs, in their order; nothing where it gives none."""
    names = config.get("id2label")
    if not isinstance(names, Mapping) or sorted(map(str, names)) != sorted(map(str, range(len(names)))):
        return []
    return [str(names[key]) for key in sorted(names, key=int)]


def as_in_rows(names: Sequence[str]) -> tuple[str, ...]:
    """Names of a config as rows have them: transformers' usual ones, LABEL_0 and so on, are numbers."""
    numbers = [m[1] if (m := _DEFAULT.fullmatch(name)) else name for name in names]
    return tuple(numbers if all(is_integer(n) for n in numbers) else names)
