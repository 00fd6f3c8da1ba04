"""What models are timed on: queries that one tokenizer makes of the rows, where those of the others make the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeopt.data import Split
from edgeopt.support.errors import bad_input
from edgeopt.tasks import Task
from edgeopt.tasks.encode import Encoder, Features, first_other


def queries_of(task: Task, rows: Split, folder: Path) -> Features:
    """What the tokenizer in a folder makes of the rows."""
    return task.encode(Encoder(folder, task.spec.max_length), rows.texts)


def same_queries(task: Task, rows: Split, baseline: Path, others: Mapping[str, Path], help: str) -> Features:
    """What the baseline's tokenizer makes of the rows. others: folders of the models that are timed beside it, by name.

    Raises InputError E208 where the tokenizer of one makes other tokens: with those it is slower or quicker than on the
    baseline's.
    """
    for name, folder in others.items():
        row = other_row(task, rows, baseline, folder)
        if row is not None:
            what = f"the {name}'s tokenizer makes other tokens of the rows than the baseline's, first of row {row + 1}"
            raise bad_input("E208", f"{what} of {rows.name}, and both are timed on the same", help=help)
    return queries_of(task, rows, baseline)


def other_row(task: Task, rows: Split, baseline: Path, other: Path) -> int | None:
    """The first row of which the other's tokenizer makes other tokens than the baseline's."""
    if baseline.joinpath("tokenizer.json").read_bytes() == other.joinpath("tokenizer.json").read_bytes():
        return None
    return first_other(queries_of(task, rows, baseline), queries_of(task, rows, other))
