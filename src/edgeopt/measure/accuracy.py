"""Logits of an exported graph on the rows that are reported on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeopt import host
from edgeopt.data import Split
from edgeopt.export import Query
from edgeopt.measure.session import QUIET, Options, onnx_query
from edgeopt.progress import Progress
from edgeopt.tasks import Task
from edgeopt.tasks.encode import Encoder


def outputs_of(graph: Path, folder: Path, split: Split, task: Task, progress: Progress, title: str,
               options: Options = QUIET) -> np.ndarray[Any, np.dtype[Any]]:  # fmt: skip
    """What `answers_of` gives for a graph in ONNX Runtime. options: the session's."""
    return answers_of(onnx_query(graph, options), folder, split, task, progress, title)


def torch_outputs_of(folder: Path, split: Split, task: Task, progress: Progress, title: str) -> tuple[np.ndarray[Any, np.dtype[Any]], str]:
    """The same of the FP32 model that torch runs, on the GPU where there is one; and what that is."""
    from edgeopt.measure.latency_worker import torch_opener

    opened, device = torch_opener(folder, host.cpus())
    query: Any = opened()
    return answers_of(lambda given: query(given).float().numpy(), folder, split, task, progress, title), device


def answers_of(query: Query, folder: Path, split: Split, task: Task, progress: Progress, title: str) -> np.ndarray[Any, np.dtype[Any]]:
    """The task's outputs, the first axis is the rows. folder: where tokenizer.json is. One query at a time
    and without padding, as a device serves them: the logits of a dynamically quantised graph depend on what
    shares the batch."""
    encoder = Encoder(folder, task.spec.max_length)
    features = task.encode(encoder, split.texts)
    out = []
    with progress.bar(title, len(features.ids)) as bar:
        for i, ids in enumerate(features.ids, 1):
            out.append(task.answer(query, encoder.pad([ids]), encoder))
            bar.update(i)
    return task.gather(out, features)
