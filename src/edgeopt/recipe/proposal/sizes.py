"""The model that is proposed, how long its texts are in its tokens, and how long to train it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeopt.data import Split
from edgeopt.models.sentence import longest_text
from edgeopt.models.source import ModelSource, find_model
from edgeopt.recipe.proposal.files import relative
from edgeopt.spec.recipe import ModelSpec
from edgeopt.support.paths import expanded, is_there
from edgeopt.tasks import Task, task_types
from edgeopt.tasks.encode import Encoder, length

#: Ids of the hub: a small sentence encoder, one that keeps capitals, which tell names, and one of 104 languages.
_SMALL, _CASED = "sentence-transformers/all-MiniLM-L6-v2", "distilbert/distilbert-base-cased"
_MULTILINGUAL = "distilbert/distilbert-base-multilingual-cased"
#: Rows whose tokens are counted, tokens that are counted of one, and tokens a word where no tokenizer is here.
_COUNTED, _LONGEST, _TOKENS_A_WORD = 2000, 8192, 1.4
#: Lengths are multiples of this, at least the second and at most the third.
_STEP, _LEAST, _MOST = 8, 16, 512
#: Optimizer steps that a training should have, and rows a step.
_STEPS, _BATCH = 600, 32
#: Width of layers up to which a model is small, and takes a higher rate; parameters below which nothing is gained.
_NARROW, _TINY = 400, 2_000_000


def model_for(task_type: str, texts: Sequence[tuple[str, ...]]) -> str:
    """An id of the hub for the task and the language of the texts."""
    letters = [c for row in texts[:200] for text in row for c in text if c.isalpha()]
    if sum(not c.isascii() for c in letters) > 0.1 * len(letters):
        return _MULTILINGUAL
    return _CASED if task_types()[task_type].reads_words else _SMALL


def source_of(name: str, folder: Path, task_type: str | None = None) -> ModelSource:
    """The model of a folder, named relative to the working directory, or of the hub. folder: that of the recipe.

    task_type: of the head that it is looked at for. Raises InputError E308 to E315 as `find_model` does.
    """
    path, kind = expanded(name), task_types().get(task_type or "")
    spec = ModelSpec(id=relative(path, folder) if is_there(path, Path.is_dir) else name)
    if kind is None:
        return find_model(spec, folder)
    return find_model(spec, folder, head=kind.auto_class.removeprefix("AutoModel"), embeds=kind.embeds)


def task_by_head(source: ModelSource) -> str | None:
    """The task that a checkpoint was trained for, by its config; None where it has no such head, or is not here."""
    heads = [str(name) for name in (source.config or {}).get("architectures") or ()]
    kinds = {name: kind for name, kind in task_types().items() if kind.told_by_outputs or kind.has_choices}
    for name, kind in kinds.items():
        head = kind.auto_class.removeprefix("AutoModel")
        if kind.several_classes != (source.problem == "multi_label_classification"):
            continue
        if any(h.endswith(head) for h in heads) and kind.has_classes:
            scores = source.problem == "regression" or (source.outputs == 1 and not kind.has_choices)
            return next(n for n, k in task_types().items() if k.scores) if scores else name
    return None


@dataclass(frozen=True)
class Lengths:
    """How long the texts are. counted: in the model's own tokens, else it is a guess by their words.

    max_length: the proposed one. usual: 99 of 100 rows have at most so many tokens. cut: the share of longer ones.
    """

    counted: bool
    usual: int
    longest: int
    max_length: int
    cut: float


def lengths(source: ModelSource, task: Task, split: Split) -> Lengths:
    """The lengths of train's rows in tokens. Raises InputError E311 where the tokenizer cannot read them."""
    texts = split.first(_COUNTED).texts
    if source.folder is None:
        found = [math.ceil(_TOKENS_A_WORD * sum(len(t.split()) for t in row)) + 2 for row in texts]
    else:
        text = source.tokenizer_as_shipped(reads_words=task.reads_words)
        found = [length(ids) for ids in task.encode(Encoder(source.folder, _LONGEST, text), texts).ids]
    usual = math.ceil(np.percentile(found, 99))
    most = min(source.positions or _MOST, _MOST)
    max_length = stated_length(source) or min(max(-(-usual // _STEP) * _STEP, _LEAST), most)
    return Lengths(
        source.folder is not None, usual, max(found), max_length, float(np.mean(np.array(found) > max_length))
    )


def stated_length(source: ModelSource) -> int | None:
    """Tokens of the longest text that an embedding model reads, as its folder says; None where it does not."""
    return longest_text(source.folder) if source.embeds and source.folder else None


@dataclass(frozen=True)
class Training:
    """Keys of the training that is proposed."""

    epochs: int
    learning_rate: float


def training(source: ModelSource, rows: int) -> Training:
    """As many epochs as make some hundreds of optimizer steps, and a rate for the model's width."""
    epochs = min(max(round(_STEPS * _BATCH / rows), 1), 10)
    width = (source.config or {}).get("hidden_size")
    small = source.id == _SMALL or (isinstance(width, int) and width <= _NARROW)
    return Training(epochs, 1e-4 if small else 5e-5)


def is_tiny(source: ModelSource) -> bool:
    """Whether a model is so small that its weights decide neither its size nor its time."""
    return source.folder is not None and sum(math.prod(s) for s in source.shapes().values()) < _TINY
