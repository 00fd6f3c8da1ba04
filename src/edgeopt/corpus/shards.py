"""A corpus in tokens, in the store: made once, piece by piece, memory-mapped by every run that reads it.

<store>/corpora/<address>/00000/train.npy        tokens of the documents to train on, one after the other
                                train-ends.npy   where each ends
                                held.npy …       the same of the documents that are held out
                                hashes.npy       of the texts of the documents to train on
                                piece.json       what is in the piece, with digests; whole pieces alone have the name
                         whole.json              how many pieces there are; written last

A piece ends where so many characters were read, so that its contents follow from the texts alone. What is there of a
making that was cut off is kept, and its documents are skipped. The address is that of the contents: digests of the
files, of the tokenizer and of the settings.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from edgeopt.corpus.documents import documents
from edgeopt.corpus.source import Corpus
from edgeopt.corpus.tokens import Numbers, Tokens, tokenized
from edgeopt.support import host
from edgeopt.support.errors import InputError, bad_input
from edgeopt.support.files import file_digest, key_of, write_json
from edgeopt.support.progress import Progress
from edgeopt.support.reading import Count, Digest, Reader

Part = Literal["train", "held"]
#: Characters of a piece, and of a corpus from which on several processes tokenize.
_PIECE, _LARGE = 16_000_000, 20_000_000
_FORMAT = 2
_MANIFEST, _WHOLE = "piece.json", "whole.json"
_READER = Reader("corpus of the store", "E157")


class _Piece(BaseModel):
    """What a piece holds. documents: that were read for it, of the train or of the validation files."""

    model_config = ConfigDict(extra="forbid")

    validation: bool
    documents: Count
    characters: Count
    files: dict[str, Digest]


class _All(BaseModel):
    model_config = ConfigDict(extra="forbid")

    pieces: Count
    characters: Count
    seconds: float


@dataclass(frozen=True)
class Stream:
    """The tokens of a part of a corpus, one document after the other, each with a separator behind it.

    pieces: memory-mapped. ends: of each piece, where its documents end.
    """

    pieces: list[Numbers]
    ends: list[Numbers]
    starts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "starts", [0, *np.cumsum([len(p) for p in self.pieces]).tolist()])

    @property
    def tokens(self) -> int:
        return int(self.starts[-1])

    @property
    def documents(self) -> int:
        return sum(map(len, self.ends))

    def bounds(self) -> Numbers:
        """Where each document begins, and last where the stream ends."""
        shifted = [np.asarray(ends) + start for ends, start in zip(self.ends, self.starts, strict=False)]
        return np.concatenate([np.zeros(1, np.int64), *shifted])

    def read(self, start: int, stop: int) -> Numbers:
        """Tokens of the stream, from one place to another."""
        found: list[Numbers] = []
        stop = min(stop, self.tokens)
        while start < stop:
            i = bisect_right(self.starts, start) - 1
            end = min(stop, self.starts[i + 1])
            found.append(np.asarray(self.pieces[i][start - self.starts[i] : end - self.starts[i]], dtype=np.int64))
            start = end
        return np.concatenate(found) if found else np.zeros(0, np.int64)


@dataclass(frozen=True)
class Shards:
    """A corpus in tokens. seconds: that it took to make them, whoever did."""

    folder: Path
    pieces: int
    characters: int
    seconds: float

    def stream(self, part: Part) -> Stream:
        """The tokens of a part."""
        return Stream(self._arrays(part), self._arrays(f"{part}-ends"))

    def seen(self, hashes: Iterable[int]) -> set[int]:
        """Those of the texts' hashes that documents to train on have."""
        wanted = np.fromiter(hashes, np.uint64)
        return {int(h) for array in self._arrays("hashes") for h in wanted[np.isin(wanted, array)]}

    @property
    def bytes(self) -> int:
        """How much of the disk it takes."""
        return sum(path.stat().st_size for path in self.folder.rglob("*.npy"))

    def _arrays(self, name: str) -> list[Numbers]:
        found = [np.load(self.folder / f"{i:05}" / f"{name}.npy", mmap_mode="r") for i in range(self.pieces)]
        return [array for array in found if len(array)] if name == "hashes" else found


def shards(corpus: Corpus, tokenizer: str, separator: tuple[int, ...], root: Path, progress: Progress) -> Shards:
    """The corpus in tokens; one process makes what is not there yet, others wait for it.

    tokenizer: what tokenizer.json says. separator: tokens behind each document. root: of all corpora. Raises
    InputError E305 where there is no document to train on.
    """
    folder = root / address(corpus.asked(), tokenizer, separator)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        found = _opened(folder)
        if found is None:
            with progress.during(f"texts of {corpus.name} to tokens", told=False):
                found = _make(corpus.asked(), tokenizer, separator, folder)
            speed = found.characters / 1e6 / max(found.seconds, 1e-3)
            progress.say(f"  {found.stream('train').tokens:,} tokens, {speed:.1f} million characters a second")
    os.utime(folder / _WHOLE)  # when it was last of use
    if not found.stream("train").tokens:
        raise bad_input(
            "E305", f"the corpus {corpus.name} has no text to train on", help="give more text, or lower held_out"
        )
    return found


def address(corpus: Corpus, tokenizer: str, separator: tuple[int, ...]) -> str:
    """The name of the folder of a corpus in tokens, of all that decides them."""
    return key_of(
        {
            "format": _FORMAT,
            "corpus": corpus.key(),
            "tokenizer": tokenizer,
            "tokenizers": host.installed("tokenizers"),
            "separator": separator,
        }
    )


def there(folder: Path) -> Shards | None:
    """What the folder has by what it says of itself; None where it is not whole."""
    try:
        known: _All = _READER.model(folder / _WHOLE, _All)
    except InputError:
        return None
    return Shards(folder, known.pieces, known.characters, known.seconds)


def _opened(folder: Path) -> Shards | None:
    """What the folder has, where it is whole and as it was written."""
    known = there(folder)
    if known is not None and len(list(_good(folder))) != known.pieces:
        (folder / _WHOLE).unlink()
        return None
    return known


def _good(folder: Path) -> Iterator[_Piece]:
    """The pieces from the first on that are as they were written; one that is not is removed, and all behind it."""
    number = 0
    while (piece := folder / f"{number:05}").is_dir():
        try:
            found: _Piece = _READER.model(piece / _MANIFEST, _Piece)
            good = all(file_digest(piece / name) == digest for name, digest in found.files.items())
        except (InputError, OSError):
            good = False
        if not good:
            for each in folder.iterdir():
                if each.is_dir() and each.name >= piece.name:
                    shutil.rmtree(each)
            return
        yield found
        number += 1


def _make(corpus: Corpus, tokenizer: str, separator: tuple[int, ...], folder: Path) -> Shards:
    started = time.monotonic()
    done = list(_good(folder))
    number, characters = len(done), sum(p.characters for p in done)
    size = sum(path.stat().st_size for path in (*corpus.train, *corpus.validation))
    processes = host.cpus() if corpus.on_hub or size > _LARGE else 1
    share = 0.0 if corpus.validation else corpus.spec.held_out
    for validation in (False, True) if corpus.validation else (False,):
        skipped = sum(p.documents for p in done if p.validation == validation)
        texts = islice(documents(corpus, validation=validation), skipped, None)
        trained = _hashes(folder, number) if validation else None
        for gathered in _gathered(tokenized(texts, tokenizer, processes)):
            piece = _write(folder, number, gathered, separator, share=share, trained=trained)
            number, characters = number + 1, characters + piece.characters
    seconds = round(time.monotonic() - started, 3)
    write_json(folder / _WHOLE, {"pieces": number, "characters": characters, "seconds": seconds})
    return Shards(folder, number, characters, seconds)


def _gathered(batches: Iterable[Tokens]) -> Iterator[list[Tokens]]:
    held: list[Tokens] = []
    for batch in batches:
        held.append(batch)
        if sum(b.characters for b in held) >= _PIECE:
            yield held
            held = []
    if held:
        yield held


def _hashes(folder: Path, pieces: int) -> Numbers:
    """Hashes of the documents to train on, which are in so many pieces."""
    found = [np.load(folder / f"{number:05}" / "hashes.npy") for number in range(pieces)]
    return np.concatenate([np.zeros(0, np.uint64), *found])


def _write(
    folder: Path,
    number: int,
    batches: list[Tokens],
    separator: tuple[int, ...],
    *,
    share: float,
    trained: Numbers | None,
) -> _Piece:
    """A piece, whole or not at all.

    share: of the documents, by their texts' hashes, that is held out. trained: of validation files the hashes of the
    documents to train on; those that have one are left out, and the others held out.
    """
    values, counts, hashes = (
        np.concatenate([getattr(batch, name) for batch in batches]) for name in ("values", "counts", "hashes")
    )
    if trained is None:
        held = (hashes % np.uint64(1_000_003)) < np.uint64(round(share * 1_000_003))
        chosen_of = {"train": ~held & (counts > 0), "held": held & (counts > 0)}
    else:
        held = np.ones(len(hashes), bool)
        chosen_of = {"train": ~held, "held": ~np.isin(hashes, trained) & (counts > 0)}
    arrays: dict[str, Numbers] = {"hashes": hashes[~held]}
    ends = np.cumsum(counts)
    marks = np.array(separator, values.dtype)
    for part, chosen in chosen_of.items():
        pieces = [np.concatenate([values[e - n : e], marks]) for e, n in zip(ends[chosen], counts[chosen], strict=True)]
        arrays[part] = np.concatenate(pieces) if pieces else np.zeros(0, values.dtype)
        arrays[f"{part}-ends"] = np.cumsum(counts[chosen] + len(marks))
    final, part_folder = folder / f"{number:05}", folder / f"{number:05}.part"
    shutil.rmtree(part_folder, ignore_errors=True)
    part_folder.mkdir()
    for name, array in arrays.items():
        with (part_folder / f"{name}.npy").open("wb") as file:
            np.save(file, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
    files = {f"{name}.npy": file_digest(part_folder / f"{name}.npy") for name in arrays}
    characters = sum(batch.characters for batch in batches)
    piece = _Piece(validation=trained is not None, documents=len(counts), characters=characters, files=files)
    (part_folder / _MANIFEST).write_text(json.dumps(piece.model_dump()), encoding="utf-8")
    os.replace(part_folder, final)
    return piece
