"""Real rows of several lengths, and the logits that torch and ONNX Runtime give for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeopt.data import Split
from edgeopt.export.session import input_names, output_names
from edgeopt.tasks import Task
from edgeopt.tasks.encode import Encoder, Ids, length

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from peft import PeftModel
    from transformers import PreTrainedModel

    Logits = np.ndarray[Any, np.dtype[np.float32]]

ROWS = 16
#: Rows on which predictions are compared.
COMPARED = 400


@dataclass(frozen=True)
class ParityRows:
    """Encoded rows, shortest first, with the encoder that pads them."""

    encoder: Encoder
    rows: list[Ids]

    def batches(self) -> list[list[Ids]]:
        """Each row alone, then all of them padded into one batch: both dynamic axes are used."""
        return [*([row] for row in self.rows), self.rows]


def sample_rows(split: Split, folder: Path, task: Task, count: int = ROWS) -> ParityRows:
    """So many queries spread evenly over the token lengths of the split's first 2,000 rows."""
    encoder = Encoder(folder, task.spec.max_length)
    rows = sorted(task.encode(encoder, split.texts[:2000]).ids, key=length)
    picks = np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)
    return ParityRows(encoder, [rows[i] for i in picks])


def torch_logits(model: PreTrainedModel | PeftModel, sample: ParityRows) -> Logits:
    """Every logit that torch gives for every batch, in one row."""
    answer = _torch_answers(model, sample.encoder)
    return np.concatenate([answer(batch).ravel() for batch in sample.batches()])


def onnx_logits(session: InferenceSession, sample: ParityRows) -> Logits:
    """Every logit that an ONNX Runtime session gives for every batch, in one row."""
    answer = _onnx_answers(session, sample.encoder)
    return np.concatenate([answer(batch).ravel() for batch in sample.batches()])


def same_predictions(
    model: PreTrainedModel | PeftModel, session: InferenceSession, sample: ParityRows, *, softmax: bool
) -> float | None:
    """The share of rows, each alone, to which torch and ONNX Runtime give the same classes.

    None where the model gives a score, or an embedding.
    """
    if not softmax:
        return None
    torch_answer, onnx_answer = _torch_answers(model, sample.encoder), _onnx_answers(session, sample.encoder)
    pairs = [(torch_answer([row]), onnx_answer([row])) for row in sample.rows]
    return float(np.mean([np.array_equal(a.argmax(-1), b.argmax(-1)) for a, b in pairs]))


def _torch_answers(model: PreTrainedModel | PeftModel, encoder: Encoder) -> Callable[[list[Ids]], Logits]:
    import torch

    from edgeopt.models.load import takes

    accepted = takes(model)

    def answer(batch: list[Ids]) -> Logits:
        with torch.no_grad():
            inputs = {k: torch.from_numpy(v) for k, v in encoder.pad(batch).items() if k in accepted}
            logits: Logits = model.eval()(**inputs).logits.float().numpy()
        return logits

    return answer


def _onnx_answers(session: InferenceSession, encoder: Encoder) -> Callable[[list[Ids]], Logits]:
    names, wanted = input_names(session), output_names(session)[:1]

    def answer(batch: list[Ids]) -> Logits:
        logits: Logits = session.run(wanted, {k: v for k, v in encoder.pad(batch).items() if k in names})[0]
        return logits

    return answer
