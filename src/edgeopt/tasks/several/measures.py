"""Metrics of several tasks: each measured by its task's own class, of that task's rows alone.

A metric is called `task.metric`. Nothing is measured before labels and outputs agree on whose the rows are.
"""

from __future__ import annotations

import numpy as np

from edgeopt.statistics.bounds import Bounds
from edgeopt.tasks.base import Rows, Values
from edgeopt.tasks.several.parts import Parts


class Measures(Parts):
    """Measures each task on its own rows; a checkpoint is selected by the mean of their first metrics."""

    def of(self, name: str, labels: Values, *outputs: Values) -> Rows:
        """The rows of one task, as its own class has them.

        Raises ValueError where labels and outputs do not agree on whose the rows are.
        """
        number = self.number_of(name)
        if any(not np.array_equal(labels[:, 0], each[:, 0]) for each in outputs):
            raise ValueError("labels and outputs are of other tasks' rows")
        part, rows = self.parts[name], np.flatnonzero(labels[:, 0] == number)
        own = labels[rows, 1]
        stacked = part.stack_labels((own.astype(int) if part.has_classes else own).tolist())
        width = self.task_heads[number].outputs
        return Rows(part, stacked, [each[rows, 1 : 1 + width] for each in outputs], rows)

    def _metric(self, metric: str, labels: Values, *outputs: Values) -> tuple[str, Rows]:
        name, _, own = metric.partition(".")
        return own, self.of(name, labels, *outputs)

    @property
    def selection_metric(self) -> str:
        return "mean"

    def selection_scores(self, labels: Values, outputs: Values) -> dict[str, float]:
        """All metrics, and the mean of the tasks' first ones, of which one that is no number counts as 0."""
        found = self.metrics(labels, outputs)
        first = [found[f"{name}.{part.spec.metric_names[0]}"] for name, part in self.parts.items()]
        return {**found, "mean": float(np.mean(np.nan_to_num(first, nan=0.0)))}

    def measure(self, metric: str, labels: Values, outputs: Values) -> float:
        own, rows = self._metric(metric, labels, outputs)
        return rows.task.measure(own, rows.labels, rows.outputs[0])

    def measured(self, metric: str, labels: Values, outputs: Values) -> float:
        own, rows = self._metric(metric, labels, outputs)
        return rows.task.measured(own, rows.labels, rows.outputs[0])

    def difference(self, metric: str, labels: Values, base: Values, candidate: Values, confidence: float) -> Bounds:
        own, rows = self._metric(metric, labels, base, candidate)
        return rows.task.difference(own, rows.labels, rows.outputs[0], rows.outputs[1], confidence)

    def first_difference(self, labels: Values, base: Values, candidate: Values, confidence: float) -> Bounds:
        found = [
            self.difference(f"{name}.{part.spec.metric_names[0]}", labels, base, candidate, confidence)
            for name, part in self.parts.items()
        ]
        return Bounds(*(min(values) for values in zip(*found, strict=True)))

    def bounds(self, metric: str, labels: Values, outputs: Values, confidence: float) -> Bounds:
        own, rows = self._metric(metric, labels, outputs)
        return rows.task.bounds(own, rows.labels, rows.outputs[0], confidence)

    @property
    def slice_metric(self) -> str | None:
        return None

    def sound(self, labels: Values, outputs: Values) -> Values:
        whole = np.isfinite(outputs).all(1) & np.isfinite(labels).all(1)
        return np.asarray(whole & (labels[:, 0] == outputs[:, 0]))

    def fewest_rows(self, metric: str) -> int:
        name, _, own = metric.partition(".")
        return self.parts[name].fewest_rows(own)

    def trivial(self, labels: Values, outputs: Values) -> dict[str, Values]:
        raise NotImplementedError("each task is held against chance on its own rows")

    def extra_metrics(self, labels: Values, outputs: Values) -> dict[str, float]:
        return {
            f"{name}.{metric}": value
            for name in self.parts
            for rows in [self.of(name, labels, outputs)]
            for metric, value in rows.task.extra_metrics(rows.labels, rows.outputs[0]).items()
        }

    def notes(self, labels: Values, outputs: Values) -> list[str]:
        apart = [head.name for head in self.task_heads if head.kind != "pair"]
        found = [
            f"{name}: {note}"
            for name in self.parts
            for rows in [self.of(name, labels, outputs)]
            for note in rows.task.notes(rows.labels, rows.outputs[0])
        ]
        if apart:
            found.append(
                f"A latency is that of one sequence, with all heads. A row of {' and of '.join(apart)} has two: "
                "each of its texts is read by itself."
            )
        return found
