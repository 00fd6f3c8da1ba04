"""Cells of raw rows: texts that are text, labels that are labels, each error with the place of its row."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgeopt.errors import Place, bad_input
from edgeopt.recipe.problems import closest

Cells = Mapping[str, Any]
#: texts of a row, its raw label, and where it stands
Raw = tuple[tuple[str, ...], Any, Place]


def require(row: Cells, columns: Iterable[str], place: Place) -> None:
    """Raises InputError E303 where a column is absent."""
    for column in columns:
        if column not in row:
            guess = closest(column, [str(k) for k in row])
            have = ", ".join(str(k) for k in row) or "none"
            raise bad_input(
                "E303",
                f"there is no column '{column}'",
                place=place,
                help=f"did you mean '{guess}'?" if guess else f"columns: {have}; set task.text and task.label",
            )


def text(value: Any, column: str, place: Place) -> str:
    """The cell, where it is a text. Raises InputError E304."""
    if not isinstance(value, str) or not value.strip():
        what = "empty" if value is None or isinstance(value, str) else f"not text: {short(value)}"
        raise bad_input("E304", f"the text in column '{column}' is {what}", place=place, help="give every row a text, or take the row out")
    whole(value, column, place)
    return value


def texts(value: Any, column: str, place: Place, *, least: int = 1) -> tuple[str, ...]:
    """The cell, where it is a list of texts. Raises InputError E304."""
    values = list(value) if isinstance(value, (list, tuple)) else None
    if values is None or len(values) < least:
        what = f"not a list: {short(value)}" if values is None else f"a list of {len(values)}, and must have {least} at least"
        raise bad_input("E304", f"column '{column}' is {what}", place=place, help="jsonl and parquet files hold lists; csv files do not")
    return tuple(text(v, column, place) for v in values)


def whole(value: Any, column: str, place: Place) -> None:
    """Raises InputError E304 for half of a surrogate pair, which no tokenizer takes."""
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        raise bad_input(
            "E304",
            f"column '{column}' holds half of a surrogate pair, which is no character",
            place=place,
            help="write the character itself, or both halves of its \\u escape",
        )


def classes_of(labels: Iterable[tuple[Any, Place]]) -> list[str]:
    """Class names as the train split has them: numbers in their order, words in the alphabet's."""
    names = {word(label, place) for label, place in labels}
    if all(is_integer(n) for n in names):
        return sorted(names, key=lambda n: (int(n), n))
    return sorted(names)


def word(label: Any, place: Place) -> str:
    """A class's name or number. Raises InputError E304."""
    if isinstance(label, bool):
        return str(int(label))
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    if isinstance(label, int):
        return str(label)
    if isinstance(label, str) and label.strip():
        return label.strip()
    what = "empty" if label is None or isinstance(label, str) else short(label)
    raise bad_input("E304", f"the label is {what}, and must be a class number or name", place=place, help="for scores use task.type text-regression")


def class_number(label: Any, names: Sequence[str], place: Place) -> int:
    """Place of the label among the class names. Raises InputError E304."""
    name = word(label, place)
    if name in names:
        return names.index(name)
    if is_integer(name) and 0 <= int(name) < len(names) and not all(is_integer(c) for c in names):
        return int(name)
    if name == "-1":
        raise bad_input(
            "E304", "the label is -1: the hub hides the labels of this split", place=place, help="report on a split with labels: task.report: validation"
        )
    raise bad_input(
        "E304",
        f"the label {short(name)} is not one of {', '.join(names[:20])}",
        place=place,
        help="the classes are those of the train split, or of task.labels",
    )


def score(label: Any, place: Place) -> float:
    """A finite number. Raises InputError E304."""
    try:
        value = float(label)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value) or isinstance(label, bool):
        raise bad_input("E304", f"the label {short(label)} is not a finite number", place=place, help="for classes use task.type text-classification")
    return value


def short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "…"


def is_integer(name: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,18}", name) is not None
