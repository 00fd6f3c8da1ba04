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
        yield from _pieces(_whole(_of_hub(corpus)))
        return
    for path in corpus.validation if validation else corpus.train:
        of_text = stem_and_suffix(path)[1] in TEXT
        yield from _pieces(_of_text(path, corpus.spec) if of_text else _whole(_of_rows(path, corpus.spec)))


def looked_at(corpus: Corpus) -> Corpus:
    """The corpus. Raises InputError as `documents` does for the first document, and E305 where there is none."""
    for validation in (False, True) if corpus.validation else (False,):
        if not corpus.on_hub and next(documents(corpus, validation=validation), None) is None:
            files = corpus.validation if validation else corpus.train
            raise bad_input("E305", f"the corpus has no text in {files[0].name}", help="give files with text in them")
    return corpus


def clean(text: str) -> str:
    """The text without control characters, halves of characters, and runs of white space."""
    return " ".join(_without_controls(text).split())


def _without_controls(text: str) -> str:
    if not text.isascii():
        text = text.encode("utf-8", "ignore").decode()
    return text.translate(_CONTROL)


def _pieces(parts: Iterable[tuple[str, bool]]) -> Iterator[str]:
    """Documents, cleaned and not empty, in pieces of a length that memory has room for.

    parts: of documents, each with whether its document ends there.
    """
    held, gap = "", False  # of a document what was not given yet, and whether a space follows
    for part, ends in parts:
        text = _without_controls(part)
        if found := " ".join(text.split()):
            apart = bool(held) and (gap or text[0].isspace())
            held, gap = f"{held} {found}" if apart else held + found, text[-1].isspace()
        else:
            gap = gap or bool(text)
        begin = 0
        while len(held) - begin > LONGEST:
            at = held.rfind(" ", begin + LONGEST // 2, begin + LONGEST)
            at = begin + LONGEST if at < 0 else at
            yield held[begin:at]
            begin = at + (held[at] == " ")
        held = held[begin:]
        if ends:
            if held:
                yield held
            held, gap = "", False


def _whole(texts: Iterable[str]) -> Iterator[tuple[str, bool]]:
    return ((text, True) for text in texts)


def _of_text(path: Path, spec: CorpusSpec) -> Iterator[tuple[str, bool]]:
    """Parts of documents of a text file; one that is longer than memory should hold ends at a line's end."""
    size, begun, blank = 0, 0, True  # of the document so far, and where the line began; whether that is empty so far
    with readable(path):
        for part in text_lines(path, LONGEST):
            size, blank = size + len(part), blank and not part.strip()
            ends = part.endswith("\n") and (
                spec.documents == "line" or (spec.documents == "blank-line" and blank) or begun > LONGEST
            )
            yield part, ends
            if part.endswith("\n"):
                size = begun = 0 if ends else size
                blank = True
    yield "", True


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
