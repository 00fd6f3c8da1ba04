"""Queries and the corpus that they are searched for in: passages of the rows themselves, or of files beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeopt.data.files import read_rows
from edgeopt.data.raw import raw_rows
from edgeopt.spec.recipe import PassagesSpec
from edgeopt.support.errors import Path_, Place, bad_input
from edgeopt.support.paths import expanded
from edgeopt.tasks import Task, columns
from edgeopt.tasks.retrieval import passage_id
from edgeopt.tasks.split import Split

PlaceOf = Callable[[Path_], Place | None]
_AT = ("task", "corpus")


@dataclass(frozen=True)
class Searched:
    """What becomes of splits whose rows are queries.

    numbers: of each id the number of its passage; None where the passages are those of the rows. texts: the passages.
    """

    task: Task
    numbers: dict[str, int] | None
    texts: tuple[str, ...]

    def train(self, rows: Split) -> Split:
        """Rows to train on: a query and a passage, one for each that is relevant."""
        if self.numbers is None:
            return rows
        pairs = [
            (*texts, self.texts[self.numbers[key]])
            for texts, label in zip(rows.texts, rows.labels, strict=True)
            for key, _ in label
        ]
        return Split(rows.name, tuple(pairs), (0.0,) * len(pairs))

    def report(self, rows: Split, place: Place | None) -> Split:
        """The queries that have a relevant passage, in the corpus. Raises InputError E305 where none has."""
        if self.numbers is None:
            found = self.task.searched(rows)
            return replace(found, said=_said(found.passages, len(rows) - len(found), "have the query of another row"))
        kept = [(texts, label) for texts, label in zip(rows.texts, rows.labels, strict=True) if label]
        if not kept:
            raise bad_input(
                "E305",
                f"no query of the {rows.name} split has a relevant passage",
                place=place,
                help="name the column of their ids in task.corpus.relevant",
            )
        return replace(
            rows,
            texts=tuple(texts for texts, _ in kept),
            labels=tuple(tuple((self.numbers[key], grade) for key, grade in label) for _, label in kept),
            passages=self.texts,
            said=_said(self.texts, len(rows) - len(kept), "have no relevant passage and were left out"),
        )

    def check(self, rows: list[columns.Raw]) -> None:
        """Raises InputError E304 for a row whose relevant passage the corpus does not have."""
        if self.numbers is None:
            return
        for _, raw, place in rows:
            label: Any = self.task.label(raw, place)
            for key, _ in label:
                if key not in self.numbers:
                    raise bad_input(
                        "E304",
                        f"the corpus has no passage with the id {columns.short(key)}",
                        place=place,
                        help="add the passage to task.corpus.data_files, or remove its id from the row",
                    )


def _said(passages: Sequence[str], fewer: int, why: str) -> tuple[str, ...]:
    """Sentences about the corpus. fewer: how many rows of the data are no query of their own, and why."""
    found = [f"Queries are searched for in {len(passages):,} passages."]
    if copies := len(passages) - len(set(passages)):
        found.append(f"{copies:,} of the passages are copies of others; only those whose ids are named are relevant.")
    return (*found, f"{fewer:,} rows {why}.") if fewer else tuple(found)


def searched_of(task: Task, folder: Path, place_of: PlaceOf) -> Searched | None:
    """The corpus of a recipe; None where it names none.

    Raises InputError E301 to E306 for what is wrong with its files, E304 for an id that stands twice.
    """
    if task.spec.corpus is None:
        return None
    if (spec := task.spec.passages) is None:
        return Searched(task, None, ())
    numbers: dict[str, int] = {}
    texts: list[str] = []
    for (text,), key, place in _passages(spec, folder, place_of):
        if key in numbers:
            what = f"the id {columns.short(key)} stands twice in the corpus"
            raise bad_input("E304", what, place=place, help="give every passage an id of its own")
        numbers[key] = len(texts)
        texts.append(text)
    if not texts:
        raise bad_input("E305", "the corpus has no passages", place=place_of((*_AT, "data_files")))
    return Searched(task, numbers, tuple(texts))


def _passages(spec: PassagesSpec, folder: Path, place_of: PlaceOf) -> Iterator[columns.Raw]:
    """The passages with their ids, and where they stand."""
    files = [spec.data_files] if isinstance(spec.data_files, str) else spec.data_files

    def read(row: columns.Cells, place: Place) -> list[columns.Raw]:
        columns.require(row, (spec.id, spec.text), place)
        text, given = columns.text(row[spec.text], spec.text, place), row[spec.id]
        key = passage_id(given)
        if not key:
            raise bad_input("E304", f"the id of the passage is {columns.short(given)}", place=place)
        return [((text,), key, place)]

    def at(column: str) -> Place | None:
        return place_of((*_AT, "id" if column == spec.id else "text")) or place_of(_AT)

    for name in files:
        path = folder / expanded(name)
        yield from raw_rows(Place.of(path).source, read_rows(path), read, at)
