"""Queries of fixed lengths: each text is padded to the shortest that holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

#: What a file's settings call the lengths that it takes.
LENGTHS = "lengths"
_SHORTEST = 32


def lengths_of(padding: str, max_length: int) -> list[int]:
    """The lengths that a file takes, none for `dynamic`, which takes any.

    Buckets are 32, 64, 128, … and max_length: of a text of more than 16 tokens at most half of what is computed is
    padding.
    """
    if padding == "dynamic":
        return []
    found, length = [], _SHORTEST
    while padding == "buckets" and length < max_length:
        found.append(length)
        length *= 2
    return [*found, max_length]


def padded(run: Callable[[dict[str, Any]], Any], lengths: Sequence[int]) -> Callable[[Mapping[str, Any]], Any]:
    """A query over arrays of shape (batch, sequence), from one over (1, length) for the given lengths alone.

    Texts of a batch are answered one after another. Padding is hidden by the mask, so that any token will do; of
    outputs for each token those of padding are cut off. The query raises ValueError for a text that is longer than all
    lengths.
    """

    def query(feed: Mapping[str, Any]) -> Any:
        width = feed["input_ids"].shape[1]
        length = min((n for n in lengths if n >= width), default=None)
        if length is None:
            raise ValueError(f"a text of {width} tokens, and the file takes {max(lengths)} at most")
        wide = {name: np.pad(values, ((0, 0), (0, length - width))) for name, values in feed.items()}
        rows = [run({name: values[i : i + 1] for name, values in wide.items()}) for i in range(len(feed["input_ids"]))]
        outputs = np.concatenate(rows) if len(rows) > 1 else rows[0]
        return outputs[:, :width] if outputs.ndim == 3 else outputs

    return query
