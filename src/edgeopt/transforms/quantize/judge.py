"""How far an int8 graph is from the float one, on rows that nothing is reported on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.data import Split
from edgeopt.export.session import input_names, open_session, output_names
from edgeopt.statistics.bootstrap import bootstrap
from edgeopt.statistics.bounds import Bounds
from edgeopt.statistics.metric_bounds import proportion
from edgeopt.tasks import Task
from edgeopt.tasks.encode import Encoder
from edgeopt.transforms.quantize.observers import Array

#: Logits of the float graph that are kept, at most: summaries have 30,000 a token.
_KEPT = 50_000_000


@dataclass(frozen=True)
class Judged:
    """How an int8 graph compares with the float one, for each unit: a row, or a document of dependent rows.

    kls: of the float logits' distribution to the int8 one, mean over its queries, in nats; of scores and embeddings the
    squared difference over the float ones' variance. same: share of its queries (of tokens, where each has logits)
    whose largest logit is the same; None for scores and embeddings. difference: of the task's first metric, int8 minus
    float, at a confidence; None where it was not measured.
    """

    kls: Array
    same: Array | None
    difference: Callable[[float], Bounds] | None

    @property
    def kl(self) -> float:
        """The mean divergence of the units."""
        return float(self.kls.mean())

    @property
    def agreement(self) -> float | None:
        """The share of predictions that are the same, mean over the units; None for scores and embeddings."""
        return None if self.same is None else float(self.same.mean())

    @property
    def drop(self) -> float | None:
        """How much lower the metric is in int8; None where it was not measured."""
        return None if self.difference is None else -self.difference(0.5).value

    def kl_bounds(self, confidence: float) -> Bounds:
        """Bounds of the mean divergence, by a bootstrap of the units."""
        if len(self.kls) < 2:
            return Bounds(self.kl, 0.0, math.inf)
        return bootstrap(lambda weights: weights @ self.kls / weights.sum(1), np.ones(len(self.kls)), confidence)

    def agreement_bounds(self, confidence: float) -> Bounds:
        """Wilson's bounds of the agreement, with a unit for a trial.

        Of shares between 0 and 1 none varies more than one that is 0 or 1.
        """
        assert self.same is not None
        return proportion(float(self.same.mean()), len(self.same), confidence)

    def drop_bounds(self, confidence: float) -> Bounds:
        """Bounds of the drop, which are those of the difference the other way round."""
        assert self.difference is not None
        found = self.difference(confidence)
        return Bounds(-found.value, -found.high, -found.low)


class Judge:
    """Compares int8 graphs with the float one on the same rows.

    metric: whether the task's first metric is measured, too.
    """

    def __init__(self, graph: Path, folder: Path, split: Split, task: Task, *, metric: bool) -> None:
        self.encoder, self.task, self.measured = Encoder(folder, task.spec.max_length), task, metric
        self.split = task.searched(split)
        self.features = task.asked(self.encoder, self.split)
        self.ids = self.features.ids
        outputs, self.logits = self._run(graph)
        self.ids = self.ids[: len(self.logits)]
        self.base: Any = task.gather(outputs, self.features) if metric else None
        self.variance = max(float(np.var(np.concatenate([x.ravel() for x in self.logits]))), 1e-12)

    @property
    def queries(self) -> int:
        """How many queries are compared."""
        return len(self.logits)

    def __call__(self, graph: Path) -> Judged:
        """Run an int8 graph on the rows, and compare its answers with the float graph's."""
        outputs, found = self._run(graph)
        kls = self._by_unit([self._kl(a, b) for a, b in zip(self.logits, found, strict=True)])
        same = (
            [float(np.mean(a.argmax(-1) == b.argmax(-1))) for a, b in zip(self.logits, found, strict=True)]
            if self.task.softmax and self.logits[0].shape[-1] > 1
            else None
        )
        return Judged(
            kls, None if same is None else self._by_unit(same), self._difference(outputs) if self.measured else None
        )

    def _by_unit(self, values: list[float]) -> Array:
        """The mean over all queries of each row, or of each document."""
        rows = np.array(self.features.rows[: len(values)])
        units = np.unique(np.array(self.split.documents)[rows] if self.split.documents else rows, return_inverse=True)[
            1
        ]
        return np.asarray(np.bincount(units, weights=values) / np.bincount(units))

    def _run(self, graph: Path) -> tuple[list[Any], list[Array]]:
        """The task's outputs, where the metric is measured, and the logits, one query at a time."""
        session = open_session(graph)
        names, wanted = input_names(session), output_names(session)[:1]
        outputs: list[Any] = []
        logits: list[Array] = []

        def run(feed: dict[str, Array]) -> Array:
            logits.append(session.run(wanted, feed)[0])
            return logits[-1]

        kept = 0
        for ids in self.ids:
            feed = {k: v for k, v in self.encoder.pad([ids]).items() if k in names}
            if self.measured:
                outputs.append(self.task.answer(run, feed, self.encoder))
            else:
                run(feed)
            kept += logits[-1].size
            if kept > _KEPT and not self.measured:
                break
        return outputs, logits

    def _difference(self, outputs: list[Any]) -> Callable[[float], Bounds]:
        task, rows = self.task, self.split.labels
        both = self.base, task.gather(outputs, self.features)
        before, after = (task.compared(outputs, self.base, rows) for outputs in both)
        labels = task.stack_labels(rows)
        return partial(task.first_difference, labels, before, after)

    def _kl(self, base: Array, other: Array) -> float:
        if not self.task.softmax or base.shape[-1] == 1:
            return float(np.mean((base - other) ** 2)) / self.variance
        p, q = _log_softmax(base), _log_softmax(other)
        return float((np.exp(p) * (p - q)).sum(-1).mean())


def _log_softmax(logits: Array) -> Array:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return found
