"""Rows that say whose they are: read, and made the sequences that the encoder reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeopt.support.errors import Place, bad_input
from edgeopt.support.words import meant
from edgeopt.tasks import columns
from edgeopt.tasks.base import Label, Texts
from edgeopt.tasks.encode import Encoder, Features, Ids
from edgeopt.tasks.several.parts import Parts

#: The key of a row, for `predict`, that names its task.
TASK = "task"


class ReadsRows(Parts):
    """Reads a row by the class of its task, whose name stands before its texts."""

    def label(self, raw: object, place: Place) -> Label:
        raise NotImplementedError("rows of several tasks are read by each task's own class")

    @property
    def query_texts(self) -> int:
        return 1 + max(len(part.columns) for part in self.specs.values())

    @property
    def query_columns(self) -> tuple[str, ...]:
        return (TASK,)

    def read_query(self, given: object, place: Place) -> Texts:
        """The texts of a row, behind the name of its task.

        given: a mapping with `task` and that task's columns, or a list of the task's name and its texts.
        """
        rest: object = given
        if isinstance(given, Mapping):
            columns.require(given, (TASK,), place)
            name = given[TASK]
        elif isinstance(given, list | tuple) and len(given) > 1:
            name, rest = given[0], given[1] if len(given) == 2 else list(given[1:])
        else:
            raise bad_input(
                "E304",
                f"a row of several tasks says whose it is, and this is {columns.short(given)}",
                place=place,
                help=f"give {{task: …}} with the columns of that task; tasks: {', '.join(self.parts)}",
            )
        if not isinstance(name, str) or name not in self.parts:
            message = f"there is no task {columns.short(name)}"
            raise bad_input("E304", message, place=place, help=meant(str(name), self.parts, "tasks"))
        return (name, *self.parts[name].read_query(rest, place))

    def queries(self, texts: Sequence[Texts]) -> list[Texts]:
        return [query for name, *row in texts for query in self._sequences(name, tuple(row))]

    def _sequences(self, name: str, texts: Texts) -> list[Texts]:
        return [texts] if self.specs[name].head == "pair" else [(text,) for text in texts]

    def documents(self, labels: Sequence[Any]) -> tuple[int, ...]:
        return ()

    def encode(self, encoder: Encoder, texts: Sequence[Texts]) -> Features:
        found: dict[int, list[Ids]] = {}
        for name, part in self.parts.items():
            own = [(row, tuple(rest)) for row, (whose, *rest) in enumerate(texts) if whose == name]
            sequences = [(row, read) for row, rest in own for read in self._sequences(name, rest)]
            reader = encoder.cut_to(self.specs[name].max_length)
            ids = part.encode(reader, [read for _, read in sequences]).ids if sequences else []
            for (row, _), each in zip(sequences, ids, strict=True):
                found.setdefault(row, []).append(each)
        flat = [(row, each) for row in sorted(found) for each in found[row]]
        return Features(
            [each for _, each in flat],
            [row for row, _ in flat],
            tasks=[self.number_of(name) for name, *_ in texts],
        )
