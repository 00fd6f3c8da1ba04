"""What is written of a row: its own columns and the model's answer, as a line of JSON or of a table."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgeopt.run.predict import Prediction
from edgeopt.tasks import Task

#: The new columns. logits: as predictions.jsonl of a run has them.
PREDICTION, PROBABILITY, LOGITS = "prediction", "probability", "logits"
FORMATS = ("jsonl", "csv")
#: Lines of rows, each with what the model says of it.
Written = Callable[[Mapping[str, Any], Prediction], str]


def added(task: Task, prefix: str, *, logits: bool) -> list[str]:
    """The names of the columns that are added to the rows of a task."""
    if task.vector is not None:
        return [prefix + task.vector]
    names = [PREDICTION]
    names += [PROBABILITY] if task.one_class or (task.softmax and task.one_output) else []
    names += [LOGITS] if logits and not task.writes else []
    return [prefix + name for name in names]


def answer(prediction: Prediction, names: Sequence[str], prefix: str) -> dict[str, Any]:
    """The new columns of a row."""
    told = {
        PREDICTION: prediction.label,
        PROBABILITY: prediction.probability,
    }
    # logits, by whatever name the task has for them
    return {name: told.get(name.removeprefix(prefix), prediction.logits.tolist()) for name in names}


def head(columns: Sequence[str], format: str) -> str:
    """What stands before the first row."""
    return _cells(columns) if format == "csv" else ""


def line(row: Mapping[str, Any], columns: Sequence[str], format: str) -> str:
    """A row with its end of line. columns: all, of a table whose rows need not each have every one."""
    row = {name: _finite(value) for name, value in row.items()}
    if format == "csv":
        return _cells([_cell(row.get(name)) for name in columns])
    return _utf8(json.dumps(row, ensure_ascii=False, default=str)) + "\n"


def _cells(cells: Sequence[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)  # it quotes what has one of the terminator's characters
    return _utf8(out.getvalue().removesuffix("\r\n") + "\n")


def _cell(value: object) -> object:
    """What a table has of a value; lists and mappings are JSON there."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | tuple | dict) else value


def _utf8(text: str) -> str:
    """The text with half a surrogate pair written out, which is no UTF-8; in JSON it reads back as what it was."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _finite(value: Any) -> Any:
    """The value with null for what is no number, as JSON has none."""
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
