"""Which class of transformers a folder's model is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.models.heads import has_heads
from edgeopt.models.sentence import has_field
from edgeopt.models.source import CONFIG

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def model_class(folder: Path) -> type[PreTrainedModel]:
    """The class of transformers that the model of a torch state was saved from: it has the head of its task."""
    import transformers

    from edgeopt.models.slicing import class_for

    if has_field(folder):
        from edgeopt.models.embedder import embedder_class

        return embedder_class(folder)
    if has_heads(folder):
        from edgeopt.models.shared import shared_class

        return shared_class(folder)
    (name,) = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["architectures"]
    if name == "EncoderDecoderModel":
        from edgeopt.models.pair import EncoderDecoderModel

        return EncoderDecoderModel
    return class_for(getattr(transformers, name), folder)
