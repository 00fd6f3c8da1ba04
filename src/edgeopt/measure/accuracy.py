"""Logits of an exported graph on the rows that are reported on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.data import Split
from edgeopt.export.exporter import Query
from edgeopt.export.graph_files import size_of
from edgeopt.export.session import QUIET, Options, onnx_query
from edgeopt.measure.memory import bounded
from edgeopt.support import host
from edgeopt.support.progress import Progress
from edgeopt.tasks import Task
from edgeopt.tasks.answered import checked
from edgeopt.tasks.base import Values
from edgeopt.tasks.encode import Encoder


def outputs_of(
    graph: Path, folder: Path, split: Split, task: Task, progress: Progress, title: str, options: Options = QUIET
) -> Values:
    """The task's outputs by a graph in ONNX Runtime, as `answers_of` gives them. options: the session's.

    A thread for each processor answers rows by itself: on short texts that is quicker than all of them on one row, and
    the sums are the same.
    """
    with bounded(size_of(graph), task.spec.max_length):
        query = checked(onnx_query(graph, {**options, "intra_op_num_threads": 1}, limited=True), graph, task)
        return answers_of(query, folder, split, task, progress, title, at_once=host.cpus())


def torch_outputs_of(folder: Path, split: Split, task: Task, progress: Progress, title: str) -> tuple[Values, str]:
    """The task's outputs by the FP32 model that torch runs, on the GPU where there is one; and what ran it."""
    from edgeopt.measure.latency_worker import torch_opener

    opened, device = torch_opener(folder, host.cpus())
    query: Any = opened()
    return answers_of(lambda given: query(given).float().numpy(), folder, split, task, progress, title), device


def answers_of(
    query: Query, folder: Path, split: Split, task: Task, progress: Progress, title: str, *, at_once: int = 1
) -> Values:
    """The task's outputs for the rows of a split, the first axis is the rows. folder: where tokenizer.json is.

    One row a query and without padding, as a device serves them: the logits of a dynamically quantized graph depend on
    what shares the batch. at_once: rows in the works, for a query that several threads may call.
    """
    encoder = Encoder(folder, task.spec.max_length)
    features = task.asked(encoder, split)
    out = []
    with progress.bar(title, len(features.ids)) as bar, ThreadPoolExecutor(at_once) as pool:
        for i, answer in enumerate(
            pool.map(lambda ids: task.answer(query, encoder.pad([ids]), encoder), features.ids), 1
        ):
            out.append(answer)
            bar.update(i)
    return task.gather(out, features)


def largest_difference(one: Values, other: Values) -> float:
    """Largest difference of a number in two models' outputs; infinite where one is not finite and the other another.

    What fills both up, behind a row's last word, is no number in either.
    """
    with np.errstate(invalid="ignore"):
        apart = np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float))
    apart[np.isnan(one) & np.isnan(other)] = 0.0
    return float(np.nan_to_num(apart, nan=np.inf).max())
