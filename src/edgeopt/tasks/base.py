"""What a task is: how rows become model inputs, what the outputs mean, and how they are measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from edgeopt.models.anatomy import FAMILIES, Anatomy, family
from edgeopt.spec.recipe import TaskSpec
from edgeopt.statistics.bounds import Bounds
from edgeopt.statistics.bounds import Values as Values
from edgeopt.statistics.metric_bounds import FEWEST_SCORES
from edgeopt.statistics.power import scaled
from edgeopt.support.errors import Place, bad_input, step_failed
from edgeopt.tasks import columns
from edgeopt.tasks.encode import Encoder, Features, Ids, length
from edgeopt.tasks.losses import LabelLoss, WeightedCrossEntropy

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from edgeopt.spec.recipe import Training
    from edgeopt.tasks.split import Split

Texts = tuple[str, ...]
Feed = dict[str, Values]
Run = Callable[[Feed], Values]
#: What a model says of a row: a class, a tag for each word, a score, or a text, None where it could write none.
Answer = str | float | tuple[str, ...] | None
#: A checked label: a class, a score, a text, a number for each of the row's parts, or relevant passages with grades.
Label = str | float | tuple[Any, ...]
#: A label that the loss leaves out.
IGNORED = -100


class Rows(NamedTuple):
    """The rows of one of several tasks. numbers: where they stand among all rows."""

    task: Task
    labels: Values
    outputs: list[Values]
    numbers: Values


class Task(ABC):
    """Base of every task: how it reads rows, encodes them, and measures what a model gives for them.

    names: the classes, in the order of their numbers, as the train split or the recipe has them. A row is a tuple of
    texts and a label. `encode` makes queries of rows, the model gives an output for each query, and `gather` makes one
    output a row of them. Labels and outputs of a split are arrays whose first axis is the rows.
    """

    #: The class of transformers that brings the head.
    auto_class: ClassVar[str]
    #: Raise it when the same rows give another result: it is part of the keys.
    version: ClassVar[int] = 1
    #: Distributions that must be installed.
    needs: ClassVar[tuple[str, ...]] = ()
    #: Axes of the logits that the exported graph keeps open, besides those of the inputs.
    output_axes: ClassVar[dict[int, str]] = {0: "batch"}
    #: Whether the head's outputs are the classes by their names, and so may stand in another order than the rows'
    #: classes.
    names_outputs: ClassVar[bool] = False
    #: Whether a row's text is a list of words.
    reads_words: ClassVar[bool] = False
    #: Whether a checkpoint is selected by its loss, because the metrics would take too long.
    selects_by_loss: ClassVar[bool] = False
    #: Whether a label that is missing is marked in the rows' label column, and so can be left out.
    has_labels: ClassVar[bool] = True
    #: What it can be measured by, and by default: words of `task.metrics`. Each is the larger the better the model is,
    #: and from 0 to 1 unless `ranges` says from -1.
    known_metrics: ClassVar[tuple[str, ...]]
    default_metrics: ClassVar[tuple[str, ...]]
    #: The least and the most that a metric can be, where that is not 0 and 1.
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
    #: What rows without labels can be measured by; empty: there must be labels.
    unlabelled_metrics: ClassVar[tuple[str, ...]] = ()
    #: What it can be measured by where its rows are searched for in a corpus; empty: it takes none.
    searched_metrics: ClassVar[tuple[str, ...]] = ()
    #: Losses that a recipe may name on each row, or on pairs of texts.
    point_losses: ClassVar[tuple[str, ...]] = ()
    #: Whether rows are the passages of queries, which a column may tell.
    grouped: ClassVar[bool] = False
    #: Metrics that compare with the baseline's outputs, whatever a gate's bound.
    beside_baseline: ClassVar[tuple[str, ...]] = ()
    #: Whether what the model gives for a text is its embedding, and each text of a row is read by itself.
    embeds: ClassVar[bool] = False
    #: Whether it stands for several tasks on one encoder.
    several: ClassVar[bool] = False
    #: What a file of answers calls the outputs, where they are the answer; None: answers are words or scores.
    vector: ClassVar[str | None] = None
    #: Files of the model's folder, besides graph and tokenizer, that whoever asks the model needs where they are there.
    files: ClassVar[tuple[str, ...]] = ()
    #: Which heads it may have beside others on a shared encoder; empty: it cannot share one. No class inherits them.
    heads: ClassVar[tuple[str, ...]] = ()
    #: Whether parts of the rows are measured apart.
    sliced: ClassVar[bool] = True
    #: Whether long texts may be read in windows, whose outputs are averaged.
    windowed: ClassVar[bool] = False
    #: Whether a label is one of several classes, or several of them.
    has_classes: ClassVar[bool] = True
    #: Whether a row has one output, a score.
    scores: ClassVar[bool] = False
    #: Whether the logits of a row, or of a token, are those of one class among several, as softmax takes them.
    softmax: ClassVar[bool] = True
    #: Whether a row may have any number of classes, each of which is a yes or no.
    several_classes: ClassVar[bool] = False
    #: Whether a row's answer is one class, with a probability of each.
    one_class: ClassVar[bool] = False
    #: Whether a text, or a choice, has one output, where otherwise each of its tokens has one.
    one_output: ClassVar[bool] = False
    #: Whether a row's texts are one query with one output, as sequence classification is served everywhere.
    one_query: ClassVar[bool] = False
    #: Whether the texts are such as one types, neither marked nor in pieces.
    typed: ClassVar[bool] = False
    #: Whether a row has choices, of which each is read with its question.
    has_choices: ClassVar[bool] = False
    #: Whether the model has a decoder beside its encoder.
    has_decoder: ClassVar[bool] = False
    #: Whether the answer is a text that the model writes.
    writes: ClassVar[bool] = False
    #: Whether a query has no other axes than batch and sequence.
    flat: ClassVar[bool] = True
    #: Whether the model hands keys and values from outside on to its encoder.
    takes_prefix: ClassVar[bool] = True
    #: Whether the number of outputs of a checkpoint's trained head tells if it was trained for the like.
    told_by_outputs: ClassVar[bool] = False
    #: Why the model cannot be asked about texts without labels; None where it can.
    annotated: ClassVar[str | None] = None
    #: What the model reads, as its card says it; None: a text, or two.
    reads: ClassVar[str | None] = None
    #: What the hub calls the task; None where it has no word for it.
    pipeline: ClassVar[str | None] = None

    def __init__(self, spec: TaskSpec, names: Sequence[str] = (), *, stated: bool = True) -> None:
        """Make the task of a recipe's `task`.

        stated: whether the order of the names was stated, so that a number in the data may stand for one; not where
        they were found in the rows.
        """
        self.spec, self.names, self.stated = spec, tuple(names), stated
        self.columns, self.label_column = spec.columns, spec.label if isinstance(spec.label, str) else ""

    # rows

    def read(self, row: columns.Cells, place: Place) -> columns.Raw:
        """The texts of a row and its raw label. Raises InputError E303 or E304."""
        try:
            texts, label = self.texts(row, place), row[self.label_column] if self.label_column else None
        except KeyError:
            columns.require(row, (*self.columns, *filter(None, [self.label_column])), place)
            raise
        if isinstance(label, str) and not label.isascii():
            columns.whole(label, self.label_column, place)
        return texts, label, place

    def texts(self, row: columns.Cells, place: Place) -> Texts:
        """The texts of a row that has their columns. Raises InputError E304."""
        return tuple([columns.text(row[c], c, place) for c in self.columns])

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that the model reads texts of, those of a query first."""
        return self.spec.columns

    def read_query(self, given: object, place: Place) -> Texts:
        """The texts of a row as a program gives it.

        given: a text, several in the order of the recipe's columns, or a mapping from columns. Raises InputError E303
        or E304.
        """
        names = self.spec.columns
        if isinstance(given, Mapping):
            row = given
        elif len(names) == 1:
            row = {names[0]: given}
        elif isinstance(given, list | tuple) and len(given) == len(names):
            row = dict(zip(names, given, strict=True))
        else:
            raise bad_input(
                "E304",
                f"a row of this task is ({', '.join(names)}), and this is {columns.short(given)}",
                place=place,
                help="give a tuple",
            )
        columns.require(row, names, place)
        return self.texts(row, place)

    def over(self, spec: TaskSpec) -> Task:
        """The task that reads its rows' texts from other columns."""
        return type(self)(spec, self.names)

    def read_unlabelled(self, row: columns.Cells, place: Place) -> Sequence[columns.Raw]:
        """The rows of the task that a row of the data gives whose label, if it has one, is not read.

        Raises InputError E303 or E304.
        """
        columns.require(row, self.spec.columns, place)
        return [(self.texts(row, place), None, place)]

    def blank(self, texts: Texts) -> Label:
        """What stands in the place of the label where a row has none; no loss may look at it."""
        return 0

    def read_all(self, row: columns.Cells, place: Place) -> Sequence[columns.Raw]:
        """The rows of the task that a row of the data gives: one, unless the data are documents."""
        return [self.read(row, place)]

    def read_plain(self, rows: Sequence[columns.Cells], places: Sequence[Place]) -> list[columns.Raw] | None:
        """The rows of the task that `read_all` gives for all these rows, where each is right at first sight; else None.

        It is a few times as quick as reading them one by one, and says nothing of what is wrong.
        """
        if any(getattr(type(self), name) is not getattr(Task, name) for name in ("read_all", "read", "texts")):
            return None
        try:
            texts = [[row[column] for row in rows] for column in self.columns]
            labels: list[Any] = [row[self.label_column] if self.label_column else None for row in rows]
        except KeyError:
            return None
        kinds = set(map(type, labels))
        if not all(map(columns.plain, texts)) or (str in kinds and not (kinds == {str} and columns.encodable(labels))):
            return None
        return list(zip(zip(*texts, strict=True), labels, places, strict=True))

    def classes(self, rows: Sequence[columns.Raw], given: Sequence[str] | None) -> list[str]:
        """Names of the classes: those given, or else those that the rows of train have.

        Empty where the task has none.
        """
        return []

    def spelled(self, rows: Sequence[columns.Raw]) -> list[str]:
        """Names or numbers of the classes that the rows have, where the outputs are named."""
        return self.classes(rows, None)

    @abstractmethod
    def label(self, raw: object, place: Place) -> Label:
        """The checked label as plain data. raw: as `read` gives it. Raises InputError E304."""

    def labels(self, rows: Sequence[columns.Raw]) -> tuple[Label, ...]:
        """The checked labels of a split's rows. Raises InputError E304."""
        return tuple([self.label(label, place) for _, label, place in rows])

    @cached_property
    def number(self) -> columns.ClassNumbers:
        """Finds the number of a class from a label."""
        return columns.ClassNumbers(self.names, by_number=self.stated)

    def documents(self, labels: Sequence[Any]) -> tuple[int, ...]:
        """The document of each row, where the rows of a document are no use apart; else nothing."""
        return ()

    def check(self, rows: Sequence[columns.Raw]) -> None:  # noqa: B027  most tasks have nothing to check
        """Raises InputError E304 for a row that does not fit the classes."""

    # model

    @property
    def head(self) -> str:
        """The end of the name of a model class with the task's head."""
        return self.auto_class.removeprefix("AutoModel")

    @property
    def outputs(self) -> int | None:
        """Outputs that a trained head must have; None where the classes do not decide it."""
        return len(self.names) or 1

    def queries(self, texts: Sequence[Texts]) -> list[Texts]:
        """The texts of each query that rows make: those of a row are one, unless they are read apart."""
        return list(texts)

    @property
    def query_texts(self) -> int:
        """Texts that make one query."""
        return len(self.spec.columns)

    @property
    def query_columns(self) -> tuple[str, ...]:
        """The columns of a row that `read_query` takes as a mapping."""
        return self.spec.columns

    @property
    def parts(self) -> Mapping[str, Task]:
        """The tasks that it stands for, by name, where it stands for several."""
        return {}

    def of(self, name: str, labels: Values, *outputs: Values) -> Rows:
        """The rows of one of several tasks, as its own class has them."""
        raise ValueError(f"{self.spec.type} has no task '{name}' in it")

    @property
    def graph_outputs(self) -> tuple[str, ...]:
        """Names of the exported graph's outputs, the one that counts first."""
        return ("logits",)

    def graph_axes(self, output: str) -> dict[int, str]:
        """Axes of an output of the exported graph that stay open."""
        return self.output_axes if output == self.graph_outputs[0] else {0: "batch", 1: "sequence"}

    def exported(self, model: Any, given: Mapping[str, Any]) -> tuple[torch.Tensor, ...]:
        """The values of the exported graph's outputs. model: as torch runs it."""
        return (model(**given).logits,)

    def head_options(self) -> dict[str, Any]:
        """The options of the model's config that follow from the task."""
        names = dict(enumerate(_shown(self.names)))
        return {"num_labels": len(names), "id2label": names, "label2id": {v: k for k, v in names.items()}}

    def takes(self, anatomy: Anatomy) -> bool:
        """Whether the task works with a family of models."""
        return not anatomy.has_decoder

    def check_family(self, model_type: str, place: Place | None = None) -> None:
        """Raises InputError E314 for a family of models that the task does not work with."""
        found = family(model_type)
        if found is not None and not self.takes(found):
            families = ", ".join(name for name, each in FAMILIES.usable().items() if self.takes(each))
            raise bad_input(
                "E314",
                f"{self.spec.type} does not work with model type '{model_type}'",
                place=place,
                help=f"families: {families}",
            )

    def load(self, folder: Path) -> tuple[PreTrainedModel, list[str], list[str]]:
        """(model, missing, unused): the model of a checkpoint with the task's head, and names of weights.

        missing: those that the checkpoint did not have, whose random values are torch's. unused: those that it has and
        no module takes. Raises what transformers raises.
        """
        import transformers

        from edgeopt.models.slicing import class_for

        model, info = class_for(getattr(transformers, self.auto_class), folder).from_pretrained(
            folder, local_files_only=True, dtype="float32", output_loading_info=True, **self.head_options()
        )
        return model, sorted(k for k in info["missing_keys"] if ".pooler." not in k), sorted(info["unexpected_keys"])

    # features

    def encode(self, encoder: Encoder, texts: Sequence[Texts]) -> Features:
        """Queries for the rows, without padding."""
        stride = self.spec.window_stride
        if stride is not None:
            return encoder.windows(texts, stride)
        return Features(encoder.ids(texts), list(range(len(texts))))

    def searched(self, split: Split) -> Split:
        """The rows as figures are measured of them: of most tasks as they are."""
        return split

    def asked(self, encoder: Encoder, split: Split) -> Features:
        """Queries for the rows of a split and for what it has besides them, without padding."""
        return self.encode(encoder, split.texts)

    def targets(self, features: Features, labels: Sequence[Any]) -> list[Any]:
        """The target that the model is trained towards, for each query."""
        return [labels[row] for row in features.rows]

    def class_numbers(self, labels: Sequence[Any]) -> Sequence[int]:
        """The class of every row, or of every word of every row, one after the other: what class weights count."""
        return labels

    def training_rows(
        self, encoder: Encoder, split: Split, accepted: Collection[str]
    ) -> tuple[list[dict[str, Any]], Features]:
        """The inputs that the model's forward accepts and `labels`, for each query; and the features they come from."""
        features = self.encode(encoder, split.texts)
        targets = self.targets(features, split.labels)
        rows = [
            {**{n: v for n, v in ids.items() if n in accepted}, "labels": t}
            for ids, t in zip(features.ids, targets, strict=True)
        ]
        return rows, features

    def collator(self, encoder: Encoder) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
        """A function that makes a batch of queries, padded to the longest of them."""
        import torch

        def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
            batch = {name: torch.from_numpy(values) for name, values in encoder.pad(rows).items()}
            batch["labels"] = torch.from_numpy(self.label_batch([r["labels"] for r in rows], max(map(length, rows))))
            return batch

        return collate

    def label_loss(self, weights: Sequence[float] | None = None, smoothing: float = 0.0) -> LabelLoss:
        """The loss on the labels where the recipe weighs classes or smooths labels, or where not every row has one.

        Otherwise a training asks the model itself, which must come to the same.
        """
        return WeightedCrossEntropy(weights, smoothing)

    def training_loss(
        self, params: Training, weights: Sequence[float] | None, labels: Sequence[Any]
    ) -> LabelLoss | None:
        """The loss of a training on the labels of its rows; None where it is the model's own."""
        if weights or params.label_smoothing:
            return self.label_loss(weights, params.label_smoothing)
        return None

    def mean_loss(self, model: PreTrainedModel, batch: dict[str, Any], labels: Sequence[Any]) -> torch.Tensor:
        """The mean loss of a batch, as a training without further keys has it. labels: of all rows."""
        loss: torch.Tensor = model(**batch).loss
        return loss

    def answer_numbers(self, folder: Path) -> int:
        """How many numbers the model of a folder answers a row with."""
        return len(self.names) or 1

    def label_batch(self, labels: list[Any], width: int) -> Values:
        """Labels of a batch whose queries are padded to `width` tokens."""
        return np.array(labels, dtype=np.int64)

    # outputs

    def logits_shape(self, feed: Mapping[str, Any]) -> tuple[int | None, ...]:
        """The shape of the logits for a batch of these inputs; None for an axis that nothing here decides."""
        texts, target = feed["input_ids"].shape, feed.get("decoder_input_ids")
        sizes = {
            "batch": texts[0],
            "choices": texts[1],
            "sequence": texts[-1],
            "target": None if target is None else target.shape[1],
        }
        axes = tuple(sizes.get(axis) for axis in self.output_axes.values())
        return axes if self.has_choices else (*axes, self.outputs if self.names or not self.has_classes else None)

    def answer(self, run: Run, feed: Feed, encoder: Encoder) -> Any:
        """The output of one query. run: the graph's logits for a batch, here of one. feed: its inputs."""
        return run(feed)[0]

    def answer_batch(self, run: Run, queries: Sequence[Ids], encoder: Encoder) -> list[Any]:
        """The output of each of several queries, asked at once and padded to the longest."""
        return list(run(encoder.pad(queries)))

    def gather(self, outputs: Sequence[Values], features: Features) -> Values:
        """Outputs of the rows from those of their queries: the mean of the windows' logits."""
        if len(features.rows) == features.rows[-1] + 1:
            return self.stack(outputs)
        found: dict[int, list[Values]] = {}
        for row, output in zip(features.rows, outputs, strict=True):
            found.setdefault(row, []).append(np.asarray(output))
        return self.stack([np.mean(windows, axis=0, dtype=np.float64) for windows in found.values()])

    def compared(self, outputs: Values, baseline: Values, labels: Sequence[Any]) -> Values:
        """What metrics are measured of, beside the baseline's outputs on the same rows: of most tasks the outputs.

        labels: those of the rows, as the split has them.
        """
        return outputs

    def kept_of(self, outputs: Values) -> Values:
        """The numbers that a run keeps of rows, as far as they follow from the model's outputs on these rows alone.

        Others that it keeps of a row stand behind them.
        """
        return outputs

    def stack(self, outputs: Sequence[Any]) -> Values:
        """One array of the rows' outputs."""
        return np.stack([np.asarray(o) for o in outputs])

    def stack_labels(self, labels: Sequence[Any]) -> Values:
        """One array of the rows' labels."""
        return np.array(labels)

    def shown(self, output: Any) -> Any:
        """The part of a row's output that `predict` gives as its logits."""
        return output

    def plain_label(self, label: Any) -> object:
        """A label of the array that `stack_labels` makes, as JSON has it."""
        return int(label)

    def plain_output(self, output: Any, label: object) -> object:
        """An output of the array that `stack` makes, as JSON has it. label: the one of its row."""
        return [float(x) for x in output]

    # what was written, read back

    @property
    def output_shape(self) -> Any:
        """The type of what `plain_output` gives, as pydantic checks it: a number a class, or the one score."""
        count = len(self.names) or 1
        return Annotated[list[float], Field(min_length=count, max_length=count)]

    @property
    def label_shape(self) -> Any:
        """The type of what `plain_label` gives, as pydantic checks it: the number of a class."""
        return Annotated[int, Field(ge=0, lt=len(self.names))]

    def fits(self, label: object, output: object) -> bool:
        """Whether an output may be one of the row with that label. Both are as JSON has them, in their shapes."""
        return True

    @abstractmethod
    def predict(self, outputs: Values) -> Values:
        """The class numbers or scores that the outputs stand for."""

    def answers(self, outputs: Values) -> list[tuple[Answer, float | None]]:
        """(answer in the words of the labels, probability) for each row; None where a class has no probability.

        The numbers that `predict` gives are classes, by their names, where the task has classes.
        """
        told = self.predict(outputs)
        classes = self.has_classes and bool(self.names) and np.issubdtype(told.dtype, np.integer)
        return [(self._name(answer) if classes else answer, None) for answer in told.tolist()]

    def _name(self, number: int) -> str:
        return self.names[number] if 0 <= number < len(self.names) else str(number)

    def flips(self, before: Values, after: Values) -> tuple[int, int] | None:
        """(predictions that differ, predictions); None where predictions are not classes."""
        a, b = self.predict(before), self.predict(after)
        return int(np.sum(a != b)), int(np.sum(a != IGNORED))

    # metrics

    @property
    def selection_metric(self) -> str:
        """The metric that a checkpoint is selected by on the rows held out: the first one, or the loss."""
        return "loss" if self.selects_by_loss else self.spec.metric_names[0]

    def selection_scores(self, labels: Values, outputs: Values) -> dict[str, float]:
        """What a training looks at on the rows held out, `selection_metric` among it."""
        return self.metrics(labels, outputs)

    @abstractmethod
    def measure(self, metric: str, labels: Values, outputs: Values) -> float:
        """A metric of the task: a fraction or a correlation."""

    @abstractmethod
    def difference(self, metric: str, labels: Values, base: Values, candidate: Values, confidence: float) -> Bounds:
        """Candidate's metric minus baseline's on the same rows, with its one-sided bounds."""

    def first_difference(self, labels: Values, base: Values, candidate: Values, confidence: float) -> Bounds:
        """The difference of the first metric, by which int8 settings are judged; of several tasks the worst one's."""
        return self.difference(self.spec.metric_names[0], labels, base, candidate, confidence)

    def more_rows(
        self, metric: str, labels: Values, base: Values, candidate: Values, confidence: float
    ) -> Callable[[float], Bounds]:
        """The bounds that the difference would have on so many times as many rows like these, by that factor."""
        return partial(scaled, self.difference(metric, labels, base, candidate, confidence))

    @property
    def slice_metric(self) -> str | None:
        """The metric that slices of the rows are compared by; None for a task whose rows are not measured apart."""
        return self.spec.metric_names[0] if self.spec.sliceable else None

    @abstractmethod
    def bounds(self, metric: str, labels: Values, outputs: Values, confidence: float) -> Bounds:
        """A metric with its one-sided bounds."""

    def sound(self, labels: Values, outputs: Values) -> Values:
        """Which rows have a label and an output of finite numbers, shape (rows,) of bool."""
        whole: Values = np.isfinite(np.asarray(outputs, dtype=float)).reshape(len(outputs), -1).all(1)
        return whole & np.isfinite(labels) if labels.ndim == 1 else whole

    def unmeasurable(self, metric: str, labels: Values) -> str | None:
        """Why no outputs have a metric on rows of these labels; None where some have."""
        return None

    def undefined(self, metric: str, labels: Values, outputs: Values) -> str | None:
        """Why a metric of sound outputs is no number, in words that follow "the candidate's"; None where it is one."""
        return None

    def units(self, labels: Values) -> tuple[int, str]:
        """How many things bounds are over, and what these are: rows, or what groups of rows are the parts of."""
        return len(labels), "rows"

    def fewest_rows(self, metric: str) -> int:
        """Rows below which the metric's bounds rule nothing out."""
        return FEWEST_SCORES if metric in ("pearson", "spearman") else 1

    @abstractmethod
    def trivial(self, labels: Values, outputs: Values) -> dict[str, Values]:
        """Outputs of answers that read no text, by what they are called: the best of them is chance.

        outputs: a model's, whose form they have.
        """

    def judged_by(self, metric: str) -> str:
        """The metric by which a model is told from the trivial answers, where that is not the metric itself."""
        return metric

    @property
    def information(self) -> str | None:
        """The metric that is 0 of any answer that reads nothing, however often it answers what; None: there is none."""
        return None

    def metrics(self, labels: Values, outputs: Values) -> dict[str, float]:
        """Every metric that the recipe asks for. Raises StepError E403 where one is none, as a plugin's may be."""
        return {name: self.measured(name, labels, outputs) for name in self.spec.metric_names}

    def measured(self, metric: str, labels: Values, outputs: Values) -> float:
        """A metric within its range; not a number only where outputs are none. Raises StepError E403."""
        value, (low, high) = self.measure(metric, labels, outputs), self.ranges.get(metric, (0.0, 1.0))
        a_number = isinstance(value, float | int | np.number)
        if a_number and (low <= value <= high or (value != value and self._has_none(metric, labels, outputs))):
            return float(value)
        raise step_failed(
            "E403",
            f"the metric {metric} of the task {self.spec.type} is {value!r}, and must be between {low:g} and {high:g}",
            help=f"mend `measure` of {type(self).__name__}, or state the metric's range in `ranges`",
        )

    def _has_none(self, metric: str, labels: Values, outputs: Values) -> bool:
        """Whether outputs, labels or the task say that there is no such metric of them."""
        return (
            not self.sound(labels, outputs).all()
            or self.unmeasurable(metric, labels) is not None
            or self.undefined(metric, labels, outputs) is not None
        )

    def extra_metrics(self, labels: Values, outputs: Values) -> dict[str, float]:
        """Those of accuracy, precision, recall and f1 that the task has and the recipe does not ask for.

        They are for comparing runs, and gates do not see them.
        """
        names = [
            n
            for n in ("accuracy", "precision", "recall", "f1")
            if n in self.spec.known_metrics and n not in self.spec.metric_names
        ]
        return {name: self.measured(name, labels, outputs) for name in names}

    def notes(self, labels: Values, outputs: Values) -> list[str]:
        """Sentences that a reader of the figures should know about the rows. outputs: the candidate's."""
        return []

    def made(self) -> Mapping[str, Any]:
        """The settings that decide what the model of a checkpoint is, besides the classes."""
        return {}

    def key(self) -> Mapping[str, Any]:
        """The settings of the encoding that decide a step's result, besides the rows."""
        stride = self.spec.window_stride
        return {"max_length": self.spec.max_length, **({"window_stride": stride} if stride is not None else {})}


def _shown(names: tuple[str, ...]) -> list[str]:
    """Class numbers get transformers' usual names; words stay as they are."""
    numbers = all(n.lstrip("-").isdecimal() for n in names)
    return [f"LABEL_{n}" if numbers else n for n in names]
