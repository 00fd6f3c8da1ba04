"""A tag for every word: named entities, parts of speech."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from types import GenericAlias
from typing import Annotated, Any, ClassVar, cast

import numpy as np
from pydantic import Field

from edgeopt.support.errors import Place, bad_input
from edgeopt.support.words import is_integer
from edgeopt.tasks import columns
from edgeopt.tasks.base import IGNORED, Answer, Texts, Values
from edgeopt.tasks.counted import CountedTask, matches
from edgeopt.tasks.encode import Encoder, Features

_OUTSIDE = "O"
#: How tags begin of which one word alone is an entity; and how often the rows' tags are put in another order.
_BEGINS, _ORDERS = ("B-", "S-", "U-"), 5


class TokenClassification(CountedTask):
    """A tag for every word, read off its first token, which alone is trained.

    A word beyond the length counts as one without a tag. f1, precision and recall are those of whole entities, as
    seqeval counts them; accuracy is that of words. Outputs: (rows, words of the longest row, tags), filled up with nan.
    """

    auto_class: ClassVar[str] = "AutoModelForTokenClassification"
    known_metrics: ClassVar[tuple[str, ...]] = ("f1", "precision", "recall", "accuracy")
    default_metrics: ClassVar[tuple[str, ...]] = ("f1", "accuracy")
    needs: ClassVar[tuple[str, ...]] = ("seqeval",)
    names_outputs: ClassVar[bool] = True
    reads_words: ClassVar[bool] = True
    told_by_outputs: ClassVar[bool] = True
    reads: ClassVar[str | None] = "a text as a list of words"
    pipeline: ClassVar[str | None] = "token-classification"
    output_axes: ClassVar[dict[int, str]] = {0: "batch", 1: "sequence"}

    def read(self, row: columns.Cells, place: Place) -> columns.Raw:
        spec = self.spec
        (column,) = spec.columns
        columns.require(row, (column, self.label_column), place)
        words, tags = self.texts(row, place), row[self.label_column]
        if not isinstance(tags, (list, tuple)) or len(tags) != len(words):
            what = f"{len(tags)} tags" if isinstance(tags, (list, tuple)) else f"no list: {columns.short(tags)}"
            raise bad_input(
                "E304",
                f"column '{self.label_column}' has {what}, and '{column}' {len(words)} words",
                place=place,
                help="give every word one tag",
            )
        return words, tuple(tags), place

    def texts(self, row: columns.Cells, place: Place) -> Texts:
        (column,) = self.spec.columns
        return columns.texts(row[column], column, place)

    def blank(self, texts: Texts) -> tuple[int, ...]:
        return (0,) * len(texts)

    def classes(self, rows: Sequence[columns.Raw], given: Sequence[str] | None) -> list[str]:
        """The tags given, or those of the rows, that of no entity first."""
        if given:
            return list(given)
        names = self.spelled(rows)
        if all(is_integer(n) for n in names):
            raise bad_input(
                "E304",
                "the tags are numbers, and entities cannot be told from numbers",
                place=rows[0][2],
                help="name them in task.labels: [O, B-PER, I-PER, …]",
            )
        return sorted(names, key=lambda n: n != _OUTSIDE)

    def spelled(self, rows: Sequence[columns.Raw]) -> list[str]:
        return columns.classes_of((tag, place) for _, tags, place in rows for tag in tags)

    def label(self, raw: object, place: Place) -> tuple[int, ...]:
        return tuple(self.number(tag, place) for tag in cast("tuple[object, ...]", raw))  # as `read` gives it

    def encode(self, encoder: Encoder, texts: Sequence[Texts]) -> Features:
        return encoder.words(texts)

    def targets(self, features: Features, labels: Sequence[Any]) -> list[Any]:
        assert features.words is not None
        out = []
        for ids, places, tags in zip(features.ids, features.words, labels, strict=True):
            target = [IGNORED] * len(ids["input_ids"])
            for place, tag in zip(places, tags, strict=True):
                if place >= 0:
                    target[place] = tag
            out.append(target)
        return out

    def class_numbers(self, labels: Sequence[Any]) -> Sequence[int]:
        return [tag for tags in labels for tag in tags]

    def label_batch(self, labels: list[Any], width: int) -> Values:
        return np.array([[*tags, *[IGNORED] * (width - len(tags))] for tags in labels], dtype=np.int64)

    def gather(self, outputs: Sequence[Values], features: Features) -> Values:
        """The outputs of each word's first token."""
        assert features.words is not None
        return self.stack(
            [self._of_words(np.asarray(o), places) for o, places in zip(outputs, features.words, strict=True)]
        )

    def _of_words(self, output: Values, places: list[int]) -> Values:
        rows = output[np.maximum(places, 0)].astype(np.float64)
        outside = np.zeros(len(self.names))
        outside[self.names.index(_OUTSIDE) if _OUTSIDE in self.names else 0] = 1.0
        rows[np.array(places) < 0] = outside
        return rows

    def stack(self, outputs: Sequence[Any]) -> Values:
        return _filled([np.asarray(o, dtype=np.float64) for o in outputs], np.nan)

    def stack_labels(self, labels: Sequence[Any]) -> Values:
        return _filled([np.asarray(tags, dtype=np.int64) for tags in labels], IGNORED)

    @property
    def label_shape(self) -> Any:
        return _of_words(super().label_shape)

    @property
    def output_shape(self) -> Any:
        return _of_words(super().output_shape)

    def fits(self, label: object, output: object) -> bool:
        return len(cast(Sized, label)) == len(cast(Sized, output))  # lists, by their shapes

    def plain_label(self, label: Any) -> list[int]:
        return [int(x) for x in label if x != IGNORED]

    def plain_output(self, output: Any, label: object) -> list[list[float]]:
        # the label says how many words there are: what is filled up behind them is nan, and so may be an output
        return [[float(x) for x in word] for word in output[: int(np.sum(np.asarray(label) != IGNORED))]]

    def sound(self, labels: Values, outputs: Values) -> Values:
        whole: Values = (np.isfinite(outputs).all(axis=-1) | (labels == IGNORED)).all(1)
        return whole

    def trivial(self, labels: Values, outputs: Values) -> dict[str, Values]:
        """Outputs that answer always one tag, and the rows' own tags in another order, some times.

        The one tag is the most frequent, that of no entity, or one that begins an entity, which finds those of one
        word. The others find what tags drawn as often as these would.
        """
        words = labels != IGNORED
        often, there = int(np.bincount(labels[words]).argmax()), np.unique(labels[words]).tolist()
        begins = [t for t in there if self.names[t].startswith(_BEGINS)]
        tags = dict.fromkeys([often, self.names.index(_OUTSIDE) if _OUTSIDE in self.names else often, *begins])
        found = {
            f"always answering '{self.names[t]}'": np.where(np.isnan(outputs), np.nan, np.eye(outputs.shape[-1])[t])
            for t in tags
        }
        rng = np.random.default_rng(0)
        for number in range(1, _ORDERS + 1):
            found[f"tags drawn at random, {number}"] = drawn = np.full(outputs.shape, np.nan)
            drawn[words] = np.eye(outputs.shape[-1])[rng.permutation(labels[words])]
        return found

    def predict(self, outputs: Values) -> Values:
        """The number of each word's tag, shape (rows, words of the longest row); -100 behind a row's last word."""
        return np.where(np.isnan(outputs[..., 0]), IGNORED, outputs.argmax(axis=-1))

    def answers(self, outputs: Values) -> list[tuple[Answer, float | None]]:
        """A tag for each word of each row, and no probability."""
        return [(tuple(self.names[t] for t in tags if t != IGNORED), None) for tags in self.predict(outputs).tolist()]

    def counts(self, metric: str, labels: Values, outputs: Values) -> Values:
        """Right, predicted and true, of words or of entities, of each row."""
        predicted = self.predict(outputs)
        if metric == "accuracy":
            words = (labels != IGNORED).sum(1)
            return np.stack([((labels == predicted) & (labels != IGNORED)).sum(1), words, words], axis=1)
        return np.array([matches(self._entities(p), self._entities(t)) for p, t in zip(predicted, labels, strict=True)])

    def _entities(self, tags: Values) -> set[Any]:
        from seqeval.metrics.sequence_labeling import get_entities

        return set(get_entities([self.names[t] for t in tags if t != IGNORED]))


def _of_words(shape: object) -> Any:
    return Annotated[GenericAlias(list, (shape,)), Field(min_length=1)]


def _filled(rows: list[Values], fill: float) -> Values:
    width = max(len(r) for r in rows)
    return np.stack([np.pad(r, [(0, width - len(r)), *[(0, 0)] * (r.ndim - 1)], constant_values=fill) for r in rows])
