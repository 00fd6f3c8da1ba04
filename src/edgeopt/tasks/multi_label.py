"""Any number of classes for a text or for a pair of texts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from edgeopt.statistics.bootstrap import bootstrap
from edgeopt.statistics.bounds import Bounds, accuracy_difference, paired_proportions
from edgeopt.statistics.metric_bounds import most_unseen, no_narrower, proportion
from edgeopt.statistics.roc import mean_area
from edgeopt.support.errors import Place, bad_input
from edgeopt.support.words import is_integer
from edgeopt.tasks import columns
from edgeopt.tasks.base import Answer, Task, Texts, Values
from edgeopt.tasks.counted import ratio
from edgeopt.tasks.losses import BinaryCrossEntropy, LabelLoss

if TYPE_CHECKING:
    from collections.abc import Callable

#: What cells that say yes or no hold, as `columns.value` writes them.
_YES_OR_NO = {"0": False, "1": True, "false": False, "true": True}
_ACCURACY, _AREA = "accuracy", "roc_auc"


class MultiLabel(Task):
    """None, one or several classes for a text or a pair: one logit a class, which says yes or no by itself.

    A class is answered where the sigmoid of its logit is above the task's `threshold`. A label is a tuple of class
    numbers in their order, and in arrays a row of 0 and 1. accuracy is the share of rows whose classes are all right;
    f1_micro, f1_macro and f1_samples are scikit-learn's with zero_division=0, and roc_auc is the mean over the classes
    that some rows have and some do not.
    """

    auto_class: ClassVar[str] = "AutoModelForSequenceClassification"
    known_metrics: ClassVar[tuple[str, ...]] = ("f1_micro", "f1_macro", "f1_samples", _ACCURACY, _AREA)
    default_metrics: ClassVar[tuple[str, ...]] = ("f1_micro", "f1_macro")
    windowed: ClassVar[bool] = True
    names_outputs: ClassVar[bool] = True
    softmax: ClassVar[bool] = False
    one_output: ClassVar[bool] = True
    one_query: ClassVar[bool] = True
    several_classes: ClassVar[bool] = True
    told_by_outputs: ClassVar[bool] = True
    pipeline: ClassVar[str | None] = "text-classification"

    # rows

    def read(self, row: columns.Cells, place: Place) -> columns.Raw:
        """The texts of a row, and its list of classes or of 0 and 1; of a column each, the names of those with 1."""
        names = self.spec.label_columns
        columns.require(row, (*self.columns, *names), place)
        label = row[names[0]] if len(names) == 1 else tuple(n for n in names if _yes(row[n], n, place))
        return self.texts(row, place), label, place

    def read_plain(self, rows: Sequence[columns.Cells], places: Sequence[Place]) -> list[columns.Raw] | None:
        return None  # lists and columns are looked at one by one

    def blank(self, texts: Texts) -> tuple[int, ...]:
        return ()

    def classes(self, rows: Sequence[columns.Raw], given: Sequence[str] | None) -> list[str]:
        """The names given or the columns', or those that the rows have; of rows of 0 and 1 their numbers."""
        if len(self.spec.label_columns) > 1:
            return list(self.spec.label_columns)
        width = _marked(rows)
        if width and given and len(given) != width:
            what = f"the label has {width} values of 0 or 1, and there are names for {len(given)} classes"
            raise bad_input("E304", what, place=rows[0][2], help="name each class in task.labels, in their order")
        if given:
            return list(given)
        if width:
            return [str(number) for number in range(width)]
        return columns.classes_of((name, place) for _, raw, place in rows for name in _listed(raw, place))

    def label(self, raw: object, place: Place) -> tuple[int, ...]:
        listed = _listed(raw, place)
        numbers = [self.number(name, place) for name in listed]
        if len(set(numbers)) < len(numbers):
            what = f"the label has a class twice: {columns.short(raw)}"
            help = f"list each class once, or give a 0 or 1 for each of the {len(self.names)} classes"
            raise bad_input("E304", what, place=place, help=help)
        return tuple(sorted(numbers))

    def labels(self, rows: Sequence[columns.Raw]) -> tuple[tuple[int, ...], ...]:
        """The classes of each row. All rows of a split have lists of classes, or all have a 0 or 1 for each class."""
        width = _marked(rows) if len(self.spec.label_columns) == 1 else 0
        if width:
            self._ordered(width, rows[0])
            return tuple(tuple(n for n, cell in enumerate(raw) if _mark(cell)) for _, raw, _ in rows)
        if len(self.names) == 2 and all(is_integer(name) for name in self.names):
            self._certain(rows)
        return super().labels(rows)  # type: ignore[return-value]

    def _ordered(self, width: int, row: columns.Raw) -> None:
        """Raises InputError E304 where nothing says which class each 0 or 1 of a list stands for."""
        shown = ", ".join(self.names[:20])
        if width != len(self.names):
            what = f"the label has {width} values of 0 or 1, and there are {len(self.names)} classes: {shown}"
            raise bad_input("E304", what, place=row[2], help="give every row a 0 or 1 for each class, or their names")
        if not self.stated and not all(map(is_integer, self.names)):
            what = f"it is not known which of the classes {shown} each 0 or 1 of {columns.short(row[1])} stands for"
            raise bad_input("E304", what, place=row[2], help="list the classes in that order in task.labels")

    def _certain(self, rows: Sequence[columns.Raw]) -> None:
        """Raises InputError E304 where [0, 1] could be two classes as well as a no and a yes."""
        for _, raw, place in rows:
            if len(_listed(raw, place)) == 2:
                what = f"{columns.short(raw)} may be both classes, or a no and a yes, as lists differ in length"
                raise bad_input("E304", what, place=place, help="write the classes' names in place of 0 and 1")

    # model

    def head_options(self) -> dict[str, Any]:
        return {**super().head_options(), "problem_type": "multi_label_classification"}

    def class_numbers(self, labels: Sequence[Any]) -> Sequence[int]:
        return [number for row in labels for number in row]

    def label_loss(self, weights: Sequence[float] | None = None, smoothing: float = 0.0) -> LabelLoss:
        return BinaryCrossEntropy(weights, smoothing)

    def label_batch(self, labels: list[Any], width: int) -> Values:
        return self.stack_labels(labels).astype(np.float32)

    # outputs

    def stack_labels(self, labels: Sequence[Any]) -> Values:
        found = np.zeros((len(labels), len(self.names)), dtype=np.int64)
        for row, numbers in enumerate(labels):
            found[row, list(numbers)] = 1
        return found

    def plain_label(self, label: Any) -> list[int]:
        return [int(number) for number in np.flatnonzero(label)]

    @property
    def label_shape(self) -> Any:
        return GenericAlias(list, (Annotated[int, Field(ge=0, lt=len(self.names))],))

    def predict(self, outputs: Values) -> Values:
        """1 for each class that is answered, else 0, shape (rows, classes)."""
        return np.asarray(np.asarray(outputs) > logit(self.spec.cut)).astype(np.int64)

    def answers(self, outputs: Values) -> list[tuple[Answer, float | None]]:
        return [(tuple(self.names[n] for n in np.flatnonzero(row)), None) for row in self.predict(outputs)]

    def trivial(self, labels: Values, outputs: Values) -> dict[str, Values]:
        """Outputs that answer always the same classes: none, all, those of the most rows, and the best for f1_micro."""
        rows, classes = labels.shape
        often = labels.sum(0)
        order = np.argsort(-often, kind="stable")
        scores = [2 * often[order[:k]].sum() / (rows * k + often.sum()) for k in range(1, classes + 1)]
        kinds, counts = np.unique(labels, axis=0, return_counts=True)
        found = {
            "answering no class": np.zeros(classes),
            "answering every class": np.ones(classes),
            "always answering the most frequent classes": np.isin(np.arange(classes), order[: np.argmax(scores) + 1]),
            "always answering as most rows have it": kinds[np.argmax(counts)],
        }
        cut = logit(self.spec.cut)
        return {name: np.tile(np.where(yes, cut + 1.0, cut - 1.0), (rows, 1)) for name, yes in found.items()}

    # metrics

    def measure(self, metric: str, labels: Values, outputs: Values) -> float:
        return float(self._statistic(metric, labels, outputs)(np.ones((1, len(labels))))[0])

    def difference(self, metric: str, labels: Values, base: Values, candidate: Values, confidence: float) -> Bounds:
        if metric == _ACCURACY:
            before, after = ((self.predict(x) == labels).all(1) for x in (base, candidate))
            return accuracy_difference(before, after, confidence)
        before, after = (self._statistic(metric, labels, x) for x in (base, candidate))
        unseen = paired_proportions(0, 0, len(labels), confidence).high
        return self._bounds(metric, labels, lambda w: after(w) - before(w), unseen, confidence, -1.0)

    def bounds(self, metric: str, labels: Values, outputs: Values, confidence: float) -> Bounds:
        if metric == _ACCURACY:
            return proportion(self.measure(metric, labels, outputs), len(labels), confidence)
        unseen = most_unseen(0, len(labels), confidence)
        return self._bounds(metric, labels, self._statistic(metric, labels, outputs), unseen, confidence, 0.0)

    def _bounds(
        self,
        metric: str,
        labels: Values,
        statistic: Callable[[Values], Values],
        unseen: float,
        confidence: float,
        least: float,
    ) -> Bounds:
        """Those of a bootstrap, BCa, of the rows, but no narrower than what rows that nobody has seen may do.

        unseen: their share. Where they all are of the rarest class, a mean over classes moves the most.
        """
        if len(labels) == 1:
            return Bounds(float(statistic(np.ones((1, 1)))[0]), least, 1.0)
        found = bootstrap(statistic, np.ones(len(labels)), confidence)
        half = unseen if confidence != 0.5 else 0.0
        if metric in ("f1_macro", _AREA) and half:
            often = labels.sum(0)
            rare = np.minimum(often, len(labels) - often) if metric == _AREA else often
            rarest = int(rare[rare > 0].min(initial=len(labels)))
            half = max(half, min(1.0, half * len(labels) / rarest) / len(often))
        value, low, high = no_narrower(found, half)
        return Bounds(value, max(low, least), min(high, 1.0))

    def _statistic(self, metric: str, labels: Values, outputs: Values) -> Callable[[Values], Values]:
        """The metric of weights on the rows, shape (draws, rows), to (draws,)."""
        if metric == _AREA:
            return mean_area(labels, np.asarray(outputs, dtype=float))
        told = self.predict(outputs)
        if metric == _ACCURACY:
            right = (told == labels).all(1).astype(float)
            return lambda w: w @ right / w.sum(1)
        hit, told, true = (x.astype(float) for x in (told * labels, told, labels))
        if metric == "f1_samples":
            each = ratio(2 * hit.sum(1), told.sum(1) + true.sum(1))
            return lambda w: w @ each / w.sum(1)
        if metric == "f1_micro":
            hit, told, true = (x.sum(1, keepdims=True) for x in (hit, told, true))
        return lambda w: ratio(2 * (w @ hit), w @ told + w @ true).mean(1)

    def unmeasurable(self, metric: str, labels: Values) -> str | None:
        often = labels.sum(0)
        if metric == _AREA and not ((often > 0) & (often < len(labels))).any():
            return f"no class is in some of the {len(labels)} rows and not in others, so that there is no area"
        if metric.startswith("f1") and not often.any():
            return f"none of the {len(labels)} rows has a class, and there is nothing to find"
        return None

    def notes(self, labels: Values, outputs: Values) -> list[str]:
        absent = [name for name, often in zip(self.names, labels.sum(0), strict=True) if not often]
        if not absent:
            return []
        shown = ", ".join(absent[:10]) + (", …" if len(absent) > 10 else "")
        return [f"no row of the report split has {shown}: f1_macro counts 0 for each, and roc_auc leaves them out"]

    def key(self) -> Mapping[str, Any]:
        return {**super().key(), **({"threshold": self.spec.cut} if self.spec.threshold is not None else {})}


def logit(share: float) -> float:
    """The number whose sigmoid is the share, which is between 0 and 1."""
    return math.log(share / (1 - share))


def _listed(raw: object, place: Place) -> Sequence[Any]:
    """The classes of a row's label. Raises InputError E304 where it is no list."""
    if isinstance(raw, list | tuple):
        return raw
    help = (
        "give a list of class names, as jsonl and parquet files hold it, or one column of 0 and 1 for each class: "
        "task.label: [one, other, …]"
    )
    raise bad_input("E304", f"the label is no list: {columns.short(raw)}", place=place, help=help)


def _mark(cell: object) -> bool | None:
    """What a 0 or 1 says; None where a cell is neither."""
    if not isinstance(cell, columns.SCALAR):
        return None
    return _YES_OR_NO.get(columns.value(cell).lower())


def _marked(rows: Sequence[columns.Raw]) -> int:
    """How many values of 0 or 1 every label of the rows has; 0 where they are lists of classes."""
    width = len(_listed(rows[0][1], rows[0][2])) if rows else 0
    same = width > 1 and all(
        len(_listed(raw, place)) == width and all(_mark(cell) is not None for cell in raw) for _, raw, place in rows
    )
    return width if same else 0


def _yes(cell: object, column: str, place: Place) -> bool:
    found = _mark(cell)
    if found is None:
        what = f"column '{column}' has {columns.short(cell)}, and must have 0 or 1"
        raise bad_input("E304", what, place=place, help="each column of task.label says whether a row has that class")
    return found
