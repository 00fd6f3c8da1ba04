"""Rows that have no label: left out where the recipe says how they are marked, else refused with their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeopt.support.errors import Place, bad_input
from edgeopt.tasks import Task
from edgeopt.tasks.columns import SCALAR, Cells, Raw, value

#: What stands in the place of a label that is not there: in SNLI, and in the test splits of the hub.
_USUAL = "-1"
#: Types of labels that are hashed.
_PLAIN = {str, int, float, bool}


class Labeled:
    """Reads the rows of a split that have a label. left_out: how many had none."""

    def __init__(self, task: Task) -> None:
        spec = task.spec
        self.task, self.column, self.stated = task, task.label_column, spec.missing_label is not None
        self.mark: str | None = value(spec.missing_label) if self.stated else None
        if not self.stated and task.has_labels and task.has_classes and _USUAL not in map(value, spec.labels or ()):
            self.mark = _USUAL
        self.left_out = self.read = 0
        self.first: Place | None = None
        self._known: dict[Any, bool] = {}

    def __call__(self, row: Cells, place: Place) -> Sequence[Raw]:
        """The task's rows of a row of the data; none where it has no label. Raises InputError E303 or E304."""
        self.read += 1
        if self.mark is not None and self._is_missing(self._label(row)):
            self.left_out += 1
            self.first = self.first or place
            return ()
        return self.task.read_all(row, place)

    def at_once(self, rows: Sequence[Cells], places: Sequence[Place]) -> Sequence[Raw] | None:
        """What calls would give for all these rows; None where a row has no label, or must be looked at by itself."""
        found = self.task.read_plain(rows, places)
        if found is None:
            return None
        if self.mark is not None:
            labels = [label for _, label, _ in found]
            if not set(map(type, labels)) <= _PLAIN or any(map(self._is_missing, set(labels))):
                return None
        self.read += len(rows)
        return found

    def _label(self, row: Cells) -> Any:
        """What stands in the label's column, or in all of several; something that is no label where there is none."""
        several = self.task.spec.label_columns
        return [row.get(column) for column in several] if len(several) > 1 else row.get(self.column, self)

    def _is_missing(self, label: Any) -> bool:
        """Whether it is the mark, or tags of which one is."""
        if isinstance(label, list | tuple):
            return any(self._is_missing(tag) for tag in label)
        if not isinstance(label, SCALAR):
            return value(label) == self.mark
        if label not in self._known:  # 1, 1.0 and true are one here too
            self._known[label] = value(label) == self.mark
        return self._known[label]

    def check(self, split: str) -> None:
        """Raises InputError E327 where rows without a label were read and the recipe does not say what they are."""
        if not self.left_out or self.stated:
            return
        every = self.left_out == self.read
        help = (
            "the hub hides the labels of its test splits: report on a split with labels, task.report: validation"
            if every
            else "`task.missing_label: -1` leaves these rows out; if -1 is a class, name all classes in task.labels"
        )
        of = f"all {self.read} rows" if every else f"{self.left_out} of {self.read} rows"
        raise bad_input(
            "E327",
            f"the label of {of} of the {split} split is -1, which means no label",
            place=self.first,
            help=help,
        )
