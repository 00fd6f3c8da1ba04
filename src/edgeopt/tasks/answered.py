"""A check that a graph answers a query as the task's models do: floats of one shape, an answer a query."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.support.errors import bad_input
from edgeopt.tasks.base import Task

Query = Callable[[Mapping[str, Any]], Any]

_HELP = "give a graph that was exported for this task, as edgeopt and optimum export them"


def checked(run: Query, graph: Path, task: Task) -> Query:
    """The query `run`, whose every answer is looked at.

    Raises InputError E131 where one is not what the task's models give, E316 where only the number of classes is
    another.
    """

    def query(feed: Mapping[str, Any]) -> Any:
        answer = run(feed)
        _check(answer, task.logits_shape(feed), graph, task)
        return answer

    return query


def _check(answer: object, wanted: tuple[int | None, ...], graph: Path, task: Task) -> None:
    shape = answer.shape if isinstance(answer, np.ndarray) and answer.dtype.kind == "f" else ()
    if shape and _fits(shape, wanted):
        return
    name = task.graph_outputs[0]
    if shape and wanted[-1] is not None and task.has_classes and _fits(shape, (*wanted[:-1], None)):
        what = f"'{name}' has {shape[-1]} numbers, and the task needs {wanted[-1]} of {', '.join(task.names)}"
        raise bad_input("E316", f"{graph}: its output {what}")
    needed = ", ".join("any" if n is None else str(n) for n in wanted)
    what = f"'{name}' is {_told(answer)}, and {task.spec.type} needs floats of shape ({needed})"
    raise bad_input("E131", f"{graph}: its output {what}", help=_HELP)


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return (
        len(shape) == len(wanted) and 0 not in shape and all(b in (None, a) for a, b in zip(shape, wanted, strict=True))
    )


def _told(answer: object) -> str:
    if not isinstance(answer, np.ndarray):
        return f"no array, but {type(answer).__name__}"
    kind = "words" if answer.dtype.kind in "OUS" else str(answer.dtype)
    return f"{kind} of shape ({', '.join(map(str, answer.shape))})"
