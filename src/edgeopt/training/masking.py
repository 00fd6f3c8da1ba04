"""Which tokens of a row are hidden for the model to guess, anew in every epoch and the same however often it is cut.

What is drawn follows from seed, epoch and the row's number alone, as the order of the rows does (`sampler.py`). Each
token is chosen by itself with the same chance, as transformers' DataCollatorForLanguageModeling does, or each word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeopt.tasks.base import IGNORED
from edgeopt.training.objective import ROW

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Key of a batch under which each of its tokens has a number between 0 and 1, by which a word is drawn for it.
LUCK = "luck"
#: The epoch of what is drawn for held-out rows, which is always the same.
HELD_OUT = 2**32 - 1
Ids = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Masking:
    """How tokens are hidden.

    share: of the positions. mask, random: shares of the chosen ones that become the mask token, or one drawn from all
    `words`; the others stay as they are. token: the mask token. special: tokens that are never chosen. follows: by
    token, whether it goes on with a word; None: each token is chosen by itself.
    """

    share: float
    mask: float
    random: float
    token: int
    words: int
    special: frozenset[int]
    seed: int
    follows: np.ndarray[Any, np.dtype[np.bool_]] | None = None

    def hide(self, ids: Ids, row: int, epoch: int) -> tuple[Ids, Ids]:
        """(the row with tokens hidden, the tokens to guess), IGNORED at every position that is not to be guessed."""
        draw = np.random.default_rng([self.seed, epoch, row])
        free = ~np.isin(ids, list(self.special))
        chosen = free & self._drawn(draw, ids, free)
        labels = np.where(chosen, ids, IGNORED)
        kind, other = draw.random(len(ids)), draw.integers(self.words, size=len(ids))
        hidden = np.where(chosen & (kind < self.mask), self.token, ids)
        return np.where(chosen & (kind >= self.mask) & (kind < self.mask + self.random), other, hidden), labels

    def luck(self, size: int, row: int, epoch: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """For each token of a row a number between 0 and 1, by which a word may be drawn for it."""
        return np.random.default_rng([self.seed, epoch, row, 1]).random(size)

    def _drawn(self, draw: np.random.Generator, ids: Ids, free: np.ndarray[Any, np.dtype[np.bool_]]) -> Any:
        luck = draw.random(len(ids)) < self.share
        if self.follows is None:
            return luck
        # of each word the first token's luck: a token that follows a special one begins a word
        begins = ~self.follows[ids] | ~free | np.concatenate([[True], ~free[:-1]])
        return luck[np.maximum.accumulate(np.where(begins, np.arange(len(ids)), 0))]


class MaskedBatches:
    """Makes a batch of rows of a corpus, padded, with tokens hidden; told of the epoch as the sampler is.

    draws: whether a batch also has LUCK.
    """

    draws = False

    def __init__(self, masking: Masking, pad: int) -> None:
        self.masking, self.pad, self.epoch = masking, pad, 0

    def set_epoch(self, epoch: int) -> None:
        """Draw for this epoch from now on."""
        self.epoch = epoch

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return self.batch(rows, self.epoch)

    def held_out(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A batch of rows that are looked at, with the same tokens hidden whenever that is."""
        return self.batch(rows, HELD_OUT)

    def batch(self, rows: Sequence[dict[str, Any]], epoch: int) -> dict[str, Any]:
        """A batch as of an epoch: `input_ids`, `attention_mask`, `labels`, and the rows' numbers."""
        import torch

        width = max(len(row["input_ids"]) for row in rows)
        ids, labels = np.full((len(rows), width), self.pad), np.full((len(rows), width), IGNORED)
        mask, luck = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width))
        for i, row in enumerate(rows):
            size = len(row["input_ids"])
            ids[i, :size], labels[i, :size] = self.made(row, epoch)
            mask[i, :size] = 1
            if self.draws:
                luck[i, :size] = self.masking.luck(size, row[ROW], epoch)
        arrays = {"input_ids": ids, "attention_mask": mask, "labels": labels, **({LUCK: luck} if self.draws else {})}
        return {name: torch.from_numpy(a) for name, a in arrays.items()} | {ROW: torch.tensor([r[ROW] for r in rows])}

    def made(self, row: Mapping[str, Any], epoch: int) -> tuple[Ids, Ids]:
        """(what the model is shown of a row, what it is to say of each token)."""
        return self.masking.hide(row["input_ids"], row[ROW], epoch)


def follows_a_word(tokenizer: Tokenizer) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """By token, whether it goes on with the word before it: by `##`, or by the lack of a mark of a space."""
    words = tokenizer.get_vocab()
    out = np.zeros(max(words.values()) + 1, dtype=bool)
    marked = sum(bool(re.match("[Ġ▁]", word)) for word in words) > len(words) // 10
    for word, number in words.items():
        out[number] = not re.match("[Ġ▁]", word) if marked else word.startswith("##")
    return out
