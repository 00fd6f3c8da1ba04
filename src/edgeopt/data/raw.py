"""The rows of one source as a task reads them, and where a mistake among them stands."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice, repeat

from edgeopt.data.files import Row
from edgeopt.data.missing_labels import Labeled
from edgeopt.data.tables import delimiter_guess
from edgeopt.support.errors import InputError, Place
from edgeopt.tasks.columns import NoColumn, Raw, Read

#: Where the recipe names a column.
ColumnPlace = Callable[[str], Place | None]
#: Rows that are checked at once, which is quicker than one by one.
_AT_ONCE = 1000


@contextmanager
def uncollected() -> Iterator[None]:
    """Within, no search for garbage.

    Rows are so many new objects, with no cycles among them, that it would take half the time.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def raw_rows(source: str, rows: Iterable[Row], read: Read, column_place: ColumnPlace) -> list[Raw]:
    """What `read` makes of the rows of one source.

    A column that already the first row lacks is a mistake of the recipe, and one that a later row lacks is a mistake of
    that row. Raises what `rows` and `read` raise, for the first row that is wrong.
    """
    out: list[Raw] = []
    try:
        with uncollected():
            for batch in _batches(rows):
                numbers, cells = zip(*batch, strict=True)
                places = list(map(Place, repeat(source), numbers))
                known = read.at_once(cells, places) if isinstance(read, Labeled) else None
                if known is None:  # one by one, to the row that is wrong if there is one
                    for row, at in zip(cells, places, strict=True):
                        out += read(row, at)
                else:
                    out += known
    except NoColumn as error:
        (issue,) = error.issues
        place = None if out else column_place(error.column)
        help = "; ".join(filter(None, [issue.help, delimiter_guess(error.have)]))
        message = f"{issue.message} in {issue.place}" if place else issue.message
        raise InputError(replace(issue, message=message, place=place or issue.place, help=help)) from None
    return out


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows, some at a time; those before one that cannot be read are given before its error is raised."""
    iterator, error = iter(rows), None
    while error is None:
        batch: list[Row] = []
        try:
            batch.extend(islice(iterator, _AT_ONCE))
        except InputError as raised:
            error = raised
        if not batch:
            break
        yield batch
    if error is not None:
        raise error
