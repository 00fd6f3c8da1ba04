"""Cells of raw rows: texts that are text, labels that are labels, each error with the place of its row."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from edgeopt.support.errors import InputError, Issue, Place, bad_input
from edgeopt.support.words import closest, is_integer

Cells = Mapping[str, Any]
#: What a label may be.
SCALAR = (str, int, float)
#: texts of a row, its raw label, and where it stands
Raw = tuple[tuple[str, ...], Any, Place]
#: Rows of a task from a row of the data and its place.
Read = Callable[[Cells, Place], Sequence[Raw]]
_SURROGATE = re.compile("[\ud800-\udfff]")
#: A number as it is written out; one with zeros before it is a code such as 007, and a word.
_NUMBER = re.compile(r"([+-]?)(0|[1-9][0-9]*)(?:\.([0-9]*))?", re.ASCII)


class NoClass(InputError):
    """A label that is none of the classes."""


class NoColumn(InputError):
    """A row lacks a column that the recipe names. have: the columns that it has."""

    def __init__(self, column: str, have: Sequence[str], place: Place) -> None:
        guess, shown = closest(column, have), ", ".join(have[:40]) + (", …" if len(have) > 40 else "")
        self.column, self.have = column, tuple(have)
        super().__init__(
            Issue(
                "E303",
                f"there is no column '{column}'",
                place,
                (f"did you mean '{guess}'? " if guess else "") + f"columns: {shown or 'none'}",
            )
        )


def require(row: Cells, columns: Iterable[str], place: Place) -> None:
    """Raises NoColumn, which is InputError E303, where a column is absent."""
    for column in columns:
        if column not in row:
            raise NoColumn(column, [str(k) for k in row], place)


def text(value: object, column: str, place: Place) -> str:
    """The cell, where it is a text. Raises InputError E304."""
    if not isinstance(value, str) or not value or value.isspace():
        what = "empty" if value is None or isinstance(value, str) else f"not text: {short(value)}"
        raise bad_input(
            "E304",
            f"the text in column '{column}' is {what}",
            place=place,
            help="give every row a text, or remove the row",
        )
    if not value.isascii():
        whole(value, column, place)
    return value


def plain(values: Sequence[Any]) -> bool:
    """Whether `text` takes every cell of a column."""
    return (
        all(type(value) is str for value in values)
        and all(values)
        and not any(map(str.isspace, values))
        and encodable(values)
    )


def encodable(values: Sequence[str]) -> bool:
    """Whether no text holds half of a surrogate pair, as `whole` checks it of one."""
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        return False
    return True


def texts(value: object, column: str, place: Place, *, least: int = 1) -> tuple[str, ...]:
    """The cell, where it is a list of texts. Raises InputError E304."""
    values = list(value) if isinstance(value, (list, tuple)) else None
    if values is None or len(values) < least:
        what = (
            f"not a list: {short(value)}"
            if values is None
            else f"a list of {len(values)}, and must have {least} at least"
        )
        raise bad_input(
            "E304",
            f"column '{column}' is {what}",
            place=place,
            help="jsonl and parquet files hold lists; csv files do not",
        )
    return tuple(text(v, column, place) for v in values)


def whole(value: object, column: str, place: Place) -> None:
    """Raises InputError E304 for half of a surrogate pair, which no tokenizer takes."""
    if isinstance(value, str) and _SURROGATE.search(value):
        raise bad_input(
            "E304",
            f"column '{column}' holds half of a surrogate pair, which is no character",
            place=place,
            help="write the character itself, or both halves of its \\u escape",
        )


def classes_of(labels: Iterable[tuple[Any, Place]]) -> list[str]:
    """Class names as the train split has them: numbers in their order, words in the alphabet's."""
    names, known = set[str](), set[Any]()
    for label, place in labels:
        # lists are refused, and so not hashed; 1 and 1.0 are one label, and true is 1
        if not isinstance(label, SCALAR) or label not in known:
            names.add(word(label, place))
            known.add(label)
    if all(is_integer(n) for n in names):
        return sorted(names, key=lambda n: (int(n), n))
    return sorted(names)


def value(label: object) -> str:
    """A label as what it stands for, so that labels of several files compare.

    1, 1.0, "1.0" and true are one, and so are an empty text and none at all.
    """
    if label is None or label != label:  # not a number: how tables mark what is not there
        return ""
    if isinstance(label, bool | int) or (isinstance(label, float) and label.is_integer()):
        return str(int(label))
    text = label.strip() if isinstance(label, str) else str(label)
    found = _NUMBER.fullmatch(text)
    if found is None:
        return text
    sign, whole, fraction = found[1], found[2], (found[3] or "").rstrip("0")
    number = whole + ("." + fraction if fraction else "")
    return "-" + number if sign == "-" and number != "0" else number


def word(label: object, place: Place) -> str:
    """A class's name or number. Raises InputError E304."""
    if isinstance(label, list | tuple):
        help = "give each row one class; for several in one row use task.type multi-label-classification"
        raise bad_input("E304", f"the label is a list: {short(label)}", place=place, help=help)
    name = value(label) if label is None or isinstance(label, SCALAR) else ""
    fraction = isinstance(label, float) or ("." in name and _NUMBER.fullmatch(name))
    if name and (not fraction or is_integer(name)):
        return name
    what = short(label) if name or not (label is None or isinstance(label, str | float)) else "empty"
    help = "for scores use task.type text-regression; classes with such names are listed in task.labels"
    raise bad_input("E304", f"the label is {what}, and must be a class number or name", place=place, help=help)


class ClassNumbers:
    """The place of a label among the class names, each label looked up once.

    by_number: whether a number may stand for a class that has a name, which takes names in a stated order.
    """

    def __init__(self, names: Sequence[str], *, by_number: bool) -> None:
        self.names, self.by_number = names, by_number
        self._by_value = {value(name): i for i, name in reversed(list(enumerate(names)))}
        self._named = not all(is_integer(name) for name in self._by_value)
        self._known: dict[tuple[type, Any], int] = {}

    def __call__(self, label: object, place: Place) -> int:
        """The number of the class that a label stands for. Raises InputError E304 where it is none of them."""
        try:
            return self._known[type(label), label]
        except (KeyError, TypeError):  # TypeError: a list, which `word` refuses
            found = self._known[type(label), label] = (
                self._find(label, place) if isinstance(label, SCALAR) else self._find(word(label, place), place)
            )
            return found

    def _find(self, label: object, place: Place) -> int:
        name = value(label)
        if name in self._by_value:
            return self._by_value[name]
        stands = self._named and is_integer(name)
        if stands and self.by_number and 0 <= int(name) < len(self.names):
            return int(name)
        shown = ", ".join(self.names[:20]) + (", …" if len(self.names) > 20 else "")
        help = "the classes are those of the train split, or of task.labels"
        if stands and not self.by_number:
            help = "it is not known which class each number means: list the classes in that order in task.labels"
        raise NoClass(Issue("E304", f"the label {short(word(label, place))} is not one of {shown}", place, help))


def score(label: object, place: Place) -> float:
    """The label as a score, which is a finite number. Raises InputError E304."""
    try:
        value = float(cast(float, label))
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value) or isinstance(label, bool):
        raise bad_input(
            "E304",
            f"the label {short(label)} is not a finite number",
            place=place,
            help="for classes use task.type text-classification",
        )
    return value


def short(value: object) -> str:
    """A cell as a message shows it, in 40 characters at most."""
    shown = repr(value)
    return shown if len(shown) <= 40 else shown[:37] + "…"
