"""Rows of one split, checked: what tasks read, and steps train on and are measured on."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

#: The carving of train is part of what a recipe means, not of its luck: it does not follow the seed.
_CARVE_SEED = 0

_PLAIN = bytes(range(128)).lower() + bytes(range(128, 256))
_DROPPED = bytes(c for c in range(128) if not chr(c).isalnum())


def bare(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Letters and digits alone, as datasets differ in how they cut words; a text that has none stays as it is."""
    return tuple(map(_bare, texts))


def _bare(text: str) -> str:
    if text.isascii():  # the same, and ten times as quick
        return text.encode().translate(_PLAIN, _DROPPED).decode() or text.strip()
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold()) or text.strip()


@dataclass(frozen=True)
class Split:
    """Rows of one split.

    texts: a tuple of strings a row: one text, two, a question and its choices, or words. labels: a class number, a
    score, or a tuple of numbers. documents: the number of each row's document, where the rows of a document are no use
    apart; else empty. slices: by column of task.slices, each row's value.
    """

    name: str
    texts: tuple[tuple[str, ...], ...]
    labels: tuple[Any, ...]
    documents: tuple[int, ...] = ()
    slices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: What the rows are searched for in, where they are queries.
    passages: tuple[str, ...] = ()
    #: Sentences that a reader of its figures should know about how its rows were found.
    said: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the rows, which does not depend on the file or format that they came from."""
        digest = hashlib.sha256()
        for texts, label in zip(self.texts, self.labels, strict=True):
            digest.update(json.dumps([*texts, label], ensure_ascii=False).encode())
            digest.update(b"\n")
        for passage in self.passages:
            digest.update(json.dumps(passage, ensure_ascii=False).encode())
            digest.update(b"\n")
        return digest.hexdigest()

    @cached_property
    def slice_fingerprints(self) -> dict[str, str]:
        """SHA-256 of the values of each column of task.slices, which no training sees and gates on slices do."""
        return {
            column: hashlib.sha256(json.dumps(values, ensure_ascii=False).encode()).hexdigest()
            for column, values in self.slices.items()
        }

    def take(self, rows: Sequence[int], name: str) -> Split:
        """The split of these rows alone, by their numbers."""
        documents = tuple(self.documents[i] for i in rows) if self.documents else ()
        slices = {column: tuple(values[i] for i in rows) for column, values in self.slices.items()}
        return Split(
            name,
            tuple(self.texts[i] for i in rows),
            tuple(self.labels[i] for i in rows),
            documents,
            slices,
            self.passages,
            self.said,
        )

    def bare(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        """What of a row's texts makes it the same as one of these: of queries in a corpus the query alone."""
        return bare(texts[:1] if self.passages else texts)

    def units(self) -> list[list[int]]:
        """Rows that stay together: those of a document, where there are documents; else each by itself."""
        found: dict[int, list[int]] = {}
        for row, document in enumerate(self.documents or range(len(self))):
            found.setdefault(document, []).append(row)
        return list(found.values())

    @cached_property
    def copied(self) -> int:
        """How many rows are copies of one before, in texts and label; of documents, rows of whole copies.

        Case, spaces and punctuation make no difference.
        """
        seen, copies = set[tuple[Any, ...]](), 0
        for unit in self.units():
            content = tuple((bare(self.texts[row]), self.labels[row]) for row in unit)
            copies += len(unit) * (content in seen)
            seen.add(content)
        return copies

    def first(self, count: int | None) -> Split:
        """At most `count` rows, drawn without replacement in a fixed order; whole documents, one at least."""
        if count is None or count >= len(self):
            return self
        units, rows = self.units(), list[int]()
        for unit in np.random.default_rng(_CARVE_SEED).permutation(len(units)).tolist():
            if rows and len(rows) + len(units[unit]) > count:
                break
            rows += units[unit]
        return self.take(sorted(rows), self.name)
