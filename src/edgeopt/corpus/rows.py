"""Rows of a corpus: its tokens in lengths that a model takes, joined over documents or each document by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from edgeopt.corpus.shards import Stream
from edgeopt.corpus.tokens import Numbers

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Frame:
    """The special tokens that a tokenizer puts before a text and behind it."""

    before: tuple[int, ...]
    behind: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.before) + len(self.behind)


def frame_of(tokenizer: Tokenizer) -> Frame:
    """What a tokenizer puts around a text."""
    for text in ("a", "the", "."):
        inside = tokenizer.encode(text, add_special_tokens=False).ids
        whole = tokenizer.encode(text).ids
        for at in range(len(whole) - len(inside) + 1):
            if inside and whole[at : at + len(inside)] == inside:
                return Frame(tuple(whole[:at]), tuple(whole[at + len(inside) :]))
    return Frame((), ())


class CorpusRows(Sequence[dict[str, Any]]):
    """Rows of a stream by their numbers: `input_ids` with the special tokens around them, and the number as `row`.

    pack: whether rows go on over the ends of documents.
    """

    def __init__(self, stream: Stream, frame: Frame, max_length: int, *, pack: bool) -> None:
        self.stream, self.frame, self.room = stream, frame, max_length - len(frame)
        self._bounds: Numbers | None = None
        if pack:
            self._count = -(-stream.tokens // self.room)
        else:
            self._bounds = stream.bounds()
            # the separator behind a document is not part of it
            sizes = np.diff(self._bounds) - len(frame.behind)
            self._first = np.concatenate([np.zeros(1, np.int64), np.cumsum(-(-sizes // self.room))])
            self._count = int(self._first[-1])

    def __len__(self) -> int:
        return self._count

    @property
    def lengths(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """How many tokens each row has, special ones included."""
        out = np.full(len(self), self.room + len(self.frame), dtype=np.int64)
        if self._bounds is None:
            if len(self):
                out[-1] = self.stream.tokens - (len(self) - 1) * self.room + len(self.frame)
        else:
            sizes = np.diff(self._bounds) - len(self.frame.behind)
            out[self._first[1:] - 1] = (sizes - 1) % self.room + 1 + len(self.frame)
        return out

    def _place(self, row: int) -> tuple[int, int]:
        """Where the row begins in the stream, and where it ends."""
        if self._bounds is None:
            return row * self.room, (row + 1) * self.room
        document = int(np.searchsorted(self._first, row, side="right")) - 1
        start = int(self._bounds[document]) + (row - int(self._first[document])) * self.room
        return start, min(start + self.room, int(self._bounds[document + 1]) - len(self.frame.behind))

    @overload
    def __getitem__(self, row: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, row: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, row: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not 0 <= row < len(self):
            raise IndexError(row)
        inside = self.stream.read(*self._place(row))
        ids = np.concatenate([np.array(self.frame.before, np.int64), inside, np.array(self.frame.behind, np.int64)])
        return {"input_ids": ids, "row": row}
