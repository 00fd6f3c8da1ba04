"""Text whose tokens a frozen model replaced before the training: read from disk, and what a training makes of it.

<store>/corpora/<address>/words.bin     what was drawn for the hidden tokens, in the order of the training
                          counts.bin    how many of each row there are, in that order
                          held.bin      what was drawn for the held-out rows
                          done.json     how far it came, while it is made
                          whole.json    sizes, digests and what it cost; written last

Only the drawn tokens are kept: which are hidden follows from seed, epoch and row, as ever (`masking.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from edgeopt.corpus.tokens import Numbers
from edgeopt.support.errors import InputError, step_failed
from edgeopt.support.files import file_digest
from edgeopt.support.reading import Count, Digest, NotNegative, Reader
from edgeopt.tasks.base import IGNORED
from edgeopt.training.distill_terms import question
from edgeopt.training.held_out import OnText
from edgeopt.training.masking import HELD_OUT, Ids, MaskedBatches, Masking
from edgeopt.training.replaced_tokens import detected, detection_loss, detection_shares
from edgeopt.training.schedule import Schedule

if TYPE_CHECKING:
    from torch import nn

WORDS, COUNTS, HELD, WHOLE, DONE = "words.bin", "counts.bin", "held.bin", "whole.json", "done.json"
READER = Reader("replaced tokens of the store", "E157")


class Done(BaseModel):
    """How far it came. batches, rows, words: that are written. seconds, processor_seconds: that it took so far."""

    model_config = ConfigDict(extra="forbid")

    batches: Count = 0
    rows: Count = 0
    words: Count = 0
    seconds: NotNegative = 0.0
    processor_seconds: NotNegative = 0.0


class Whole(Done):
    """All of it. held: words of the held-out rows. guessed: of those the model would have guessed right."""

    held: Count
    guessed: Count
    files: dict[str, Digest]


def word_type(masking: Masking) -> type[np.unsignedinteger[Any]]:
    """The type of a kept token; a model may know some numbers more than its tokenizer, to round them up."""
    return np.uint16 if masking.words + 1024 < 2**16 else np.uint32


def there(folder: Path) -> Whole | None:
    """What the folder says it has, where that is whole and as it was written."""
    try:
        found: Whole = READER.model(folder / WHOLE, Whole)
        return found if all(file_digest(folder / name) == digest for name, digest in found.files.items()) else None
    except (InputError, OSError):
        return None


def mapped(path: Path, kind: type[np.unsignedinteger[Any]]) -> Numbers:
    """The numbers of a file, memory-mapped; a file of nothing cannot be."""
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)


class CorruptedBatches(MaskedBatches):
    """Batches of rows with tokens replaced. `labels` say which: 1, or 0, and IGNORED for padding.

    A row behind the end of the schedule, which a loader may ask for ahead, comes as it is.
    """

    def __init__(self, folder: Path, masked: MaskedBatches, schedule: Schedule, held: Sequence[Mapping[str, Any]]):
        super().__init__(masked.masking, masked.pad)
        self.schedule, kind = schedule, word_type(masked.masking)
        self._words, self._held = (mapped(folder / name, kind) for name in (WORDS, HELD))
        self._counts = mapped(folder / COUNTS, np.uint16)
        self._held_rows = list(held)
        self._at: tuple[int, Numbers, Numbers] | None = None

    def made(self, row: Mapping[str, Any], epoch: int) -> tuple[Ids, Ids]:
        ids, number = row["input_ids"], int(row["row"])
        _, labels = self.masking.hide(ids, number, epoch)
        hidden = labels != IGNORED
        words = self._of_held(number) if epoch == HELD_OUT else self._of(number, epoch)
        filled = ids.copy()
        if words is not None:
            filled[hidden] = words
        return filled, (filled != ids).astype(np.int64)

    def _of(self, row: int, epoch: int) -> Numbers | None:
        """The words that were drawn for a row of an epoch."""
        if self._at is None or self._at[0] != epoch:
            order = self.schedule.order(epoch)
            first = epoch * len(order)
            place = np.empty(len(order), np.int64)
            place[order] = np.arange(len(order))
            counts = self._counts[first : first + len(order)].astype(np.int64)
            begin = int(self._counts[:first].sum(dtype=np.int64))
            self._at = (epoch, place, begin + np.concatenate([[0], np.cumsum(counts)]))
        _, places, ends = self._at
        at = int(places[row])
        return None if at + 1 >= len(ends) else self._words[ends[at] : ends[at + 1]]

    def _of_held(self, row: int) -> Numbers:
        start, stop = self._held_places[row]
        return self._held[start:stop]

    @cached_property
    def _held_places(self) -> dict[int, tuple[int, int]]:
        found, at = {}, 0
        for row in self._held_rows:
            _, labels = self.masking.hide(row["input_ids"], row["row"], HELD_OUT)
            count = int((labels != IGNORED).sum())
            found[int(row["row"])] = (at, at + count)
            at += count
        return found


class Detection(OnText):
    """Cross-entropy of what is replaced and what is not, over all tokens of text that is corrupted already.

    steps: of the schedule by which it was. whole: what was made. told: what the report says of it.
    """

    def __init__(self, steps: int, whole: Whole, told: dict[str, Any]) -> None:
        self.steps, self.whole, self.told = steps, whole, told

    def weight(self, batches: Sequence[dict[str, Any]]) -> torch.Tensor | None:
        """How many tokens are judged."""
        return torch.stack([batch["attention_mask"].sum() for batch in batches]).sum().float()

    def loss(self, model: nn.Module, batch: dict[str, Any], step: int, steps: int) -> torch.Tensor:
        if steps != self.steps:
            raise step_failed("E403", f"the text was corrupted for {self.steps} optimizer steps, and these are {steps}")
        asked, replaced = question(batch)
        mask = asked["attention_mask"]
        judged = mask.sum().float() if self.mean_weight is None else self.mean_weight.to(mask.device)
        return detection_loss(model(**asked).logits, replaced == 1, mask) / judged.clamp(min=1.0)

    def tally(self, model: nn.Module, batch: dict[str, Any]) -> dict[str, float]:
        asked, replaced = question(batch)
        return detected(model(**asked).logits, replaced == 1, asked["attention_mask"])

    def shares(self, sums: Mapping[str, float]) -> dict[str, float]:
        return detection_shares({**sums, "guessed": self.whole.guessed, "hidden": self.whole.held})

    def figures(self) -> dict[str, Any]:
        return {"corruption": self.told}
