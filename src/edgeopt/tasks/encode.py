"""Texts to token ids, with the tokenizers library alone: the same on a device as in training."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.data import Split
from edgeopt.errors import bad_input

Ids = dict[str, list[int]]
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Encoder:
    """Reads `tokenizer.json` of a folder. Raises InputError E311 where it is absent or damaged."""

    def __init__(self, folder: Path, max_length: int) -> None:
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        try:
            self.tokenizer: Any = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise bad_input("E311", f"{path} is not a tokenizer: {error}") from None
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length)
        # no pad token: any id will do, the attention mask hides it
        self.pad_id = next((i for t in ("[PAD]", "<pad>") if (i := self.tokenizer.token_to_id(t)) is not None), 0)

    def ids(self, texts: Sequence[tuple[str, ...]]) -> list[Ids]:
        """Inputs of each row, without padding."""
        encoded = self.tokenizer.encode_batch([t if len(t) > 1 else t[0] for t in texts])
        return [{"input_ids": e.ids, "attention_mask": e.attention_mask, "token_type_ids": e.type_ids} for e in encoded]

    def rows(self, split: Split, accepted: Collection[str], *, regression: bool) -> list[dict[str, Any]]:
        """Training rows: the inputs that the model's forward accepts, and `labels`."""
        names = [n for n in _INPUTS if n in accepted]
        labels = split.labels if regression else [int(x) for x in split.labels]
        return [{**{n: ids[n] for n in names}, "labels": label} for ids, label in zip(self.ids(split.texts), labels, strict=True)]

    def pad(self, rows: Sequence[Ids]) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
        """Arrays of shape (rows, longest row), padded on the right."""
        width = max(len(r["input_ids"]) for r in rows)
        fill = {"input_ids": self.pad_id, "attention_mask": 0, "token_type_ids": 0}
        return {name: np.array([[*r[name], *[fill[name]] * (width - len(r[name]))] for r in rows], dtype=np.int64) for name in _INPUTS if name in rows[0]}

    def collator(self, *, regression: bool) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
        """Pads a batch to its own longest row."""
        import torch

        def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
            batch = {name: torch.from_numpy(values) for name, values in self.pad(rows).items()}
            batch["labels"] = torch.tensor([r["labels"] for r in rows], dtype=torch.float32 if regression else torch.long)
            return batch

        return collate
