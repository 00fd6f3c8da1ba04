"""Texts written token by token: each time the likeliest, until the end token. numpy alone, as on a device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Values = np.ndarray[Any, np.dtype[Any]]


def write(
    run: Callable[[dict[str, Values]], Values], feed: Mapping[str, Values], *, start: int, end: int, max_length: int
) -> list[int]:
    """Tokens that the model writes for one query, without start and end.

    They are fewer than `max_length` - 1, or as many where no end comes, and those of transformers'
    generate(num_beams=1, do_sample=False, max_length=max_length). Raises FloatingPointError for logits that are not
    finite, of which the largest says nothing.

    run: inputs to logits of shape (1, target, vocabulary). feed: the encoder's inputs, shape (1, sequence).
    The graph keeps no keys and values, and reads the document again for each token.
    """
    ids = [start]
    while len(ids) < max_length:
        logits = run({**feed, "decoder_input_ids": np.array([ids], dtype=np.int64)})
        if not np.isfinite(logits[0, -1]).all():
            raise FloatingPointError("the scores of the next word are no numbers")
        token = int(logits[0, -1].argmax())
        if token == end:
            break
        ids.append(token)
    return ids[1:]
