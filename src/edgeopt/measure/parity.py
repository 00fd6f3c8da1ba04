"""Real rows of several lengths, and the logits that torch and ONNX Runtime give for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeopt.data import Split
from edgeopt.measure.session import input_names
from edgeopt.tasks import Task
from edgeopt.tasks.encode import Encoder, Ids, length

if TYPE_CHECKING:
    Logits = np.ndarray[Any, np.dtype[np.float32]]

ROWS = 16


@dataclass(frozen=True)
class ParityRows:
    """Encoded rows, shortest first, with the encoder that pads them."""

    encoder: Encoder
    rows: list[Ids]

    def batches(self) -> list[list[Ids]]:
        """Each row alone, then all of them padded into one batch: both dynamic axes are used."""
        return [*([row] for row in self.rows), self.rows]


def sample_rows(split: Split, folder: Path, task: Task) -> ParityRows:
    """16 queries spread evenly over the token lengths of the split's first 2,000 rows."""
    encoder = Encoder(folder, task.spec.max_length)
    rows = sorted(task.encode(encoder, split.texts[:2000]).ids, key=length)
    picks = np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(int)
    return ParityRows(encoder, [rows[i] for i in picks])


def torch_logits(model: Any, sample: ParityRows) -> Logits:
    """Every logit of every batch, in one row."""
    import inspect

    import torch

    from edgeopt.models.load import bare

    accepted = inspect.signature(bare(model).forward).parameters
    out = []
    with torch.no_grad():
        for batch in sample.batches():
            inputs = {k: torch.from_numpy(v) for k, v in sample.encoder.pad(batch).items() if k in accepted}
            out.append(model.eval()(**inputs).logits.float().numpy().ravel())
    return np.concatenate(out)


def onnx_logits(session: Any, sample: ParityRows) -> Logits:
    """The same from an ONNX Runtime session."""
    names = input_names(session)
    out = [session.run(["logits"], {k: v for k, v in sample.encoder.pad(b).items() if k in names})[0].ravel() for b in sample.batches()]
    return np.concatenate(out)
