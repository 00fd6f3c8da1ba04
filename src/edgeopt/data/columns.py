"""From raw rows to a checked split: the right columns, texts that are text, labels that are labels."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from edgeopt.data.files import Row
from edgeopt.data.task_data import Split
from edgeopt.errors import Place, bad_input
from edgeopt.recipe.problems import closest
from edgeopt.recipe.schema import TaskSpec

#: text columns of a row, its raw label, and where it stands
Raw = tuple[tuple[str, ...], Any, Place]


def pick(rows: Iterable[Row], task: TaskSpec, source: str | Path) -> list[Raw]:
    """The task's columns of every row. Raises InputError E303 (column absent), E304 (bad cell)."""
    out: list[Raw] = []
    wanted = (*task.columns, task.label)
    for number, row in rows:
        place = Place.of(source, number) if isinstance(source, Path) else Place(source, number)
        for column in wanted:
            if column not in row:
                guess = closest(column, [str(k) for k in row])
                have = ", ".join(str(k) for k in row) or "none"
                raise bad_input(
                    "E303",
                    f"there is no column '{column}'",
                    place=place,
                    help=f"did you mean '{guess}'?" if guess else f"columns: {have}; set task.text and task.label",
                )
        texts = tuple(row[c] for c in task.columns)
        for column, text in zip(task.columns, texts, strict=True):
            if not isinstance(text, str) or not text.strip():
                what = "empty" if text is None or isinstance(text, str) else f"not text: {_short(text)}"
                raise bad_input("E304", f"the text in column '{column}' is {what}", place=place, help="give every row a text, or take the row out")
        for column in wanted:
            if isinstance(row[column], str) and any("\ud800" <= c <= "\udfff" for c in row[column]):
                raise bad_input(
                    "E304",
                    f"column '{column}' holds half of a surrogate pair, which is no character",
                    place=place,
                    help="write the character itself, or both halves of its \\u escape",
                )
        out.append((texts, row[task.label], place))
    return out


def split_of(name: str, raw: Sequence[Raw], task: TaskSpec, classes: Sequence[str] | None) -> Split:
    """The checked split; classes: names by class number, or None for a regression."""
    if classes is None:
        labels: list[float] = [_score(label, place) for _, label, place in raw]
    else:
        number = {name: i for i, name in enumerate(classes)}
        labels = [_class(label, number, classes, place) for _, label, place in raw]
    return Split(name, tuple(texts for texts, _, _ in raw), tuple(labels))


def classes_of(raw: Sequence[Raw]) -> list[str]:
    """Class names as the train split has them: numbers in their order, words in the alphabet's."""
    names = {_word(label, place) for _, label, place in raw}
    if all(_is_integer(n) for n in names):
        return sorted(names, key=lambda n: (int(n), n))
    return sorted(names)


def _word(label: Any, place: Place) -> str:
    if isinstance(label, bool):
        return str(int(label))
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    if isinstance(label, int):
        return str(label)
    if isinstance(label, str) and label.strip():
        return label.strip()
    what = "empty" if label is None or isinstance(label, str) else _short(label)
    raise bad_input("E304", f"the label is {what}, and must be a class number or name", place=place, help="for scores use task.type text-regression")


def _class(label: Any, number: dict[str, int], classes: Sequence[str], place: Place) -> int:
    word = _word(label, place)
    if word in number:
        return number[word]
    if _is_integer(word) and 0 <= int(word) < len(classes) and not all(_is_integer(c) for c in classes):
        return int(word)
    if word == "-1":
        raise bad_input(
            "E304", "the label is -1: the hub hides the labels of this split", place=place, help="report on a split with labels: task.report: validation"
        )
    raise bad_input(
        "E304",
        f"the label {_short(word)} is not one of {', '.join(classes[:20])}",
        place=place,
        help="the classes are those of the train split, or of task.labels",
    )


def _score(label: Any, place: Place) -> float:
    try:
        score = float(label)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score) or isinstance(label, bool):
        raise bad_input("E304", f"the label {_short(label)} is not a finite number", place=place, help="for classes use task.type text-classification")
    return score


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"


def _is_integer(word: str) -> bool:
    return re.fullmatch(r"-?[0-9]{1,18}", word) is not None
