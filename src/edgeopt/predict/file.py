"""A file of rows and a model: every row is answered and written, some at a time, in the file's order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import tee
from typing import Any, NamedTuple

from edgeopt.measure.memory import bounded
from edgeopt.predict.opened import Opened
from edgeopt.predict.records import added, answer, head, line
from edgeopt.predict.rows import Rows, looked_over
from edgeopt.support.errors import bad_input
from edgeopt.support.progress import Progress
from edgeopt.support.visible import harmless
from edgeopt.tasks.columns import short


class Asking(NamedTuple):
    """How rows are to be answered.

    batch_size: None: as many as change no answer. format: jsonl or csv. prefix: what the names of the new columns
    begin with. shown: whether the lines go to stdout, where no character may command a terminal.
    """

    batch_size: int | None
    format: str
    prefix: str = ""
    logits: bool = True
    shown: bool = False

    def line(self, row: Mapping[str, Any], columns: Sequence[str]) -> str:
        """A row as it is written.

        Raises InputError E100 where it cannot stand on stdout as it is: JSON has escapes, a table has none.
        """
        text = line(row, columns, self.format)
        if self.shown and self.format == "csv" and not harmless(text):
            raise bad_input(
                "E100",
                f"a row has characters that could command a terminal or a CI server: {short(text.rstrip())}",
                help="csv has no escapes for them: give --out FILE, or --to jsonl",
            )
        return text


class Done(NamedTuple):
    """What was answered. seconds: from the first row to the last, the opening of the model not counted."""

    rows: int
    seconds: float

    @property
    def shown(self) -> str:
        rate = f": {self.rows / self.seconds:.0f} rows/s" if self.rows else ""
        return f"{self.rows} row{'s' * (self.rows != 1)} in {self.seconds:.1f} s{rate}"


def count_rows(model: Opened, rows: Rows, asking: Asking, progress: Progress) -> tuple[int, list[str]]:
    """How many rows there are and which columns will be written; raises InputError for whatever is wrong with one."""
    new = added(model.task, asking.prefix, logits=asking.logits)
    with progress.during("the rows are read", after=1.0):
        count, columns = looked_over(rows, new, lambda row: asking.line(row, [*row]) if asking.shown else None)
    return count, [*columns, *new]


def predict_file(
    model: Opened,
    rows: Rows,
    found: tuple[int, list[str]],
    asking: Asking,
    put: Callable[[str], object],
    progress: Progress,
) -> Done:
    """Answer every row. found: of `count_rows`. put: is given the lines of the output, one after another.

    Raises InputError E306 where the file has other rows by now.
    """
    count, columns = found
    new, done, began = added(model.task, asking.prefix, logits=asking.logits), 0, time.monotonic()
    written = 0
    limit = nullcontext() if model.size is None else bounded(model.size, model.task.spec.max_length)
    put(head(columns, asking.format))
    with limit, progress.bar("rows", count) as bar:

        def told(more: int) -> None:
            nonlocal done
            done += more
            bar.update(min(done, count), f"{done / (time.monotonic() - began):.0f} rows/s")

        one, other = tee(rows)
        answers = model.predictor.answers((texts for _, texts in other), asking.batch_size, told)
        for (row, _), given in zip(one, answers, strict=True):
            written += 1
            put(asking.line({**row, **answer(given, new, asking.prefix)}, columns))
    if written != count:
        raise bad_input("E306", f"{rows.source} changed while it was read", help="predict again when it is whole")
    return Done(count, time.monotonic() - began)
