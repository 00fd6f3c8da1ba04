"""Columns of the data that rows are grouped by."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import Place, bad_input
from edgeopt.tasks import Task
from edgeopt.tasks.columns import Cells, Raw, require

#: A column of more values than this groups nothing.
MOST = 50
#: Characters of a value that tables show.
_LONGEST = 60


def by_column(task: Task, read_task: Callable[[Cells, Place], Sequence[Raw]]) -> Callable[[Cells, Place], list[Raw]]:
    """How the values of task.slices are read in the place of the texts, for each row that `read_task` makes.

    Raises InputError E303 where a column is absent.
    """
    columns = task.spec.slices or ()

    def read(row: Cells, place: Place) -> list[Raw]:
        require(row, columns, place)
        values = tuple(
            "none" if row[c] is None else _named(row[c] if isinstance(row[c], str) else repr(row[c])) for c in columns
        )
        return [(values, None, place)] * len(read_task(row, place))

    return read


def _named(value: str) -> str:
    """The value, or the beginning of a long one with what tells it from others that begin so."""
    return (
        value
        if len(value) <= _LONGEST
        else f"{value[: _LONGEST - 10]}… {hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    )


def slices_of(spec: TaskSpec, rows: Sequence[Raw], place: Place | None) -> dict[str, tuple[str, ...]]:
    """By column the value of each row. Raises InputError E304 where a column has too many for slices."""
    found = dict(zip(spec.slices or (), zip(*(values for values, _, _ in rows), strict=True), strict=True))
    for column, values in found.items():
        if len(set(values)) > MOST:
            raise bad_input(
                "E304",
                f"column '{column}' of task.slices has {len(set(values)):,} different values; at most {MOST} "
                f"are allowed",
                place=place,
                help="name a column with few values",
            )
    return found
