"""Whether a checkpoint reads the rows as the recipe's model does: what both tokenizers make of them says it."""

from __future__ import annotations

from edgeopt.data import TaskData
from edgeopt.models.ship_tokenizer import COMPARED
from edgeopt.models.source import ModelSource
from edgeopt.spec.recipe import TaskSpec
from edgeopt.tasks import task_of
from edgeopt.tasks.encode import Encoder, first_other


def read_otherwise(one: ModelSource, other: ModelSource, spec: TaskSpec, data: TaskData | None) -> str | None:
    """The first row of which two checkpoints' tokenizers make other tokens; None where there is none to be found.

    Looked at are the first rows of each split, and nothing where models or rows are not here yet. Raises InputError
    E311 where one makes none.
    """
    if data is None or one.folder is None or other.folder is None:
        return None
    task = task_of(spec, data.label_names)
    said = [source.tokenizer_as_shipped(reads_words=task.reads_words) for source in (one, other)]
    if said[0] == said[1]:
        return None
    encoders = [Encoder(f, spec.max_length, text) for f, text in zip((one.folder, other.folder), said, strict=True)]
    for split in (data.report, data.train):
        texts = split.texts[:COMPARED]
        row = first_other(*(task.encode(encoder, texts) for encoder in encoders))
        if row is not None:
            return f"row {row + 1} of {split.name}"
    return None
