"""The rows of one source as a task reads them, and where a mistake among them stands."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from edgeopt.data.files import Row, delimiter_guess
from edgeopt.support.errors import InputError, Place
from edgeopt.tasks.columns import NoColumn, Raw, Read

#: Where the recipe names a column.
ColumnPlace = Callable[[str], Place | None]


@contextmanager
def uncollected() -> Iterator[None]:
    """Within, no search for garbage: rows are so many new objects, with no cycles among them, that it would take half
    the time.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def raw_rows(source: str, rows: Iterable[Row], read: Read, column_place: ColumnPlace) -> list[Raw]:
    """What `read` makes of the rows of one source, whose place is made but once.

    A column that already the first row lacks is a mistake of the recipe, and one that a later row lacks is a mistake of
    that row.
    """
    out: list[Raw] = []
    try:
        with uncollected():
            for number, row in rows:
                out += read(row, Place(source, number))
    except NoColumn as error:
        (issue,) = error.issues
        place = None if out else column_place(error.column)
        help = "; ".join(filter(None, [issue.help, delimiter_guess(error.have)]))
        message = f"{issue.message} in {issue.place}" if place else issue.message
        raise InputError(replace(issue, message=message, place=place or issue.place, help=help)) from None
    return out
