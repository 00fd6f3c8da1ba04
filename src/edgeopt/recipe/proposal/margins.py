"""What loss of a metric a number of rows can certify, by the bounds that decide the gate.

Nobody knows yet how two models will answer. Two are made up that do equally well: of `CHANGED` of the rows one of them
is right and the other wrong, and as often the other way round; of scores, the second's are off the first's by a
twentieth of the labels' spread; of searches, the relevant passage falls by a place for some queries, and rises for as
many. What the task's own bounds say of these two decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeopt.data import Split
from edgeopt.spec.recipe import GateSpec
from edgeopt.statistics.bounds import Bounds
from edgeopt.statistics.power import rows_needed
from edgeopt.tasks import Task
from edgeopt.tasks.base import IGNORED, Values

#: A share of the rows that the second model gets wrong and the first right, and the other way round. In
#: benchmarks/results/int8_methods_*.md int8 did that to 1.2 % of SST-2's rows and 1.7 % of MRPC's.
CHANGED = 0.015
#: Margins that a person would write.
_MARGINS = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2)
#: Rows that the two models are made up on, at least and at most: what more rows tell is reckoned from these.
_FEWEST, _MOST = 50, 1500
#: The share of answers that both get wrong, and of the labels' spread how far scores are off, and off each other.
_WRONG, _NOISE, _MOVED = 0.1, 0.5, 0.05
#: The share of queries whose passage the one finds first and the other second, and the other way round.
_SWAPPED = 0.02


@dataclass(frozen=True)
class Margins:
    """Which margins how many rows can certify. needed: for each margin the rows, least first."""

    metric: str
    needed: dict[float, int]

    def certified(self, rows: int) -> float | None:
        """The least margin that so many rows can certify; None where they can certify none that says anything."""
        return next((margin for margin, needed in self.needed.items() if needed <= rows), None)

    @staticmethod
    def assumed(task: Task) -> str:
        """What is taken for granted of the two models, in words."""
        if task.spec.corpus is not None:
            return f"if int8 moves the passages of {_SWAPPED:.0%} of the queries down a place and of as many up"
        if not task.has_classes:
            return f"if int8 moves {'cosines' if task.embeds else 'scores'} by {_MOVED:.0%} of their spread"
        return f"if int8 corrects {CHANGED:.1%} of the answers and breaks as many"


def margins(task: Task, split: Split, rows: int, *more: float) -> Margins:
    """The margins of the task's first metric that rows like these can certify, about as many as `rows`.

    more: further margins to look at.
    """
    metric = task.spec.metric_names[0]
    if metric in task.beside_baseline:  # its gate has a least value, and no drop
        return Margins(metric, {})
    confidence = GateSpec(metric=metric, max_drop=0.01).confidence
    labels, base, candidate = _two_models(task, split, min(max(rows, _FEWEST), _MOST))
    wider = task.more_rows(metric, labels, base, candidate, confidence)

    def drop(rows: float) -> Bounds:
        found = wider(rows / len(labels))
        return Bounds(0.0, found.value - found.high, found.value - found.low)

    needed = {m: rows_needed(drop, 1, m, confidence) for m in sorted({*_MARGINS, *more})}
    least = task.fewest_rows(metric)
    return Margins(metric, {m: max(rows, least) for m, rows in needed.items() if rows is not None})


def _two_models(task: Task, split: Split, count: int) -> tuple[Values, Values, Values]:
    """Labels, and the outputs of two models that do equally well on them."""
    if task.spec.corpus is not None:
        return _two_searches(task, count)
    rng = np.random.default_rng(0)
    drawn = split.first(count).labels if task.grouped else [split.labels[i] for i in rng.integers(0, len(split), count)]
    labels = task.stack_labels(drawn)
    if not task.has_classes:
        right = labels[:, 0] if task.grouped else labels
        noise = _apart(rng.normal(size=(2, len(right))), right)
        both = (_NOISE * noise[0], np.sqrt(_NOISE**2 - _MOVED**2) * noise[0] + _MOVED * noise[1])
        first, second = ((right + (float(np.std(right)) or 1.0) * each)[:, None] for each in both)
        return labels, first, second
    places = np.argwhere(_asked(task, labels))
    wrong, changed = (max(round(share * len(places)), 1) for share in (_WRONG, CHANGED))
    order = rng.permutation(places)
    first, second = order[:wrong], np.concatenate([order[changed:wrong], order[wrong : wrong + changed]])
    return labels, _answers(task, labels, first), _answers(task, labels, second)


def _two_searches(task: Task, count: int) -> tuple[Values, Values, Values]:
    """Each query has one relevant passage, which is found first, second, or not at all."""
    swapped = max(round(_SWAPPED * count), 1)
    places = np.where(np.arange(count) < _WRONG * count, 0.0, 1.0)
    first, second = places.copy(), places.copy()
    first[-swapped:] = second[-2 * swapped : -swapped] = 1 / np.log2(3)
    before, after = (np.repeat(each[:, None], len(task.searched_metrics), axis=1) for each in (first, second))
    return np.ones(count), before, after


def _apart(noise: Values, labels: Values) -> Values:
    """The noise without what it has in common with the labels or with itself, each of mean 0 and deviation 1."""
    basis, _ = np.linalg.qr(np.stack([np.ones(len(labels)), labels, *noise], axis=1))
    return np.asarray(basis[:, 2:].T * np.sqrt(len(labels)))


def _asked(task: Task, labels: Values) -> Values:
    """Which labels are answers that count: of tags all but the most frequent, that of no entity."""
    if labels.ndim == 1 or task.several_classes:
        return np.ones(labels.shape, dtype=bool)
    words = labels != IGNORED
    tagged = words & (labels != np.bincount(labels[words]).argmax())
    return np.asarray(tagged if tagged.any() else words)


def _answers(task: Task, labels: Values, wrong: Values) -> Values:
    """Outputs that are right but in these places, shape (places, axes of the labels), where they say another class."""
    given, classes = labels.copy(), 2 if task.several_classes else len(task.names)
    at = tuple(wrong.T)
    given[at] = (given[at] + 1) % classes
    if task.several_classes:
        return np.asarray(2.0 * given - 1)
    outputs = np.eye(classes)[np.where(given == IGNORED, 0, given)]
    outputs[given == IGNORED] = np.nan
    return np.asarray(outputs)
