"""Logits of an exported graph on the rows that are reported on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeopt import host
from edgeopt.data import Split
from edgeopt.measure.session import QUIET, Options, input_names, open_session
from edgeopt.progress import Progress
from edgeopt.tasks import Task
from edgeopt.tasks.base import Run
from edgeopt.tasks.encode import Encoder


def outputs_of(graph: Path, folder: Path, split: Split, task: Task, progress: Progress, title: str,
               options: Options = QUIET) -> np.ndarray[Any, np.dtype[Any]]:  # fmt: skip
    """The task's outputs, the first axis is the rows. folder: where tokenizer.json is. options: the
    session's. One query at a time and without padding, as a device serves them: the logits of a dynamically
    quantised graph depend on what shares the batch."""
    session = open_session(graph, options)
    names = input_names(session)
    return _outputs(lambda given: session.run(["logits"], {k: v for k, v in given.items() if k in names})[0], folder, split, task, progress, title)


def torch_outputs_of(folder: Path, split: Split, task: Task, progress: Progress, title: str) -> tuple[np.ndarray[Any, np.dtype[Any]], str]:
    """The same of the FP32 model that torch runs, on the GPU where there is one; and what that is."""
    from edgeopt.measure.latency_worker import torch_opener

    opened, device = torch_opener(folder, host.cpus())
    query: Any = opened()
    return _outputs(lambda given: query(given).float().numpy(), folder, split, task, progress, title), device


def _outputs(run: Run, folder: Path, split: Split, task: Task, progress: Progress, title: str) -> np.ndarray[Any, np.dtype[Any]]:
    encoder = Encoder(folder, task.spec.max_length)
    features = task.encode(encoder, split.texts)
    out = []
    with progress.bar(title, len(features.ids)) as bar:
        for i, ids in enumerate(features.ids, 1):
            out.append(task.answer(run, encoder.pad([ids]), encoder))
            bar.update(i)
    return task.gather(out, features)
