"""Rows in groups, and how the difference of two models is spread over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from edgeopt.data import Split
from edgeopt.statistics.agreement import mcnemar_exact
from edgeopt.statistics.bounds import Bounds, Values, normal_quantile, paired_proportions
from edgeopt.tasks import Task
from edgeopt.tasks.encode import Features, length

#: Rows below which a slice is only counted.
SMALLEST = 30
#: Rows below which one says nothing at all.
_SEEN = 2
#: Groupings that need no column.
LABEL, LENGTH = "label", "length"
Groups = Mapping[str, Sequence[str]]


@dataclass(frozen=True, eq=False)
class Part:
    """The rows of a split that have the same value in a grouping. rows: their numbers."""

    grouping: str
    name: str
    rows: Values

    def __str__(self) -> str:
        return f"{self.grouping} {self.name}"


def length_groups(tokens: Sequence[int]) -> tuple[str, ...]:
    """The terciles that rows of so many tokens belong to, each named by the lengths that it has."""
    lengths = np.asarray(tokens)
    which = np.searchsorted(np.unique(np.quantile(lengths, [1 / 3, 2 / 3], method="inverted_cdf")), lengths)
    found = {tercile: lengths[which == tercile] for tercile in np.unique(which).tolist()}
    names = {
        t: f"{x.min()} to {x.max()} tokens" if x.min() < x.max() else f"{x.min()} tokens" for t, x in found.items()
    }
    return tuple(names[t] for t in which.tolist())


def parts_of(task: Task, metric: str, labels: Values, groups: Groups, grouping: str | None = None) -> list[Part]:
    """Every slice that `metric` has a meaning in, or those of one grouping.

    Within the rows of one label only accuracy has; a grouping into one slice is none. groups: by length and by columns,
    a name a row.
    """
    found: dict[str, Sequence[str]] = {}
    if metric == "accuracy" and task.names and labels.ndim == 1:
        found[LABEL] = [task.names[label] for label in labels]
    found |= groups
    parts = [
        Part(name, value, np.flatnonzero(np.array(values, dtype=object) == value))
        for name, values in found.items()
        if grouping in (None, name)
        for value in sorted(set(values), key=lambda v, name=name: _place(task, name, v))  # type: ignore[misc]
    ]
    return [p for p in parts if len(p.rows) < len(labels)]


def _place(task: Task, grouping: str, value: str) -> tuple[int, str]:
    """Classes in the order of their numbers, lengths from short to long, all else by the alphabet."""
    return task.names.index(value) if grouping == LABEL else int(value.split()[0]) if grouping == LENGTH else 0, value


def difference(
    task: Task, metric: str, labels: Values, base: Values, candidate: Values, part: Part, confidence: float
) -> Bounds:
    """Candidate minus baseline on the rows of a slice."""
    return task.difference(metric, labels[part.rows], base[part.rows], candidate[part.rows], confidence)


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for there being several (Holm 1979, Scandinavian Journal of Statistics 6:65)."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted


def p_value(
    task: Task,
    metric: str,
    labels: Values,
    base: Values,
    candidate: Values,
    part: Part,
    bounds: Bounds,
    confidence: float,
) -> float:
    """Two-sided p of no difference: McNemar's exact test of right answers, else from the width of the bounds."""
    if metric == "accuracy" and labels.ndim == 1:
        before, after = (task.predict(x[part.rows]) == labels[part.rows] for x in (base, candidate))
        return mcnemar_exact(int(np.sum(~before & after)), int(np.sum(before & ~after)))
    error = (bounds.high - bounds.low) / (2 * normal_quantile(confidence))
    return 1.0 if error == 0 else 2 * NormalDist().cdf(-abs(bounds.value) / error)


@dataclass(frozen=True)
class Worst:
    """The drop of the slice where it is largest, with its bounds over all slices.

    slice: the largest drop; open: the slice whose bound is highest, with the confidence that its lower bound takes.
    small: slices left out, as too few rows tell nothing.
    """

    drop: Bounds
    slice: Part
    open: Part
    each: float
    slices: int
    small: list[Part]


def worst(
    task: Task,
    metric: str,
    labels: Values,
    base: Values,
    candidate: Values,
    parts: Sequence[Part],
    margin: float,
    confidence: float,
) -> Worst | None:
    """Bounds on the largest drop of any slice; None where no slice is large enough to say anything of the margin.

    The highest of the slices' upper bounds is one for the largest drop as it is, because that of the truly worst slice
    holds as often as is said (intersection-union test: Berger 1982, Technometrics 24:295). The highest lower bound
    would not be, as there are several chances to be wrong: each takes its share of the error, which is Holm's first
    step. A slice of too few rows to show that it holds may still show that it does not: with its share of the error it
    counts where it does.
    """
    least = fewest_rows(metric, margin, confidence)
    each = 1 - (1 - confidence) / len(parts) if parts and confidence > 0.5 else confidence

    def drop(part: Part, at: float) -> Bounds:
        found = difference(task, metric, labels, base, candidate, part, at)
        return Bounds(-found.value, -found.high, -found.low)

    lower = {p: drop(p, each).low for p in parts if len(p.rows) >= min(least, _SEEN)}
    told = [p for p in parts if len(p.rows) >= least or lower.get(p, -1.0) > margin]
    if not told:
        return None
    upper = [drop(p, confidence) for p in told]
    largest, highest = (max(range(len(told)), key=key) for key in (lambda i: upper[i].value, lambda i: upper[i].high))
    bounds = Bounds(upper[largest].value, max(lower[p] for p in told), upper[highest].high)
    return Worst(bounds, told[largest], told[highest], each, len(told), [p for p in parts if p not in told])


def fewest_rows(metric: str, margin: float, confidence: float) -> int:
    """Rows that a slice needs so that two models that agree on all of them can be shown to be within the margin."""
    rows = SMALLEST
    while metric == "accuracy" and margin > 0 and paired_proportions(0, 0, rows, confidence).high > margin:
        rows += max(1, rows // 20)
    return rows


def groups_of(task: Task, rows: Split, features: Features) -> Groups:
    """The slice of each row by its length and by the columns of `task.slices`; nothing for a task without slices."""
    if not task.slice_metric:
        return {}
    tokens = np.bincount(features.rows, weights=[length(q) for q in features.ids]).astype(int)
    return {LENGTH: length_groups(tokens.tolist()), **rows.slices}
