"""The model of a finished run asked about texts: the file that it ships, opened with the options that it ships."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from edgeopt.export.exporter import Query, Runnable
from edgeopt.export.padding import LENGTHS
from edgeopt.export.session import QUIET
from edgeopt.gates.artifact import options_of
from edgeopt.gates.request import request_by
from edgeopt.measure.declared import check_declared
from edgeopt.results.folder import MODEL
from edgeopt.results.model import Export
from edgeopt.results.sealed import Run
from edgeopt.statistics.bounds import Values
from edgeopt.support.errors import Place
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.base import Answer
from edgeopt.tasks.encode import Encoder, Ids, length


class Prediction(NamedTuple):
    """What the model says of one text.

    label: the class by its name; of a regression the score, of token classification a tag for each word, of
    summarization the text that the model wrote. probability: of that class, None where the task has none. logits: what
    the model gave: shape (classes,), of token classification (words, classes), a text's are empty.
    """

    label: Answer
    probability: float | None
    logits: Values


class Predictor:
    """A run's model, opened once. Raises InputError where the shipped file or its tokenizer cannot be opened."""

    def __init__(self, run: Run) -> None:
        self.folder = run.folder / MODEL
        self.task: Task = task_of(request_by(None, (), run).task, run.report.task.labels)
        self.encoder = Encoder(self.folder, self.task.spec.max_length)
        self._query = _opened(run)

    def __call__(self, texts: Iterable[object], batch_size: int) -> list[Prediction]:
        """What the model says of each text. Raises InputError E303 or E304 for what is no text."""
        rows = [self.task.read_query(given, Place(f"texts[{i}]")) for i, given in enumerate(texts)]
        if not rows:
            return []
        features = self.task.encode(self.encoder, rows)
        outputs = self.task.gather(self._answers(features.ids, batch_size), features)
        logits = [np.asarray(output) if isinstance(output, np.ndarray) else np.empty(0) for output in outputs]
        if self.task.reads_words:  # without what fills them up to the longest row
            logits = [of_row[: len(words)] for of_row, words in zip(logits, rows, strict=True)]
        told = self.task.answers(outputs)
        return [Prediction(label, share, of_row) for (label, share), of_row in zip(told, logits, strict=True)]

    def _answers(self, queries: list[Ids], batch_size: int) -> list[Any]:
        """The answers to queries, in their order.

        Queries of like length share a batch, so that little of it is padding.
        """
        order = sorted(range(len(queries)), key=lambda i: length(queries[i]))
        found: list[Any] = [None] * len(queries)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            for i, answer in zip(
                batch, self.task.answer_batch(self._query, [queries[i] for i in batch], self.encoder), strict=True
            ):
                found[i] = answer
        return found


def _opened(run: Run) -> Query:
    report = run.report
    kept = next((each for each in report.exports if each.subject == "candidate"), None)
    file = report.candidate.artifact.removeprefix(f"{MODEL}/")
    path, format = run.folder / MODEL / file, kept.format if kept else "onnx"
    if path.suffix == ".onnx":
        check_declared(path)
    if format == "onnx" or (kept and kept.runtime == "onnxruntime"):
        return Runnable(path, format).open(options_of(run.folder / MODEL, file) or QUIET)
    # what session.json says, which is not ONNX Runtime's
    options = next((m.session for m in report.latency if m.subject == "candidate"), {})
    return Runnable(path, format, _lengths(kept)).open(options)


def _lengths(kept: Export | None) -> dict[str, Any]:
    return {LENGTHS: kept.lengths} if kept and kept.lengths else {}
