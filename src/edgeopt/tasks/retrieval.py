"""Embeddings by which passages are found: each query of the rows is searched for in a corpus of passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from edgeopt.statistics.bounds import Bounds
from edgeopt.statistics.metric_bounds import counted_bounds, counted_difference
from edgeopt.support.errors import Place, bad_input
from edgeopt.tasks import columns, ranking
from edgeopt.tasks.base import Label, Values
from edgeopt.tasks.embedding import AGREEMENT, CONSTANT, Embedding, mean_of, with_ones
from edgeopt.tasks.encode import Encoder, Features
from edgeopt.tasks.split import Split

if TYPE_CHECKING:
    from edgeopt.spec.recipe import TaskSpec

_METRICS = len(ranking.METRICS)
#: Columns of what is compared, from the end: the metrics of a ranking by which all passages are alike.
_TRIVIAL = slice(-2 - _METRICS, -2)


class Retrieval(Embedding):
    """Embeddings that are measured by search: a row of the report split is a query, and `Split.passages` the corpus.

    A label of such a row is the passages that are relevant, each with its grade. Rows to train on are a query and a
    relevant passage. What is compared of a row is the metrics of its query, for each number of dimensions, then those
    of a ranking that reads nothing, and the agreement of the query and its relevant passages with the baseline's.
    """

    sliced: ClassVar[bool] = False

    def __init__(self, spec: TaskSpec, names: Sequence[str] = (), *, stated: bool = True) -> None:
        super().__init__(spec, names, stated=stated)
        if spec.passages is not None:
            self.label_column = spec.passages.relevant

    # rows

    def label(self, raw: object, place: Place) -> Label:
        """The ids of relevant passages, each with its grade, where the corpus is apart."""
        return 0.0 if self.spec.passages is None else _relevant(raw, self.label_column, place)

    def searched(self, split: Split) -> Split:
        if split.passages or not len(split) or len(split.texts[0]) < 2:
            return split
        return of_pairs(split)

    @property
    def texts_a_row(self) -> int:
        return max(2, len(self.spec.columns))

    # features

    def asked(self, encoder: Encoder, split: Split) -> Features:
        """The queries of the rows, then the passages."""
        found = self.encode(encoder, split.texts)
        sentence = self.sentence(encoder.path.parent)
        passages = encoder.ids([(sentence.read(text, passage=True),) for text in split.passages])
        return Features([*found.ids, *passages], [*found.rows, *range(len(split), len(split) + len(passages))])

    # outputs

    def compared(self, outputs: Values, baseline: Values, labels: Sequence[Any]) -> Values:
        """(rows, 6 or more): see the class. No row has numbers where a passage has none, as all are ranked."""
        count, found = len(labels), np.asarray(outputs)[:, 0]
        owner = np.repeat(np.arange(count), [len(label) for label in labels])
        wanted, grades = (np.array([each[i] for label in labels for each in label]) for i in (0, 1))
        order = ranking.drawn_order(len(found) - count)
        whole = np.isfinite(found).all(axis=1)
        parts = []
        for size in (found.shape[-1], *self.sizes[1:]):
            cut = np.where(whole[:, None], found, 0.0)[:, :size]
            ranks = ranking.search(cut[:count], cut[count:], owner, wanted)
            parts.append(ranking.worth(owner, ranks, grades, count))
        parts.append(ranking.worth(owner, order[wanted] + 1.0, grades, count))
        parts += [self._alike(outputs, baseline, owner, wanted)]
        values = np.concatenate(parts, axis=1)
        values[~whole[:count] | ~whole[count:].all()] = np.nan
        return np.asarray(values)

    def kept_of(self, outputs: Values) -> Values:
        """Nothing: metrics of a query follow from all passages too."""
        return np.empty((len(outputs), 0))

    def _alike(self, outputs: Values, baseline: Values, owner: Values, wanted: Values) -> Values:
        """(queries, 2): the mean cosine of a query and its relevant passages to the baseline's, and of a constant."""
        near = super().compared(outputs, baseline, ())
        count = owner[-1] + 1
        rows, owners = np.r_[np.arange(count), count + wanted], np.r_[np.arange(count), owner]
        many = np.bincount(owners)
        return np.stack([np.bincount(owners, weights=near[rows, i]) / many for i in (AGREEMENT, CONSTANT)], axis=1)

    def stack_labels(self, labels: Sequence[Any]) -> Values:
        """How many passages are relevant to each query."""
        return np.array([len(label) if isinstance(label, tuple) else int(label) for label in labels])

    def plain_label(self, label: Any) -> int:
        return int(label)

    @property
    def label_shape(self) -> Any:
        return Annotated[int, Field(ge=1)]

    @property
    def output_shape(self) -> Any:
        count = 2 + _METRICS * (2 + len(self.sizes[1:]))
        return Annotated[list[float], Field(min_length=count, max_length=count)]

    def predict(self, outputs: Values) -> Values:
        """The first metric of each query."""
        return np.asarray(outputs[:, 0], dtype=float)

    # metrics

    def measure(self, metric: str, labels: Values, outputs: Values) -> float:
        return float(np.mean(outputs[:, _column(metric)]))

    def difference(self, metric: str, labels: Values, base: Values, candidate: Values, confidence: float) -> Bounds:
        before, after = (with_ones(x, _column(metric)) for x in (base, candidate))
        return counted_difference(before, after, mean_of, confidence)

    def bounds(self, metric: str, labels: Values, outputs: Values, confidence: float) -> Bounds:
        return counted_bounds(with_ones(outputs, _column(metric)), mean_of, confidence)

    def units(self, labels: Values) -> tuple[int, str]:
        return len(labels), "queries"

    def trivial(self, labels: Values, outputs: Values) -> dict[str, Values]:
        ((name, same),) = super().trivial(labels, outputs).items()
        same[:, :_METRICS] = outputs[:, _TRIVIAL]
        return {name: same}

    def unmeasurable(self, metric: str, labels: Values) -> str | None:
        return None

    def undefined(self, metric: str, labels: Values, outputs: Values) -> str | None:
        return None

    def _at_sizes(self, labels: Values, outputs: Values) -> dict[str, float]:
        return {
            f"{name}/{size}": float(np.mean(outputs[:, number * _METRICS + ranking.METRICS.index(name)]))
            for number, size in enumerate(self.sizes[1:], 1)
            for name in self.spec.metric_names
            if name in ranking.METRICS
        }

    def notes(self, labels: Values, outputs: Values) -> list[str]:
        found = ["A latency is that of one query. The passages are embedded beforehand, and the search is not timed."]
        return [*found, *super().notes(labels, outputs)]


def _column(metric: str) -> int:
    return AGREEMENT if metric == "agreement" else ranking.METRICS.index(metric)


def _relevant(raw: object, column: str, place: Place) -> tuple[tuple[str, float], ...]:
    """(id, grade) of each relevant passage: of an id, a list of ids, or a mapping from ids to grades."""
    if isinstance(raw, Mapping):
        given = [(passage_id(key), grade) for key, grade in raw.items() if grade is not None]
    else:
        given = [(passage_id(key), 1.0) for key in (raw if isinstance(raw, list | tuple) else [raw])]
    for key, grade in given:
        if not key or isinstance(grade, bool) or not isinstance(grade, int | float) or not np.isfinite(grade):
            raise bad_input(
                "E304",
                f"column '{column}' is {columns.short(raw)}",
                place=place,
                help="give the id of the relevant passage, a list of ids, or a mapping from ids to grades",
            )
    return tuple({key: float(grade) for key, grade in given if grade > 0}.items())


def passage_id(given: object) -> str:
    """The id of a passage, of which 7 and "7" are one; nothing where it is none."""
    return columns.value(given) if isinstance(given, str | int) and not isinstance(given, bool) else ""


def of_pairs(split: Split) -> Split:
    """Rows of a query and its passages as queries in a corpus of all passages. Equal queries, and passages, are one.

    Of each row the second text is relevant, and further ones are not.
    """
    numbers: dict[str, int] = {}
    asked: dict[str, dict[int, float]] = {}
    for query, *passages in split.texts:
        first, *_ = [numbers.setdefault(text, len(numbers)) for text in passages]
        asked.setdefault(query, {})[first] = 1.0
    return replace(
        split,
        texts=tuple((query,) for query in asked),
        labels=tuple(tuple(found.items()) for found in asked.values()),
        passages=tuple(numbers),
    )
