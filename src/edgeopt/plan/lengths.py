"""The rows that a training sees, before it runs: how many, of how many sequences each, and how long these are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from edgeopt.data import Split
from edgeopt.plan.steps import Plan, PlannedStep
from edgeopt.spec.recipe import Training
from edgeopt.support.errors import InputError
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.encode import INPUTS, Encoder
from edgeopt.training.rows import TrainRows, gather_rows

#: Rows of a dataset whose lengths stand for those of all.
_SAMPLE = 256


class Kind(NamedTuple):
    """Rows that are alike. rows: how many of them an epoch has. sequences, tokens: of a row, and of a sequence.

    whole: how many there are, from which epochs draw. name: of their task, where there are several.
    """

    rows: float
    sequences: float
    tokens: float
    whole: float
    name: str = ""


@dataclass(frozen=True)
class Lengths:
    """The rows that a training sees.

    kinds: a batch holds rows of one of them. Rows are counted as the model is asked them. known: whether there are rows
    to count. most: whether the tokens are only known to be no more.
    """

    kinds: tuple[Kind, ...]
    known: bool
    most: bool

    @property
    def rows(self) -> int | None:
        """Rows of an epoch; None where they are not known yet."""
        return round(sum(kind.rows for kind in self.kinds)) if self.known else None

    @property
    def sequences(self) -> float:
        """Sequences of a row, on average."""
        rows = sum(kind.rows for kind in self.kinds)
        return sum(kind.rows * kind.sequences for kind in self.kinds) / rows if rows else 1.0

    @property
    def tokens(self) -> float:
        """Tokens of a sequence, on average."""
        sequences = sum(kind.rows * kind.sequences for kind in self.kinds)
        found = sum(kind.rows * kind.sequences * kind.tokens for kind in self.kinds)
        return found / sequences if sequences else self.kinds[0].tokens


def alike(rows: int | None, tokens: float, *, most: bool) -> Lengths:
    """Rows of one sequence each, all of the same kind. rows: None where they are not known yet."""
    return Lengths((Kind(rows or 1, 1.0, tokens, rows or 0),), rows is not None, most)


def of_task(plan: Plan, step: PlannedStep, training: Training) -> Lengths:
    """The rows of the recipe's task as a training of a step sees them: without those that are held out of it."""
    task, folder = plan.recipe.head.task, plan.source.folder
    if plan.data is None:
        return alike(None, task.max_length, most=True)
    data = replace(plan.data, held_out=step.held_out)
    made, encoder = task_of(task, data.label_names), None
    try:
        pool, _ = gather_rows(data, training, task.selection)
        encoder = None if folder is None else Encoder(folder, task.max_length)
        return _counted(pool, made, encoder, task.max_length, training)
    except InputError:  # it is told where it is looked for, or when the step runs
        return alike(len(data.train), task.max_length, most=True)


def _counted(pool: TrainRows, task: Task, encoder: Encoder | None, longest: int, training: Training) -> Lengths:
    """Rows as the model is asked them, by those of a sample of each dataset."""
    found, queries, at = [], [], 0
    for size in pool.sizes:
        numbers = range(at, at + size)
        sample = pool.rows.take(numbers[:: max(1, size // _SAMPLE)][:_SAMPLE], "sample")
        kind = _sampled(sample, task, encoder, longest)
        queries.append(round(size * kind.rows / max(len(sample), 1)))
        found.append(kind)
        at += size
    pool = replace(pool, sizes=tuple(queries))
    mixture = pool.mixture(training, training.batch, 0)
    drawn: Sequence[float] = queries
    if mixture is not None:
        epochs = [mixture.counts(epoch) for epoch in range(mixture.epochs)]
        drawn = [sum(counts) / len(epochs) for counts in zip(*epochs, strict=True)]
    kinds = tuple(
        kind._replace(rows=rows, whole=whole, name=name)
        for kind, rows, whole, name in zip(found, drawn, queries, pool.sources, strict=True)
    )
    made = Lengths(kinds, known=True, most=encoder is None)
    if pool.apart:
        return made
    return replace(made, kinds=(Kind(sum(drawn), made.sequences, made.tokens, sum(queries)),))


def _sampled(rows: Split, task: Task, encoder: Encoder | None, longest: int) -> Kind:
    """Some rows, counted as the model is asked them; without a tokenizer each sequence may be as long as any."""
    if encoder is None:
        apart = len(task.queries(rows.texts)) / max(len(rows), 1)
        choices = len(rows.texts[0]) - 1 if task.has_choices and len(rows) else 1
        return Kind(len(rows), apart * choices, longest, len(rows))
    asked, _ = task.training_rows(encoder, rows, INPUTS)
    sequences = [ids for row in asked for ids in _sequences(row["input_ids"])]
    apart, tokens = len(sequences) / max(len(asked), 1), sum(map(len, sequences)) / max(len(sequences), 1)
    return Kind(len(asked), apart, tokens, len(asked))


def _sequences(ids: Sequence[Any]) -> Sequence[Sequence[int]]:
    """What goes through the model for a row: one sequence of tokens, or several, such as one for each choice."""
    return ids if ids and isinstance(ids[0], list) else [ids]
