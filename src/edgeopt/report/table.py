"""A table as plain rows: renderers only draw it, so that all of them show the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: below: prose that on a phone stands under the rest of its row.
Kind = Literal["text", "prose", "below", "number", "code", "verdict"]


@dataclass(frozen=True)
class Column:
    """A column's heading and how its cells are set."""

    name: str
    kind: Kind = "text"


@dataclass(frozen=True)
class Table:
    """A table that each rendering sets in its own way. rows: a cell of plain text for each column."""

    columns: list[Column]
    rows: list[list[str]]


def numbers(first: str, *names: str) -> list[Column]:
    """A column of words and columns of numbers."""
    return [Column(first), *(Column(name, "number") for name in names)]
