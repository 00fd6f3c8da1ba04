"""Logits of an exported graph on the rows that are reported on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.data import Split
from edgeopt.measure.session import input_names, open_session
from edgeopt.progress import Progress
from edgeopt.tasks.encode import Encoder


def logits_of(graph: Path, tokenizer: Path, split: Split, max_length: int, progress: Progress, title: str,
              disabled: Sequence[str] = ()) -> np.ndarray[Any, np.dtype[np.float32]]:  # fmt: skip
    """Shape (rows, outputs). disabled: optimisers of the runtime to switch off. One row at a time and without padding, as a device serves them: the logits
    of a dynamically quantised graph depend on what shares the batch."""
    encoder = Encoder(tokenizer, max_length)
    session = open_session(graph, disabled=disabled)
    names = input_names(session)
    out = []
    with progress.bar(title, len(split)) as bar:
        for i, ids in enumerate(encoder.ids(split.texts), 1):
            feed = {k: v for k, v in encoder.pad([ids]).items() if k in names}
            out.append(session.run(["logits"], feed)[0][0])
            bar.update(i)
    return np.stack(out)
