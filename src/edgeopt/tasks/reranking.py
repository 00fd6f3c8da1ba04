"""A score for a query and a passage, by which the passages of each query are put in order."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgeopt.support.errors import Place, bad_input
from edgeopt.support.reading import Count, Finite
from edgeopt.tasks import columns, ranking
from edgeopt.tasks.base import Values
from edgeopt.tasks.counted import CountedTask
from edgeopt.tasks.encode import Features
from edgeopt.tasks.losses import LabelLoss, Pointwise
from edgeopt.tasks.regression import Regression

if TYPE_CHECKING:
    from edgeopt.spec.recipe import Training

_METRICS = ("ndcg@10", "mrr@10", "map")


class Reranking(CountedTask, Regression):
    """A relevance for a query with a passage: one output, trained by squared error or binary cross-entropy.

    Rows with the same value of `group`, or without that key with the same query, are the passages of one query. They
    stay in one split, and bounds come from resampling queries. A label: (relevance, number of the query). Queries
    without a relevant passage have no metric and are left out of it.
    """

    known_metrics: ClassVar[tuple[str, ...]] = _METRICS
    default_metrics: ClassVar[tuple[str, ...]] = _METRICS
    ranges: ClassVar[dict[str, tuple[float, float]]] = {}
    point_losses: ClassVar[tuple[str, ...]] = ("mse", "bce")
    grouped: ClassVar[bool] = True
    sliced: ClassVar[bool] = False
    windowed: ClassVar[bool] = False
    reads: ClassVar[str | None] = "a query and a passage"
    pipeline: ClassVar[str | None] = "text-ranking"

    # rows

    def read(self, row: columns.Cells, place: Place) -> columns.Raw:
        group = self.spec.group or self.columns[0]
        columns.require(row, (*self.columns, self.label_column, group), place)
        texts, key = self.texts(row, place), row[group]
        if key is None or key == "" or not isinstance(key, Hashable):
            raise bad_input(
                "E304",
                f"the query in column '{group}' is {columns.short(key)}",
                place=place,
                help="give all rows of one query the same id, a number or a word",
            )
        return texts, (row[self.label_column], key), place

    def labels(self, rows: Sequence[columns.Raw]) -> tuple[tuple[float, int], ...]:
        numbers: dict[Any, int] = {}
        return tuple(
            (columns.score(raw, place), numbers.setdefault(group, len(numbers))) for _, (raw, group), place in rows
        )

    def documents(self, labels: Sequence[Any]) -> tuple[int, ...]:
        return tuple(int(label[1]) for label in labels)

    def blank(self, texts: tuple[str, ...]) -> tuple[float, int]:
        return 0.0, 0

    # features

    def targets(self, features: Features, labels: Sequence[Any]) -> list[Any]:
        return [labels[row][0] for row in features.rows]

    def training_loss(
        self, params: Training, weights: Sequence[float] | None, labels: Sequence[Any]
    ) -> LabelLoss | None:
        if (spec := params.of_pairs) is None:
            return None
        beyond = next((label[0] for label in labels if not 0 <= label[0] <= 1), None)
        if spec.bce and beyond is not None:
            raise bad_input(
                "E304",
                f"'losses.bce' takes labels from 0 to 1, and train has {beyond:g}",
                help="use `losses: {mse: 1.0}`",
            )
        return Pointwise(spec.mse, spec.bce)

    # outputs

    def stack_labels(self, labels: Sequence[Any]) -> Values:
        return np.array(labels, dtype=float)

    @property
    def label_shape(self) -> Any:
        return tuple[Finite, Count]

    def plain_label(self, label: Any) -> Any:
        return [float(label[0]), int(label[1])]

    # metrics

    def counts(self, metric: str, labels: Values, outputs: Values) -> Values:
        """The metric of each query and a one, or zeros for a query without a relevant passage."""
        _, group = np.unique(labels[:, 1], return_inverse=True)
        ranks = ranking.ranked(group, self.predict(outputs), ranking.drawn_order(len(labels)))
        right = labels[:, 0] > 0
        queries = int(group.max()) + 1
        values = ranking.worth(group[right], ranks[right], labels[right, 0], queries)
        asked = np.bincount(group[right], minlength=queries) > 0
        return np.stack([values[:, ranking.METRICS.index(metric)], asked.astype(float)], axis=1)

    def value(self, metric: str, counts: Values) -> Values:
        """The mean over the queries that have a relevant passage."""
        return np.divide(counts[:, 0], counts[:, 1], out=np.zeros(len(counts)), where=counts[:, 1] > 0)

    def units(self, labels: Values) -> tuple[int, str]:
        return len(np.unique(labels[labels[:, 0] > 0, 1])), "queries"

    def trivial(self, labels: Values, outputs: Values) -> dict[str, Values]:
        return {"one score for all passages": np.zeros((len(labels), 1))}

    def unmeasurable(self, metric: str, labels: Values) -> str | None:
        return None if (labels[:, 0] > 0).any() else "no query has a passage of a relevance above 0"

    def undefined(self, metric: str, labels: Values, outputs: Values) -> str | None:
        return super().undefined(metric, labels, outputs) and "scores are all the same, and put nothing in order"

    def notes(self, labels: Values, outputs: Values) -> list[str]:
        asked = self.counts(_METRICS[0], labels, outputs)[:, 1]
        found = (
            f"{len(labels):,} passages are put in order for {len(asked):,} queries. A latency is that of one passage; "
            "a target with `batch: k` times k passages."
        )
        without = int(np.sum(asked == 0))
        return [f"{found} {without:,} queries without a relevant passage are left out."] if without else [found]
