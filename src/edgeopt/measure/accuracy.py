"""Logits of an exported graph on the rows that are reported on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.data import Split
from edgeopt.measure.session import QUIET, Options, input_names, open_session
from edgeopt.progress import Progress
from edgeopt.tasks import Task
from edgeopt.tasks.encode import Encoder


def outputs_of(graph: Path, folder: Path, split: Split, task: Task, progress: Progress, title: str,
               options: Options = QUIET) -> np.ndarray[Any, np.dtype[Any]]:  # fmt: skip
    """The task's outputs, the first axis is the rows. folder: where tokenizer.json is. options: the
    session's. One query at a time and without padding, as a device serves them: the logits of a dynamically
    quantised graph depend on what shares the batch."""
    encoder = Encoder(folder, task.spec.max_length)
    session = open_session(graph, options)
    names = input_names(session)
    features = task.encode(encoder, split.texts)
    out = []
    with progress.bar(title, len(features.ids)) as bar:
        for i, ids in enumerate(features.ids, 1):
            feed = {k: v for k, v in encoder.pad([ids]).items() if k in names}
            out.append(task.answer(lambda given: session.run(["logits"], given)[0], feed, encoder))
            bar.update(i)
    return task.gather(out, features)
