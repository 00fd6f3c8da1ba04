"""Documents of files in every form, cleaned, kept apart, and each mistake with its place."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeopt.corpus.documents import LONGEST, clean, documents, looked_at
from edgeopt.corpus.source import find_corpus
from edgeopt.spec.corpus import CorpusSpec
from edgeopt.support.errors import InputError

TEXT = "One  line,\nand\tanother.\n\n\nThe second\x00 document.\r\n"


def read(folder: Path, **keys: Any) -> list[str]:
    validation = keys.pop("validation", False)
    corpus = looked_at(find_corpus(CorpusSpec.model_validate(keys), folder))
    return list(documents(corpus, validation=validation))


def problem(folder: Path, **keys: Any) -> str:
    with pytest.raises(InputError) as raised:
        read(folder, **keys)
    return str(raised.value)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ("blank-line", ["One line, and another.", "The second document."]),
        ("line", ["One line,", "and another.", "The second document."]),
        ("file", ["One line, and another. The second document."]),
    ],
)
def test_a_text_file_has_documents_as_the_recipe_says(tmp_path: Path, ends: str, expected: list[str]) -> None:
    text = TEXT.replace("\x00", "")
    (tmp_path / "a.txt").write_text(text)
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write(text)
    assert read(tmp_path, data_files="a.txt", documents=ends) == expected
    assert read(tmp_path, data_files=["a.txt", "b.txt.gz"], documents=ends) == expected * 2


def test_rows_of_every_format_are_documents(tmp_path: Path) -> None:
    rows = [{"a": "first", "b": "half"}, {"a": " ", "b": None}, {"a": None, "b": "second"}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "x.json").write_text(json.dumps(rows))
    (tmp_path / "x.csv").write_text("a,b\nfirst,half\n,second\n")
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    for name in ("x.jsonl", "x.json", "x.csv", "x.parquet"):
        assert read(tmp_path, data_files=name, text=["a", "b"]) == ["first half", "second"], name
        assert read(tmp_path, data_files=name, text="b") == ["half", "second"], name


def test_a_folder_has_splits_or_is_read_whole(tmp_path: Path) -> None:
    for name in ("train.txt", "valid.txt", "test.txt", "notes.md"):
        (tmp_path / name).write_text(name)
    assert read(tmp_path, path=".") == ["train.txt"]
    assert read(tmp_path, path=".", validation=True) == ["valid.txt"]
    (tmp_path / "train.txt").unlink()
    assert read(tmp_path, path=".") == ["test.txt", "valid.txt"]


def test_names_stand_for_files(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "notes.md", "deep/er/c.txt.gz", "[d].txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        data = name.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read(tmp_path, data_files="?.txt") == ["a.txt", "b.txt"]
    assert read(tmp_path, data_files="[d].txt") == ["[d].txt"]  # a name that is there stands for itself
    assert read(tmp_path, data_files=["deep/**/*", "b.txt"]) == ["deep/er/c.txt.gz", "b.txt"]
    assert "has a name like *.csv" in problem(tmp_path, data_files="*.csv")
    assert "deep/**/*.txt*}" in problem(tmp_path, path="deep")
    assert read(tmp_path, data_files="deep/**/*.txt*") == ["deep/er/c.txt.gz"]
    (tmp_path / "deep" / "loop").symlink_to("..")
    assert read(tmp_path, data_files=["deep/**/c.*", "*.txt", "a.txt"]) == [
        "deep/er/c.txt.gz",
        "[d].txt",
        "a.txt",
        "b.txt",
    ]


def test_what_stands_between_cells_may_be_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id;text\n1;"one, two"\n')
    assert read(tmp_path, data_files="a.csv", delimiter=";") == ["one, two"]
    assert "set delimiter: ';'" in problem(tmp_path, data_files="a.csv")
    assert "name the column of the text with `text`" in problem(tmp_path, data_files="a.csv", delimiter=";", text="b")
    spec = CorpusSpec(data_files="a.csv")
    keys = [find_corpus(s, tmp_path).key() for s in (spec, spec.model_copy(update={"delimiter": ";"}))]
    assert keys[0] != keys[1] and "delimiter" not in str(keys[0])


def test_a_long_document_is_read_in_pieces(tmp_path: Path) -> None:
    words = " ".join(f"word{i}" for i in range(40_000))
    (tmp_path / "a.txt").write_text(words + "\n")
    found = read(tmp_path, data_files="a.txt", documents="file")
    assert len(found) > 1
    assert all(len(piece) <= LONGEST for piece in found)
    assert " ".join(found) == words


@pytest.mark.parametrize("ends", ["line", "blank-line", "file"])
def test_a_line_of_any_length_is_read_a_part_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    text = "ab cd\x07ef  gh " * 200 + "\n" + "x" * 300 + "\n\n" + " " * 70 + "last\u00a0words" + " y" * 40
    (tmp_path / "a.txt").write_text(text)
    found = {}
    for most in (LONGEST, 64):
        monkeypatch.setattr("edgeopt.corpus.documents.LONGEST", most)
        found[most] = read(tmp_path, data_files="a.txt", documents=ends)
    assert all(len(piece) <= 64 for piece in found[64])
    assert "".join("".join(found[64]).split()) == "".join(clean(text).split())
    if ends == "line":  # where a piece ends follows from the text, however it was read
        rows = [{"text": line} for line in text.split("\n")]
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert read(tmp_path, data_files="a.jsonl") == found[64]


def test_cleaning_keeps_text_and_drops_what_no_text_has() -> None:
    assert clean("a\x07b\x00 \u00a0 c\n\n\x9dd\ufeff") == "ab c d"
    assert clean("naïve \ud800 café \u200d") == "naïve café \u200d"


def test_mistakes_name_their_place(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "odd.jsonl").write_text('{"text": 7}\n')
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"some text " * 1000)[:30])
    (tmp_path / "empty.txt").write_text(" \n\n")
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    (tmp_path / "folder").mkdir()
    assert "E301" in problem(tmp_path, data_files="row.jsonl")
    assert "did you mean rows.jsonl?" in problem(tmp_path, data_files="row.jsonl")
    assert "E301" in problem(tmp_path, path="folder")
    assert "name a folder with `path`" in problem(tmp_path, data_files="folder")
    assert "E303" in problem(tmp_path, data_files="rows.jsonl", text="body")
    assert "odd.jsonl:1" in (said := problem(tmp_path, data_files="odd.jsonl"))
    assert "E304" in said
    assert "E302" in problem(tmp_path, data_files="cut.txt.gz")
    assert "E305" in problem(tmp_path, data_files="empty.txt")
    assert "latin.txt:1:1" in problem(tmp_path, data_files="latin.txt")


def test_the_hub_is_asked_for_a_commit_and_read_in_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def load(path: str, name: str | None, **keys: Any) -> list[dict[str, str]]:
        asked.append({"path": path, "name": name, **keys})
        return [{"text": "one"}, {"text": "two"}]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load))
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: SimpleNamespace(sha="c0ffee"))
    corpus = find_corpus(CorpusSpec(path="owner/texts", name="small"), tmp_path)
    assert corpus.key() is None
    known = corpus.asked()
    assert known.key() == corpus.recalled({"fingerprint": "c0ffee"}).key()
    assert list(documents(known)) == ["one", "two"]
    wanted = {"path": "owner/texts", "name": "small", "split": "train", "revision": "c0ffee", "streaming": True}
    assert asked == [wanted]
