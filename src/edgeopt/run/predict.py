"""A finished model asked about rows: the file that is shipped, opened with the options that are shipped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgeopt.export.exporter import Query, Runnable
from edgeopt.export.padding import LENGTHS
from edgeopt.export.session import QUIET, Options, onnx_query
from edgeopt.gates.artifact import options_of
from edgeopt.gates.request import request_by
from edgeopt.measure.declared import check_declared
from edgeopt.measure.graph import mixes_batches
from edgeopt.results.folder import MODEL
from edgeopt.results.model import Export
from edgeopt.results.sealed import Run
from edgeopt.statistics.bounds import Values
from edgeopt.support import host
from edgeopt.support.errors import Place
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.answered import checked
from edgeopt.tasks.base import Answer, Texts
from edgeopt.tasks.encode import Encoder, Features, length

#: Batches, and rows at least, that are held at once and put in order of their lengths.
_BATCHES, _ROWS = 64, 1024


class Prediction(NamedTuple):
    """The prediction for one text.

    label: the name of the class. For regression it is the score, for token classification one tag for each word, for
    summarization the text that the model wrote, and for embedding None. probability: the probability of that class, or
    None if the task has none. logits: the output of the model, with shape (classes,). For token classification the
    shape is (words, classes), and for embedding it is the embedding, with shape (dimensions,). For summarization the
    array is empty.
    """

    label: Answer
    probability: float | None
    logits: Values


class Asked(NamedTuple):
    """A model that is opened, and how it is asked.

    folder: where tokenizer.json is. query: gives the logits of a batch. alone: whether what a row gets depends on what
    shares its batch. at_once: how many batches may be in the works, so that all processors have something to do.
    """

    folder: Path
    task: Task
    query: Query
    alone: bool = False
    at_once: int = 1

    @property
    def batch_size(self) -> int:
        """How many rows share a batch, unless somebody says otherwise."""
        return 1 if self.alone else 32


class Predictor:
    """A model asked about rows. Raises InputError where its tokenizer cannot be opened."""

    def __init__(self, asked: Asked) -> None:
        self.asked, self.task = asked, asked.task
        self.encoder = Encoder(asked.folder, self.task.spec.max_length)

    def __call__(self, texts: Iterable[object], batch_size: int | None = None) -> list[Prediction]:
        """What the model says of each text. Raises InputError E303 or E304 for what is no text."""
        rows = [self.task.read_query(given, Place(f"texts[{i}]")) for i, given in enumerate(texts)]
        return list(self.answers(rows, batch_size))

    def answers(
        self, rows: Iterable[Texts], batch_size: int | None = None, told: Callable[[int], object] = lambda done: None
    ) -> Iterator[Prediction]:
        """What the model says of each row, in their order; of any number of rows no more are held than a few batches.

        batch_size: by default as many as change no answer. told: called with the number of rows of each batch.
        """
        rows, size = iter(rows), batch_size or self.asked.batch_size
        while taken := list(islice(rows, max(size * _BATCHES, _ROWS))):
            yield from self._answers(taken, size, told)

    def _answers(self, rows: list[Texts], batch_size: int, told: Callable[[int], object]) -> list[Prediction]:
        features = self.task.encode(self.encoder, rows)
        outputs = self.task.gather(self._outputs(features, batch_size, told), features)
        logits = [
            np.asarray(self.task.shown(output)) if isinstance(output, np.ndarray) else np.empty(0) for output in outputs
        ]
        if self.task.reads_words:  # without what fills them up to the longest row
            logits = [of_row[: len(words)] for of_row, words in zip(logits, rows, strict=True)]
        answers = self.task.answers(outputs)
        return [Prediction(label, share, of_row) for (label, share), of_row in zip(answers, logits, strict=True)]

    def _outputs(self, features: Features, batch_size: int, told: Callable[[int], object]) -> list[Any]:
        """The outputs of all queries, in their order.

        Queries of like length share a batch, so that little of it is padding.
        """
        queries = features.ids
        order = sorted(range(len(queries)), key=lambda i: length(queries[i]))
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        found: list[Any] = [None] * len(queries)

        def ask(batch: list[int]) -> list[Any]:
            return self.task.answer_batch(self.asked.query, [queries[i] for i in batch], self.encoder)

        with ThreadPoolExecutor(self.asked.at_once) as pool:
            for batch, answers in zip(batches, pool.map(ask, batches), strict=True):
                for i, answer in zip(batch, answers, strict=True):
                    found[i] = answer
                told(len(batch))
        return found


def asked_of_run(run: Run) -> Asked:
    """The model of a run, with the options that it ships. Raises InputError where it cannot be opened."""
    report, folder = run.report, run.folder / MODEL
    task = task_of(request_by(None, (), run).task, report.task.labels)
    kept = next((each for each in report.exports if each.subject == "candidate"), None)
    file = report.candidate.artifact.removeprefix(f"{MODEL}/")
    path, format = folder / file, kept.format if kept else "onnx"
    if path.suffix == ".onnx":
        check_declared(path)
    if format == "onnx" or (kept and kept.runtime == "onnxruntime"):
        options = options_of(folder, file) or QUIET
        return Asked(folder, task, Runnable(path, format).open(options), mixes_batches(path), _at_once(options))
    # what session.json says, which is not ONNX Runtime's
    found = next((m.session for m in report.latency if m.subject == "candidate"), {})
    return Asked(folder, task, Runnable(path, format, _lengths(kept)).open(found))


def onnx_asked(folder: Path, graph: Path, task: Task, options: Options | None) -> Asked:
    """A graph that no run vouches for: each answer is looked at, and one that does not come is broken off.

    Raises InputError E131 where it does not open; a query E131, E212 or E316.
    """
    options = options or QUIET
    query = checked(onnx_query(graph, options, limited=True, named=task.graph_outputs[0]), graph, task)
    return Asked(folder, task, query, mixes_batches(graph), _at_once(options))


def _at_once(options: Options) -> int:
    """How many sessions' worth of threads there are processors for. A session without a number takes all of them."""
    return max(host.cpus() // (options.get("intra_op_num_threads") or host.cpus()), 1)


def _lengths(kept: Export | None) -> dict[str, Any]:
    return {LENGTHS: kept.lengths} if kept and kept.lengths else {}
