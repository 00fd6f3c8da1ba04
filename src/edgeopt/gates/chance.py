"""What an answer that reads nothing would get, and whether a model is better: both sides of every gate are held against it.

The trivial answers are the task's (`Task.trivial`); the comparison is the one of two models on the same rows (`Task.difference`),
with its bounds. A point estimate that is not above the trivial answer's is a model that has learned nothing as far as anyone saw: a
drop from it, or to it, says nothing, so that no such gate passes, unless its outputs are shown to have information all the same
(`Task.information`), as those of a model of rare classes may. One whose bounds reach below it may be better, and is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from edgeopt.spec.recipe import MEASURED, GateSpec, TaskSpec
from edgeopt.statistics.bounds import Bounds, Values
from edgeopt.tasks import Task

if TYPE_CHECKING:
    from edgeopt.gates.decide import Evidence

CONFIDENCE = 0.95
#: Rows of which even the best answers may be luck: three of each class are put in order by one guess in twenty.
FEWEST = 7


class Standing(NamedTuple):
    """A model beside the best trivial answer. metric: what it is judged by; value and level: the model's and the answer's; over:
    the one minus the other, with its bounds."""

    metric: str
    value: float
    level: float
    answer: str
    over: Bounds

    @property
    def no_better(self) -> bool:
        """As far as anyone saw it is no better."""
        return not self.over.value > 0

    @property
    def untold(self) -> bool:
        """It is not shown to be better."""
        return not self.over.low > 0

    def __str__(self) -> str:
        return f"{self.answer} ({self.level:.4f})"


def standing(task: Task, metric: str, labels: Values, outputs: Values) -> Standing:
    """Of outputs that are all finite."""
    judged = task.judged_by(metric)
    levels = [(task.measure(judged, labels, trivial), answer, trivial) for answer, trivial in task.trivial(labels, outputs).items()]
    level, answer, trivial = max(levels, key=lambda found: found[0])
    over = task.difference(judged, labels, trivial, outputs, CONFIDENCE)
    if len(labels) < FEWEST:
        over = Bounds(over.value, min(over.low, 0.0), over.high)
    return Standing(judged, task.measure(judged, labels, outputs), level, answer, over)


def warnings(evidence: Evidence, metrics: Iterable[str]) -> list[str]:
    """What belongs beside a verdict: outputs that are no numbers, whatever the gates look at, and models that are not shown to be
    better than an answer that reads nothing, on these metrics."""
    if not len(evidence.candidate_logits):  # nothing was answered, as no gate looks at answers
        return []
    flaws = [flaw for side in evidence.sides if (flaw := evidence.broken(side))]
    if flaws:
        return [f"{flaw[0].upper()}{flaw[1:]}: every gate that looks at them fails, and no figure made of them means anything." for flaw in flaws]
    found = {}
    for metric in metrics:
        poor: dict[str, Standing] = {side: s for side in evidence.sides if (s := evidence.standing(side, metric)).untold}
        if poor:
            found[evidence.task.judged_by(metric)] = _said(evidence, poor)
    return list(found.values())


def looked_at(gates: Iterable[GateSpec], task: TaskSpec) -> list[str]:
    """The metrics that are held against chance: those that gates look at, and the task's first."""
    return list(dict.fromkeys([*(g.metric for g in gates if g.metric not in MEASURED), task.metric_names[0]]))


def _said(evidence: Evidence, poor: dict[str, Standing]) -> str:
    rows = len(evidence.labels)
    parts = [
        f"the {side}'s {s.metric} of {s.value:.4f} is {'no better' if s.no_better else f'not shown by {rows} rows to be better'} than {s}"
        for side, s in poor.items()
    ]
    said = "; ".join(parts)
    return f"{said[0].upper()}{said[1:]}: {_mend(evidence, poor)}."


def _mend(evidence: Evidence, poor: dict[str, Standing]) -> str:
    few = not any(s.no_better for s in poor.values())
    more = "report on more rows, or " if few else ""
    if "candidate" not in poor:
        return f"the candidate is compared with a model that has learned nothing that is seen here; {more}train the baseline longer"
    if "baseline" in poor or len(evidence.sides) == 1:
        return f"{more}train longer, or with another learning rate"
    if evidence.candidate.precision == "int8":
        return f"the baseline is better; {more}set `policy: auto` on quantize.static, or use quantize.qat"
    return f"the baseline is better; {more}prune less, or train longer"
