"""How far an int8 graph is from the float one, on rows that nothing is reported on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.data import Split
from edgeopt.measure.session import input_names, open_session
from edgeopt.tasks import Task
from edgeopt.tasks.encode import Encoder
from edgeopt.transforms.quantize.observers import Array

#: Logits of the float graph that are kept, at most: summaries have 30,000 a token.
_KEPT = 50_000_000


@dataclass(frozen=True)
class Judged:
    """kl: of the float logits' distribution to the int8 one, mean over queries, in nats; of a score the mean squared
    difference over the float scores' variance. agreement: share of queries (of tokens, where each has logits) whose largest
    logit is the same; None for a score. drop: of the task's first metric, float minus int8; None where it was not measured."""

    kl: float
    agreement: float | None
    drop: float | None


class Judge:
    """Compares graphs with the float one on the same rows. metric: whether the task's first metric is measured, too."""

    def __init__(self, graph: Path, folder: Path, split: Split, task: Task, *, metric: bool) -> None:
        self.encoder, self.task, self.split, self.measured = Encoder(folder, task.spec.max_length), task, split, metric
        self.features = task.encode(self.encoder, split.texts)
        self.ids = self.features.ids
        outputs, self.logits = self._run(graph)
        self.ids = self.ids[: len(self.logits)]
        self.base = self._metric(outputs)
        self.variance = max(float(np.var(np.concatenate([x.ravel() for x in self.logits]))), 1e-12)

    @property
    def queries(self) -> int:
        """How many queries are compared."""
        return len(self.logits)

    def __call__(self, graph: Path) -> Judged:
        outputs, found = self._run(graph)
        metric = self._metric(outputs)
        kl = [self._kl(a, b) for a, b in zip(self.logits, found, strict=True)]
        same = [np.mean(a.argmax(-1) == b.argmax(-1)) for a, b in zip(self.logits, found, strict=True)] if self.logits[0].shape[-1] > 1 else []
        drop = None if self.base is None or metric is None else self.base - metric
        return Judged(float(np.mean(kl)), float(np.mean(same)) if same else None, drop)

    def _run(self, graph: Path) -> tuple[list[Any], list[Array]]:
        """The task's outputs, where the metric is measured, and the logits, one query at a time."""
        session = open_session(graph)
        names = input_names(session)
        outputs: list[Any] = []
        logits: list[Array] = []

        def run(feed: dict[str, Array]) -> Array:
            logits.append(session.run(["logits"], feed)[0])
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

    def _metric(self, outputs: list[Any]) -> float | None:
        if not self.measured:
            return None
        labels = self.task.stack_labels(self.split.labels)
        return self.task.measure(self.task.spec.metric_names[0], labels, self.task.gather(outputs, self.features))

    def _kl(self, base: Array, other: Array) -> float:
        if base.shape[-1] == 1:
            return float(np.mean((base - other) ** 2)) / self.variance
        p, q = _log_softmax(base), _log_softmax(other)
        return float((np.exp(p) * (p - q)).sum(-1).mean())


def _log_softmax(logits: Array) -> Array:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return found
