"""Texts in tokens: made once, the same however often the making was cut, and rows that hold all of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import WORDS
from tokenizers import Tokenizer

from edgeopt.corpus import shards as module
from edgeopt.corpus.rows import CorpusRows, Frame, frame_of
from edgeopt.corpus.shards import Shards, Stream, shards
from edgeopt.corpus.source import find_corpus
from edgeopt.corpus.tokens import text_hash, tokenized
from edgeopt.spec.corpus import CorpusSpec
from edgeopt.support.errors import InputError
from edgeopt.support.progress import Progress

SEPARATOR = (3,)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE", 3000)
    monkeypatch.setattr("edgeopt.corpus.tokens._AT_ONCE", 1000)


@pytest.fixture
def texts(tmp_path: Path) -> list[str]:
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, size=n)) for n in draw.integers(1, 60, size=80)]
    (tmp_path / "a.txt").write_text("\n\n".join(texts))
    return texts


@pytest.fixture
def tokenizer(tiny_model: Path) -> Tokenizer:
    return Tokenizer.from_file(str(tiny_model / "tokenizer.json"))


def make(folder: Path, tokenizer: Tokenizer, root: str = "corpora", **keys: Any) -> Shards:
    corpus = find_corpus(CorpusSpec.model_validate({"data_files": "a.txt", **keys}), folder)
    return shards(corpus, tokenizer.to_str(), SEPARATOR, folder / root, Progress(show=False))


def tokens(made: Shards, part: Any = "train") -> list[int]:
    stream = made.stream(part)
    return stream.read(0, stream.tokens).tolist()


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.npy")}


def test_all_documents_are_there_in_their_order(tmp_path: Path, texts: list[str], tokenizer: Tokenizer) -> None:
    made = make(tmp_path, tokenizer, held_out=0)
    expected = [[*tokenizer.encode(text, add_special_tokens=False).ids, *SEPARATOR] for text in texts]
    assert made.pieces > 2
    assert tokens(made) == [i for each in expected for i in each]
    assert made.stream("train").bounds().tolist() == [0, *np.cumsum([len(each) for each in expected])]
    assert tokens(made, "held") == []
    assert made.characters == sum(map(len, texts))
    assert made.seen([text_hash(texts[5].upper() + "!"), 12345]) == {text_hash(texts[5])}


def test_held_out_documents_are_apart_and_copies_stay_together(
    tmp_path: Path, texts: list[str], tokenizer: Tokenizer
) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join([*texts, *(f"{text} ." for text in texts)]))
    made = make(tmp_path, tokenizer, held_out=0.3)
    train, held = made.stream("train"), made.stream("held")
    assert train.documents + held.documents == 2 * len(texts)
    assert 0.1 < held.documents / (2 * len(texts)) < 0.5
    assert held.documents % 2 == 0


def test_validation_files_hold_nothing_out_that_is_trained_on(
    tmp_path: Path, texts: list[str], tokenizer: Tokenizer
) -> None:
    (tmp_path / "b.txt").write_text("\n\n".join(["good1 " * 70, *(f"{text} ." for text in texts), "bad2 " * 70]))
    given = make(tmp_path, tokenizer, held_out=0.3, data_files={"train": "a.txt", "validation": "b.txt"})
    assert given.stream("train").documents == len(texts)
    expected = [
        [*tokenizer.encode(f"{word} " * 70, add_special_tokens=False).ids, *SEPARATOR] for word in ("good1", "bad2")
    ]
    assert tokens(given, "held") == [i for each in expected for i in each]


def test_texts_are_tokenized_once(
    tmp_path: Path, texts: list[str], tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(tmp_path, tokenizer)
    shutil.copy(tmp_path / "a.txt", tmp_path / "b.txt")
    monkeypatch.setattr(module, "tokenized", lambda *_: pytest.fail("again"))
    assert make(tmp_path, tokenizer, data_files="b.txt").folder == first.folder
    assert make(tmp_path, tokenizer, pack=False).folder == first.folder


def test_a_making_that_is_cut_goes_on_to_the_same_bytes(
    tmp_path: Path, texts: list[str], tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files(make(tmp_path, tokenizer, "whole").folder)
    given: list[str] = []

    def cut(documents: Iterator[str], *more: Any) -> Iterator[Any]:
        for number, batch in enumerate(tokenized(documents, *more)):
            if number == 4:
                raise KeyboardInterrupt
            yield batch

    def told(documents: Iterator[str], *more: Any) -> Iterator[Any]:
        return tokenized((given.append(text) or text for text in documents), *more)  # type: ignore[func-returns-value]

    monkeypatch.setattr(module, "tokenized", cut)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, tokenizer)
    monkeypatch.setattr(module, "tokenized", told)
    made = make(tmp_path, tokenizer)
    assert files(made.folder) == whole
    assert 0 < len(given) < len(texts)


def test_a_damaged_piece_is_made_again(tmp_path: Path, texts: list[str], tokenizer: Tokenizer) -> None:
    made = make(tmp_path, tokenizer)
    whole = files(made.folder)
    path = made.folder / "00001" / "train.npy"
    path.write_bytes(path.read_bytes()[:-2])
    assert files(make(tmp_path, tokenizer).folder) == whole


def test_processes_make_what_one_makes(texts: list[str], tokenizer: Tokenizer) -> None:
    alone, together = ([*tokenized(texts, tokenizer.to_str(), n)] for n in (1, 2))
    assert len(alone) > 2
    for one, other in zip(alone, together, strict=True):
        assert one.values.tolist() == other.values.tolist()
        assert (one.counts.tolist(), one.hashes.tolist()) == (other.counts.tolist(), other.hashes.tolist())
        assert one.characters == other.characters


def test_no_text_left_is_said(tmp_path: Path, tokenizer: Tokenizer) -> None:
    held = next(word for word in WORDS if text_hash(word) % 1_000_003 < 490_000)
    (tmp_path / "a.txt").write_text(held)
    with pytest.raises(InputError, match="E305"):
        make(tmp_path, tokenizer, held_out=0.499)


def stream(*documents: list[int]) -> Stream:
    """A stream of two pieces."""
    parts = [documents[:2], (), documents[2:]]
    return Stream(
        [np.array([i for each in part for i in (*each, 9)], np.uint16) for part in parts],
        [np.cumsum([len(each) + 1 for each in part]) if part else np.zeros(0, np.int64) for part in parts],
    )


def test_packed_rows_hold_the_whole_stream() -> None:
    made = stream([1, 2, 3], [4], [5, 6], [7])
    rows = CorpusRows(made, Frame((100,), (101,)), 6, pack=True)
    assert [row["input_ids"].tolist() for row in rows] == [
        [100, 1, 2, 3, 9, 101],
        [100, 4, 9, 5, 6, 101],
        [100, 9, 7, 9, 101],
    ]
    assert rows.lengths.tolist() == [6, 6, 5]
    assert [row["row"] for row in rows] == [0, 1, 2]


def test_rows_of_single_documents_leave_the_separator_to_the_frame() -> None:
    made = stream([1, 2, 3], [4], [5, 6], [7])
    rows = CorpusRows(made, Frame((100,), (9,)), 4, pack=False)
    assert [row["input_ids"].tolist() for row in rows] == [
        [100, 1, 2, 9],
        [100, 3, 9],
        [100, 4, 9],
        [100, 5, 6, 9],
        [100, 7, 9],
    ]
    assert rows.lengths.tolist() == [4, 3, 3, 4, 3]
    with pytest.raises(IndexError):
        rows[5]


def test_the_frame_is_what_the_tokenizer_puts_around_a_text(tokenizer: Tokenizer) -> None:
    words = tokenizer.get_vocab()
    assert frame_of(tokenizer) == Frame((words["[CLS]"],), (words["[SEP]"],))
