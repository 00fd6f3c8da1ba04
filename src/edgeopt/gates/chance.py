"""What an answer that reads nothing would get, and whether a model is better: every gate holds both sides against it.

The trivial answers are the task's (`Task.trivial`); the comparison is the one of two models on the same rows
(`Task.difference`), with its bounds. A point estimate that is not above the trivial answer's is a model that has
learned nothing as far as anyone saw: a drop from it, or to it, says nothing, so that no such gate passes, unless its
outputs are shown to have information all the same (`Task.information`), as those of a model of rare classes may. One
whose bounds reach below it may be better, and is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from edgeopt.spec.recipe import GateSpec, SeveralTasks, TaskSpec
from edgeopt.spec.tasks import MEASURED
from edgeopt.statistics.bounds import Bounds, Values
from edgeopt.tasks import Task

CONFIDENCE = 0.95
#: Rows of which even the best answers may be luck: three of each class are put in order by one guess in twenty.
FEWEST = 7


class Standing(NamedTuple):
    """A model beside the best trivial answer.

    metric: what it is judged by; value and level: the model's and the answer's; over: the one minus the other, with its
    bounds.
    """

    metric: str
    value: float
    level: float
    answer: str
    over: Bounds

    @property
    def no_better(self) -> bool:
        """Whether the model is, as far as anyone saw, no better than the trivial answer."""
        return not self.over.value > 0

    @property
    def untold(self) -> bool:
        """Whether the model is not shown to be better than the trivial answer."""
        return not self.over.low > 0

    def __str__(self) -> str:
        return f"{self.answer} ({self.level:.4f})"


def standing(task: Task, metric: str, labels: Values, outputs: Values) -> Standing:
    """How outputs, all of them finite, stand beside the best answer that reads nothing."""
    judged = task.judged_by(metric)
    levels = [
        (task.measure(judged, labels, trivial), answer, trivial)
        for answer, trivial in task.trivial(labels, outputs).items()
    ]
    level, answer, trivial = max(levels, key=lambda found: found[0])
    over = task.difference(judged, labels, trivial, outputs, CONFIDENCE)
    if len(labels) < FEWEST:
        over = Bounds(over.value, min(over.low, 0.0), over.high)
    return Standing(judged, task.measure(judged, labels, outputs), level, answer, over)


def looked_at(gates: Iterable[GateSpec], task: TaskSpec) -> list[str]:
    """The metrics that are held against chance: those that gates look at, and the task's first."""
    first = [part.metric_names[0] for part in task.each.values()]
    if isinstance(task, SeveralTasks):
        first = [f"{name}.{metric}" for name, metric in zip(task.parts, first, strict=True)]
    return list(dict.fromkeys([*(g.measured for g in gates if g.metric not in MEASURED), *first]))
