"""What the heads answer: a row's own answer of its sequences' outputs, as words, and as JSON has it and back.

An output is the number of the task, then what its head answers, filled up with zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from edgeopt.models.heads import combined
from edgeopt.support.reading import Finite
from edgeopt.tasks.base import Answer, Values
from edgeopt.tasks.encode import Features
from edgeopt.tasks.several.parts import Parts


class Answers(Parts):
    """Gives each row the answer of its own task's head."""

    def gather(self, outputs: Sequence[Values], features: Features) -> Values:
        """(rows, 1 + the most outputs of a head): see the module."""
        if features.tasks is None:  # a training's model has put them together
            return np.stack([np.asarray(output, dtype=np.float32) for output in outputs])
        by_row: dict[int, list[Values]] = {}
        for row, output in zip(features.rows, outputs, strict=True):
            by_row.setdefault(row, []).append(np.asarray(output))
        return np.stack([self._combined(features.tasks[row], given) for row, given in sorted(by_row.items())])

    def _combined(self, number: int, given: list[Values]) -> Values:
        """The answer of a row of one task. given: what all heads gave for each of its sequences."""
        begin, end = self._place(number, given[0].shape[-1])
        head, own = self.task_heads[number], [each[begin:end] for each in given]
        answer = own[0] if head.kind == "pair" else combined(head.kind, head.outputs, *own)
        row = np.zeros(1 + max(each.outputs for each in self.task_heads), dtype=np.float32)
        row[0], row[1 : 1 + head.outputs] = number, answer
        return row

    def _place(self, number: int, whole: int) -> tuple[int, int]:
        """Where a head's numbers stand among those of all heads."""
        fixed, cosines = (
            sum(head.width(0) for head in self.task_heads),
            sum(h.kind == "cosine" for h in self.task_heads),
        )
        hidden = (whole - fixed) // cosines if cosines else 0
        ends = [*accumulate((head.width(hidden) for head in self.task_heads), initial=0)]
        return ends[number], ends[number + 1]

    def stack(self, outputs: Sequence[Any]) -> Values:
        """One array of the rows' outputs, also of those that were written as `{task: numbers}` and read back."""
        if not isinstance(outputs[0], Mapping):
            return super().stack(outputs)
        found = np.zeros((len(outputs), 1 + max(head.outputs for head in self.task_heads)), dtype=np.float64)
        for row, output in zip(found, outputs, strict=True):
            ((name, numbers),) = output.items()
            row[0], row[1 : 1 + len(numbers)] = self.number_of(name), numbers
        return found

    def stack_labels(self, labels: Sequence[Any]) -> Values:
        plain = [self._read_back(label) if isinstance(label, Mapping) else label for label in labels]
        return np.array(plain, dtype=float).reshape(-1, 2)

    def _read_back(self, label: Mapping[str, Any]) -> tuple[int, float]:
        ((name, value),) = label.items()
        return self.number_of(name), value

    def shown(self, output: Any) -> Any:
        return output[1 : 1 + self.task_heads[int(output[0])].outputs]

    def plain_label(self, label: Any) -> object:
        name = self.task_heads[int(label[0])].name
        return {name: int(label[1]) if self.parts[name].has_classes else float(label[1])}

    def plain_output(self, output: Any, label: object) -> object:
        head = self.task_heads[int(output[0])]
        return {head.name: [float(x) for x in output[1 : 1 + head.outputs]]}

    @property
    def output_shape(self) -> Any:
        return dict[str, list[float]]

    @property
    def label_shape(self) -> Any:
        return dict[str, int | Finite]

    def fits(self, label: object, output: object) -> bool:
        """Whether both are of one task, and a label and an output of its own."""
        assert isinstance(label, dict) and isinstance(output, dict)
        (name,), (same,) = ((*each,) if len(each) == 1 else ("",) for each in (label, output))
        if name != same or name not in self.parts:
            return False
        head, part, value = self.task_heads[self.number_of(name)], self.parts[name], label[name]
        known = not part.has_classes or (isinstance(value, int) and 0 <= value < head.outputs)
        return known and len(output[name]) == head.outputs

    def predict(self, outputs: Values) -> Values:
        """The class numbers or scores that the outputs stand for, of all tasks."""
        found = np.zeros(len(outputs))
        for number, rows in self._by_task(outputs):
            found[rows] = self.listed[number].predict(self._own(number, outputs[rows]))
        return found

    def answers(self, outputs: Values) -> list[tuple[Answer, float | None]]:
        found: list[tuple[Answer, float | None]] = [(None, None)] * len(outputs)
        for number, rows in self._by_task(outputs):
            told = self.listed[number].answers(self._own(number, outputs[rows]))
            for row, answer in zip(rows.tolist(), told, strict=True):
                found[row] = answer
        return found

    def _by_task(self, outputs: Values) -> list[tuple[int, Values]]:
        rows = [np.flatnonzero(outputs[:, 0] == number) for number in range(len(self.task_heads))]
        return [(number, each) for number, each in enumerate(rows) if len(each)]

    def _own(self, number: int, outputs: Values) -> Values:
        return outputs[:, 1 : 1 + self.task_heads[number].outputs]

    def flips(self, before: Values, after: Values) -> tuple[int, int] | None:
        """Those of the tasks that have classes, added up."""
        found = [
            flips
            for number, rows in self._by_task(before)
            if (flips := self.listed[number].flips(self._own(number, before[rows]), self._own(number, after[rows])))
        ]
        return (sum(changed for changed, _ in found), sum(of for _, of in found)) if found else None
