"""Whether the rows that a finished model is gated on stand in those that it was trained on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from edgeopt.data import Split, TaskData
from edgeopt.gates.artifact import Artifact
from edgeopt.gates.request import Request, request_by
from edgeopt.gates.rows_of_run import recipe_folders
from edgeopt.results.model import Task
from edgeopt.results.sealed import Run
from edgeopt.support.errors import InputError, bad_input

_NOT_LOOKED = "was not looked at"


@dataclass(frozen=True)
class Seen:
    """What a report has of its rows.

    leaked: how many stand in train; 0 also where that was not looked at, which is then among the remarks.
    """

    leaked: int
    remarks: list[str]


def seen(asked: Request, candidate: Artifact, rows: Split) -> Seen:
    """How many rows stand in train: told by the report of a run's own model where the rows are the run's, else counted.

    Train is then read: the run's own, or the recipe's.
    """
    if candidate.run is not None and candidate.run.report.task.fingerprint == rows.fingerprint:
        return seen_by(candidate.run.report.task)
    try:
        data = asked.data if candidate.run is None else _of_run(candidate.run, asked)
    except InputError as error:
        return Seen(0, [_untold(rows.name, error.issues[0].message)])
    here = replace(data, report=rows)
    return Seen(here.leaked, here.remarks())


def seen_by(task: Task) -> Seen:
    """What a run saw of its own rows."""
    said = any(_NOT_LOOKED in remark for remark in task.remarks)  # of a recipe without train
    untold = [_untold(task.split, "the report does not say")] if task.leaked is None and not said else []
    return Seen(task.leaked or 0, [*untold, *task.remarks])


def _of_run(run: Run, asked: Request) -> TaskData:
    """Rows whose train is that of the run: what is asked names them, or the run's own recipe does.

    Raises InputError E151 where neither does.
    """
    own, known = request_by(None, (), run), (run.lock["data"] or {}).get("train")
    for each in (asked, *(replace(own, folder=folder) for folder in recipe_folders(run))):
        with suppress(InputError):
            data = each.data.with_classes(run.report.task.labels)
            if data.train.fingerprint == known:
                return data
    raise bad_input("E151", f"the rows that {run.folder} was trained on are not here")


def _untold(name: str, why: str) -> str:
    return f"Whether {name} rows stand in train {_NOT_LOOKED}: {why}."
