"""Documents of a corpus in a stream: one is in memory at a time, cleaned, never empty and never very long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeopt.corpus.source import TEXT, Corpus
from edgeopt.data.files import read_rows, readable, stem_and_suffix
from edgeopt.data.lines import opened, text_lines
from edgeopt.data.tables import delimiter_guess
from edgeopt.spec.corpus import CorpusSpec
from edgeopt.support.errors import InputError, Place, bad_input
from edgeopt.support.words import first_line
from edgeopt.tasks.columns import NoColumn, require, short

#: Characters of a document that is read as one; what is longer goes on as the next.
LONGEST = 100_000
_ROWS_AT_ONCE = 1000
#: Control characters that are no white space.
_CONTROL = dict.fromkeys([*range(9), *range(14, 28), *range(127, 133), *range(134, 160), 0xFEFF])


def documents(corpus: Corpus, *, validation: bool = False) -> Iterator[str]:
    """The documents to train on, or those of the validation files, in their order.

    Raises InputError E302, E306 for a file that cannot be read, E303, E304 for a row without a text in its columns,
    E312 for the hub's.
    """
    if corpus.on_hub:
        yield from _pieces(_of_hub(corpus))
        return
    for path in corpus.validation if validation else corpus.train:
        texts = _of_text(path, corpus.spec) if stem_and_suffix(path)[1] in TEXT else _of_rows(path, corpus.spec)
        yield from _pieces(texts)


def looked_at(corpus: Corpus) -> Corpus:
    """The corpus. Raises InputError as `documents` does for the first document, and E305 where there is none."""
    for validation in (False, True) if corpus.validation else (False,):
        if not corpus.on_hub and next(documents(corpus, validation=validation), None) is None:
            files = corpus.validation if validation else corpus.train
            raise bad_input("E305", f"the corpus has no text in {files[0].name}", help="give files with text in them")
    return corpus


def clean(text: str) -> str:
    """The text without control characters, halves of characters, and runs of white space."""
    if not text.isascii():
        text = text.encode("utf-8", "ignore").decode()
    return " ".join(text.translate(_CONTROL).split())


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    """Cleaned texts that are not empty, in pieces of a length that memory has room for."""
    for text in texts:
        cleaned = clean(text)
        while len(cleaned) > LONGEST:
            at = cleaned.rfind(" ", LONGEST // 2, LONGEST)
            at = LONGEST if at < 0 else at
            yield cleaned[:at]
            cleaned = cleaned[at:].lstrip()
        if cleaned:
            yield cleaned


def _of_text(path: Path, spec: CorpusSpec) -> Iterator[str]:
    """Documents of a text file; one that is longer than memory should hold comes in parts that end at lines."""
    held: list[str] = []
    size = 0
    with readable(path):
        for line in text_lines(path):
            ends = spec.documents == "line" or (spec.documents == "blank-line" and not line.strip()) or size > LONGEST
            held.append(line)
            size += len(line)
            if ends:
                yield "".join(held)
                held, size = [], 0
    yield "".join(held)


def _of_rows(path: Path, spec: CorpusSpec) -> Iterator[str]:
    parquet = stem_and_suffix(path)[1] == ".parquet"
    rows = _parquet(path, spec.columns) if parquet else read_rows(path, spec.delimiter)
    source = Place.of(path).source
    try:
        for number, row in rows:
            yield _text(row, spec.columns, Place(source, number))
    except NoColumn as error:
        (issue,) = error.issues
        help = f"{issue.help}; {delimiter_guess(error.have) or 'name the column of the text with `text`'}"
        raise InputError(replace(issue, help=help)) from None


def _text(row: dict[str, Any], columns: Iterable[str], place: Place) -> str:
    """The texts of a row, which may be missing; raises InputError E303, E304 for what is no text."""
    require(row, columns, place)
    texts = [row[column] for column in columns if row[column] is not None]
    if (wrong := next((text for text in texts if not isinstance(text, str)), None)) is not None:
        raise bad_input("E304", f"a text of the corpus is not text: {short(wrong)}", place=place)
    return "\n".join(texts)


def _parquet(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a parquet file with the columns asked for, some at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with opened(path) as raw, pq.ParquetFile(raw) as file:
            require(dict.fromkeys(file.schema_arrow.names), columns, Place.of(path))
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(columns)):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError, ValueError) as error:
        raise bad_input(
            "E302", f"this Parquet file cannot be read: {first_line(error)}", place=Place.of(path)
        ) from None


def _of_hub(corpus: Corpus) -> Iterator[str]:
    """Documents of the train split of a dataset of the hub, downloaded as they are read."""
    from edgeopt.support.quiet import quiet_libraries

    quiet_libraries()
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    spec, place = corpus.spec, Place(f"{corpus.name} (train)")
    assert spec.path is not None
    try:
        loaded: Any = datasets.load_dataset(spec.path, spec.name, split="train", revision=corpus.commit, streaming=True)
        for row in loaded:
            yield _text(row, spec.columns, place)
    except (OSError, ValueError, HfHubHTTPError, RuntimeError) as error:
        raise corpus.not_loaded(error) from None
