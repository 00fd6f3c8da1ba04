"""Weights of a checkpoint that no module of the model takes.

They belong to the network that was trained, unless they are known to do nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Heads that stand beside the encoder, of pretraining and of other tasks, by how their parameters' names begin.
HEADS = (
    "cls",
    "lm_head",
    "lm_predictions",
    "mask_predictions",
    "head",
    "decoder",
    "generator_predictions",
    "generator_lm_head",
    "discriminator_predictions",
    "vocab_transform",
    "vocab_layer_norm",
    "vocab_projector",
    "qa_outputs",
    "sequence_summary",
    "pre_classifier",
    "classifier",
)
#: Counted up by the model itself, and in checkpoints of old versions of transformers only.
BUFFERS = ("position_ids", "token_type_ids")


def unexplained(names: Iterable[str]) -> list[str]:
    """Those of the weights without a place in the loaded model that must belong to the network that was trained.

    They are neither another head's, nor a pooler's that the task's head does not read, nor a buffer that the model
    counts up itself.
    """
    return [name for name in names if not _does_nothing(name.split("."))]


def _does_nothing(parts: list[str]) -> bool:
    return parts[0] in HEADS or "pooler" in parts[:-1] or parts[-1] in BUFFERS
