"""Which columns hold the texts and the label, and which task they make: guessed by names and values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from edgeopt.recipe.proposal.files import Table
from edgeopt.support.words import is_integer, is_number
from edgeopt.tasks import Task, task_types
from edgeopt.tasks.columns import SCALAR, require, value

Kind = Literal["text", "number", "list", "choices", "other"]
#: Names that columns of texts often have, the surest first.
_TEXTS = ("text", "sentence", "body", "review", "content", "comment", "message", "utterance", "tweet", "document")
_WORDS = ("tokens", "words")
_QUESTIONS = ("question", "query", "context", "premise", "sentence")
_PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("query", "passage"),
    ("text1", "text2"),
    ("text_a", "text_b"),
)
#: Names that columns of labels often have, the surest first.
LABELS = (
    *("label", "labels", "class", "category", "target", "gold_label", "sentiment", "intent", "stars", "rating"),
    *("score", "similarity", "ner_tags", "tags", "pos_tags", "answer", "answerkey", "y"),
)
_CHOICES = ("choice", "ending", "option", "alternative", "answer")
#: Whole numbers that are scores where a column has more different ones.
_FEW = 20
#: Rows of one value, on average, below which words are no classes.
_EACH = 2
#: A share of the rows up to which -1 stands for no label, as in SNLI; more have it where it is a class.
_RARE = 0.05


#: What a row has besides its texts, and what is true of the task that it is for.
_BRINGS: dict[str, Callable[[type[Task]], bool]] = {
    "classes": lambda kind: kind.one_class and kind.one_query,
    "sets": lambda kind: kind.several_classes,
    "scores": lambda kind: kind.scores and not kind.grouped,
    "tags": lambda kind: kind.reads_words,
    "choices": lambda kind: kind.has_choices,
    "vectors": lambda kind: kind.embeds,
    "relevance": lambda kind: kind.grouped,
}


def task_for(what: str) -> str:
    """The task whose rows have classes, sets of classes, scores, tags, choices or a relevance, or texts to embed."""
    return next(name for name, kind in task_types().items() if _BRINGS[what](kind))


def proposed_tasks() -> list[str]:
    """The tasks that recipes are proposed for."""
    return [task_for(what) for what in _BRINGS]


def kind_of(values: Sequence[object]) -> Kind:
    """What the cells of a column are, leaving out those that are empty."""
    there = [v for v in values if v is not None and v != ""]
    if there and all(isinstance(v, Mapping) and isinstance(v.get("text"), list | tuple) for v in there):
        return "choices"
    if there and all(isinstance(v, list | tuple) and all(isinstance(x, SCALAR) for x in v) for v in there):
        return "list"
    if there and all(isinstance(v, SCALAR) and _is_number(v) for v in there):
        return "number"
    return "text" if all(isinstance(v, str) for v in there) else "other"


def values(table: Table, column: str) -> list[object]:
    """The cells of a column."""
    return [row.get(column) for row in table.rows]


def distinct(found: Iterable[object]) -> set[str]:
    """The different values, as they are compared, without the empty one."""
    return {value(v) for v in found if isinstance(v, SCALAR)} - {""}


def check(table: Table, columns: Iterable[str]) -> None:
    """Raises InputError E303 where a column is not there."""
    require(dict.fromkeys(table.columns), columns, table.place)


def guess_text(table: Table, label: str | None) -> tuple[str, ...]:
    """The column of the texts, or two; nothing where no column looks like it."""
    kinds = {name: kind_of(values(table, name)) for name in table.columns if name != label}
    texts = [name for name, kind in kinds.items() if kind == "text"]
    by_name = {name.casefold(): name for name in texts}
    lists = [name for name, kind in kinds.items() if kind == "list" and _words(values(table, name))]
    if words := first(_WORDS, lists):
        return (words,)
    if choices := guess_choices(table, (), label):
        left = [name for name in texts if name not in choices]
        return tuple(filter(None, [first(_QUESTIONS, left) or _longest(table, left)]))
    for one, two in _PAIRS:
        if one in by_name and two in by_name:
            return by_name[one], by_name[two]
    return tuple(filter(None, [first(_TEXTS, texts) or _longest(table, texts) or next(iter(lists), None)]))


def guess_label(table: Table, texts: Sequence[str], choices: Sequence[str]) -> str | None:
    """The column of the label; None where no column looks like it."""
    left = [name for name in table.columns if name not in {*texts, *choices}]
    usable = [name for name in left if kind_of(values(table, name)) not in ("other", "choices")]
    if named := first(LABELS, usable) or next((n for n in usable if n.casefold().endswith("label")), None):
        return named
    counts = {name: len(distinct(values(table, name))) for name in usable}
    few = [name for name, count in counts.items() if 1 < count <= len(table.rows) / _EACH]
    return min(few, key=lambda name: counts[name], default=None)


def guess_choices(table: Table, texts: Sequence[str], label: str | None) -> tuple[str, ...]:
    """The column that holds the choices of a question, or the columns that hold one each; nothing where there are none.

    Where the texts or the labels are lists, rows are words with their tags, and have no choices.
    """
    if any(kind_of(values(table, name)) == "list" for name in (*texts, *filter(None, [label]))):
        return ()
    left = [name for name in table.columns if name not in {*texts, label}]
    kinds = {name: kind_of(values(table, name)) for name in left}
    if several := [name for name in left if kinds[name] == "choices"]:
        return (several[0],)
    lists = [name for name in left if kinds[name] == "list" and _words(values(table, name))]
    lists = [name for name in lists if name.casefold() not in LABELS and len(table.columns) > 2]  # else the label
    if len(lists) == 1 and lists[0].casefold() not in _WORDS and any(k == "text" for k in kinds.values()) | bool(texts):
        return (lists[0],)
    for stem in _CHOICES:
        found = [n for n in left if n.casefold().startswith(stem) and len(n) - len(stem) in (1, 2)]
        if len(found) > 1 and all(kinds[name] == "text" for name in found):
            return tuple(sorted(found))
    return ()


def task_by_label(table: Table, texts: Sequence[str], label: str, choices: Sequence[str]) -> tuple[str, str]:
    """The task that the columns make, and what told it."""
    if choices:
        return task_for("choices"), f"the choices are in {', '.join(choices)}"
    found = values(table, label)
    kind = kind_of(found)
    if kind == "list":
        words = any(kind_of(values(table, name)) == "list" for name in texts)
        return task_for("tags" if words else "sets"), f"'{label}' holds lists"
    names = distinct(found)
    many = f"'{label}' has {len(names):,} different values{'' if table.whole else f' in {len(found):,} rows'}"
    if kind == "number" and not (len(names) <= _FEW and all(map(is_integer, names))) and not _numbered(names):
        return task_for("scores"), f"{many}, numbers"
    return task_for("classes"), many


def empty_label(table: Table, label: str) -> int | str | None:
    """What marks rows without a label: an empty cell, or -1 where few rows have it; None where nothing does."""
    found = values(table, label)
    if any(v is None or v == "" for v in found):
        return ""
    return -1 if 0 < _minus_ones(found) <= _RARE * len(found) else None


def stated_classes(table: Table, label: str) -> list[str] | None:
    """The classes, where -1 is one of them, which would be taken for no label; None where it is not."""
    found = values(table, label)
    many = _minus_ones(found) > _RARE * len(found)
    return sorted(distinct(found), key=float) if many and kind_of(found) == "number" else None


def _minus_ones(found: Iterable[object]) -> int:
    return sum(isinstance(v, SCALAR) and value(v) == "-1" for v in found)


def _numbered(names: set[str]) -> bool:
    """Whether values are the numbers from 0 to one less than their number, as classes are numbered."""
    return names == {str(number) for number in range(len(names))}


def _is_number(cell: object) -> bool:
    return isinstance(cell, bool) or (is_number(str(cell)) and not math.isnan(float(str(cell))))


def _words(cells: Iterable[object]) -> bool:
    return all(isinstance(x, str) for cell in cells if isinstance(cell, list | tuple) for x in cell)


def first(names: Iterable[str], columns: Sequence[str]) -> str | None:
    """The first of the names that a column has, as the column spells it."""
    by_name = {column.casefold(): column for column in reversed(columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def _longest(table: Table, columns: Sequence[str]) -> str | None:
    """The column whose cells are the longest on average."""
    mean: Callable[[str], float] = lambda name: sum(len(str(v or "")) for v in values(table, name))  # noqa: E731
    return max(columns, key=mean, default=None)
