"""Several tasks on one encoder, as the one task that the rest of edgeopt works on.

A row's texts begin with the name of its task. A label is (number of the task, label). An output is the number of the
task, then what its head answers, filled up with zeros. So every row says itself whose it is, and nothing is measured
before labels and outputs agree on that.

A task's own class reads its rows, encodes them and measures them: it is given its own rows alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from edgeopt.models.heads import CLASS, Head, as_json, combined, heads_of
from edgeopt.models.source import CONFIG
from edgeopt.spec.recipe import OneTask, SeveralTasks, TaskSpec
from edgeopt.spec.tasks import TASKS
from edgeopt.statistics.bounds import Bounds
from edgeopt.support.errors import Place, bad_input
from edgeopt.support.reading import Finite
from edgeopt.support.words import meant
from edgeopt.tasks import columns
from edgeopt.tasks.base import Answer, Label, Rows, Task, Texts, Values
from edgeopt.tasks.encode import Encoder, Features, Ids
from edgeopt.tasks.losses import LabelLoss
from edgeopt.tasks.several_losses import PartLoss, SeveralLosses

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from edgeopt.models.anatomy import Anatomy
    from edgeopt.spec.recipe import Training
    from edgeopt.tasks.split import Split

#: The key of a row, for `predict`, that names its task.
TASK = "task"


class Several(Task):
    """Several tasks, each a text classification or regression, with one encoder and a head each."""

    auto_class: ClassVar[str] = "AutoModel"
    known_metrics: ClassVar[tuple[str, ...]] = ()
    default_metrics: ClassVar[tuple[str, ...]] = ()
    several: ClassVar[bool] = True
    softmax: ClassVar[bool] = False
    sliced: ClassVar[bool] = False
    takes_prefix: ClassVar[bool] = False
    reads: ClassVar[str | None] = "a text, or two"

    def __init__(self, spec: TaskSpec, names: Sequence[str] = (), *, stated: bool = True) -> None:
        super().__init__(spec, names, stated=stated)
        assert isinstance(spec, SeveralTasks)
        self.specs: dict[str, OneTask] = spec.parts
        self._parts = {
            name: cast(type[Task], TASKS[part.type])(part, own_classes(name, names), stated=stated)
            for name, part in spec.parts.items()
        }

    @property
    def parts(self) -> Mapping[str, Task]:
        return self._parts

    @cached_property
    def _listed(self) -> list[Task]:
        return [*self.parts.values()]

    @cached_property
    def task_heads(self) -> tuple[Head, ...]:
        """The heads, in the order of the tasks' numbers."""
        return tuple(Head(name, self.specs[name].head, part.outputs or 1) for name, part in self.parts.items())

    def number_of(self, name: str) -> int:
        """The number of a task. Raises ValueError where there is none of that name."""
        return [*self.parts].index(name)

    # rows

    def label(self, raw: object, place: Place) -> Label:
        raise NotImplementedError("rows of several tasks are read by each task's own class")

    @property
    def query_texts(self) -> int:
        return 1 + max(len(part.columns) for part in self.specs.values())

    @property
    def query_columns(self) -> tuple[str, ...]:
        return (TASK,)

    def read_query(self, given: object, place: Place) -> Texts:
        """The texts of a row, behind the name of its task.

        given: a mapping with `task` and that task's columns, or a list of the task's name and its texts.
        """
        rest: object = given
        if isinstance(given, Mapping):
            columns.require(given, (TASK,), place)
            name = given[TASK]
        elif isinstance(given, list | tuple) and len(given) > 1:
            name, rest = given[0], given[1] if len(given) == 2 else list(given[1:])
        else:
            raise bad_input(
                "E304",
                f"a row of several tasks says whose it is, and this is {columns.short(given)}",
                place=place,
                help=f"give {{task: …}} with the columns of that task; tasks: {', '.join(self.parts)}",
            )
        if not isinstance(name, str) or name not in self.parts:
            message = f"there is no task {columns.short(name)}"
            raise bad_input("E304", message, place=place, help=meant(str(name), self.parts, "tasks"))
        return (name, *self.parts[name].read_query(rest, place))

    def queries(self, texts: Sequence[Texts]) -> list[Texts]:
        return [query for name, *row in texts for query in self._sequences(name, tuple(row))]

    def _sequences(self, name: str, texts: Texts) -> list[Texts]:
        return [texts] if self.specs[name].head == "pair" else [(text,) for text in texts]

    def documents(self, labels: Sequence[Any]) -> tuple[int, ...]:
        return ()

    # model

    @property
    def head(self) -> str:
        return CLASS

    @property
    def outputs(self) -> int | None:
        return None

    @property
    def graph_outputs(self) -> tuple[str, ...]:
        return ("logits", *(f"logits_{head.name}" for head in self.task_heads))

    def graph_axes(self, output: str) -> dict[int, str]:
        return {0: "batch"}

    def exported(self, model: Any, given: Mapping[str, Any]) -> tuple[torch.Tensor, ...]:
        """What all heads give side by side, and what each gives by itself."""
        import torch

        logits = model(**given).logits
        rest = logits.shape[-1] - sum(head.width(0) for head in self.task_heads)
        cosines = sum(head.kind == "cosine" for head in self.task_heads)
        widths = [head.width(rest // cosines if cosines else 0) for head in self.task_heads]
        return (logits, *torch.split(logits, widths, dim=-1))

    def head_options(self) -> dict[str, Any]:
        return {}

    def takes(self, anatomy: Anatomy) -> bool:
        return not anatomy.has_decoder

    def made(self) -> Mapping[str, Any]:
        return {"heads": [[head.name, head.kind, head.outputs] for head in self.task_heads]}

    def key(self) -> Mapping[str, Any]:
        parts = {
            name: {"max_length": part.max_length, "weight": part.weight, "selection": part.selection}
            for name, part in self.specs.items()
        }
        return {**super().key(), "parts": parts}

    def load(self, folder: Path) -> tuple[PreTrainedModel, list[str], list[str]]:
        from edgeopt.models import shared

        told = heads_of(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        if told and told != self.task_heads:
            raise bad_input(
                "E316",
                f"the model was trained for the tasks {_said(told)}, and the recipe has {_said(self.task_heads)}",
                place=Place.of(folder / CONFIG),
                help="give `tasks` the same names, heads and classes in the same order, or start from the bare encoder",
            )
        return shared.load(folder, as_json(self.task_heads), self.names)

    # features

    def encode(self, encoder: Encoder, texts: Sequence[Texts]) -> Features:
        found: dict[int, list[Ids]] = {}
        for name, part in self.parts.items():
            own = [(row, tuple(rest)) for row, (whose, *rest) in enumerate(texts) if whose == name]
            sequences = [(row, read) for row, rest in own for read in self._sequences(name, rest)]
            reader = encoder.cut_to(self.specs[name].max_length)
            ids = part.encode(reader, [read for _, read in sequences]).ids if sequences else []
            for (row, _), each in zip(sequences, ids, strict=True):
                found.setdefault(row, []).append(each)
        flat = [(row, each) for row in sorted(found) for each in found[row]]
        return Features(
            [each for _, each in flat],
            [row for row, _ in flat],
            tasks=[self.number_of(name) for name, *_ in texts],
        )

    def training_rows(
        self, encoder: Encoder, split: Split, accepted: Collection[str]
    ) -> tuple[list[dict[str, Any]], Features]:
        """One query a row, of all its sequences, with the number of its task."""
        features = self.encode(encoder, split.texts)
        found: list[list[Ids]] = [[] for _ in split.texts]
        for row, ids in zip(features.rows, features.ids, strict=True):
            found[row].append(ids)
        rows = []
        for sequences, label in zip(found, split.labels, strict=True):
            whole = {n: v.tolist() for n, v in encoder.pad(sequences).items()} if len(sequences) > 1 else sequences[0]
            rows.append({**{n: v for n, v in whole.items() if n in accepted}, "tasks": label[0], "labels": label})
        return rows, Features(rows, list(range(len(rows))))

    def collator(self, encoder: Encoder) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
        """A function that makes a batch of rows: where one has two sequences all get two, and a head reads its own."""
        import torch

        plain = super().collator(encoder)

        def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
            texts = max(_texts(row) for row in rows)
            batch = plain(rows if texts == 1 else [_as_several(row, texts) for row in rows])
            return {**batch, "tasks": torch.tensor([row["tasks"] for row in rows])}

        return collate

    def label_batch(self, labels: list[Any], width: int) -> Values:
        return np.array(labels, dtype=np.float32)

    def class_numbers(self, labels: Sequence[Any]) -> Sequence[int]:
        return ()

    def training_loss(
        self, params: Training, weights: Sequence[float] | None, labels: Sequence[Any]
    ) -> LabelLoss | None:
        return self._losses(labels, params.label_smoothing)

    def label_loss(self, weights: Sequence[float] | None = None, smoothing: float = 0.0) -> LabelLoss:
        return self._losses((), smoothing)

    def mean_loss(self, model: PreTrainedModel, batch: dict[str, Any], labels: Sequence[Any]) -> torch.Tensor:
        return self._losses(labels, 0.0)({"logits": model(**batch).logits}, batch["labels"])

    def _losses(self, labels: Sequence[Any], smoothing: float) -> SeveralLosses:
        """The loss of each task on its own rows. labels: of all rows, by which cosines know the range of scores."""
        found = []
        for number, (head, part) in enumerate(zip(self.task_heads, self._listed, strict=True)):
            scores = [label for task, label in labels if task == number]
            low, high = (min(scores, default=0.0), max(scores, default=1.0)) if head.kind == "cosine" else (0.0, 1.0)
            loss = part.label_loss(None, smoothing if part.has_classes else 0.0)
            found.append(PartLoss(loss, self.specs[head.name].weight, head.outputs, part.has_classes, low, high))
        return SeveralLosses(found)

    def answer_numbers(self, folder: Path) -> int:
        return 1 + max(head.outputs for head in self.task_heads)

    # outputs

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
            found[rows] = self._listed[number].predict(self._own(number, outputs[rows]))
        return found

    def answers(self, outputs: Values) -> list[tuple[Answer, float | None]]:
        found: list[tuple[Answer, float | None]] = [(None, None)] * len(outputs)
        for number, rows in self._by_task(outputs):
            told = self._listed[number].answers(self._own(number, outputs[rows]))
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
            if (flips := self._listed[number].flips(self._own(number, before[rows]), self._own(number, after[rows])))
        ]
        return (sum(changed for changed, _ in found), sum(of for _, of in found)) if found else None

    # metrics

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


def own_classes(name: str, names: Sequence[str]) -> list[str]:
    """The classes of one task, of the names of all tasks' classes."""
    return [each.removeprefix(f"{name}.") for each in names if each.startswith(f"{name}.")]


def _said(heads: Sequence[Head]) -> str:
    return ", ".join(f"{head.name} ({head.kind}, {head.outputs})" for head in heads)


def _texts(row: Mapping[str, Any]) -> int:
    """Sequences of a row of a training."""
    ids = row["input_ids"]
    return len(ids) if isinstance(ids[0], list) else 1


def _as_several(row: dict[str, Any], texts: int) -> dict[str, Any]:
    """A row with as many sequences, the last ones copies that no head reads."""
    if _texts(row) == texts:
        return row
    return {k: [v] * texts if isinstance(v, list) else v for k, v in row.items()}
