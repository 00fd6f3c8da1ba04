"""The validation rows that `task.dataset.split` draws from train, where there is no file of them.

Which rows they are follows from the texts and from the split's own seed alone: not from the recipe's seed, the machine,
the order of the rows or the format of their file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence

from edgeopt.spec.recipe import SplitSpec
from edgeopt.tasks import Task
from edgeopt.tasks.columns import SCALAR, Raw, value
from edgeopt.tasks.split import bare


def drawn(spec: SplitSpec, task: Task, rows: Sequence[Raw]) -> set[int]:
    """The numbers of the rows that are drawn: about the share that is asked for, in all and of each class.

    Copies of one text are drawn together or not at all, and so are the rows of a document, so that nothing that is
    drawn is also left. Of every class some rows are left.
    """
    ranks = [_rank(spec.seed, texts) for texts, _, _ in rows]
    strata: dict[Hashable, list[list[int]]] = {}
    for unit in sorted(_units(task, rows, ranks), key=lambda unit: min(ranks[row] for row in unit)):
        strata.setdefault(frozenset(_class(task, rows[row][1]) for row in unit), []).append(unit)
    found, owed = set[int](), 0.0
    for units in strata.values():
        # the remainder goes on to the next class, so that many small ones give their share together
        owed += spec.validation * sum(map(len, units))
        for unit in units[1:]:
            if owed >= len(unit) / 2:
                found.update(unit)
                owed -= len(unit)
    return found


def _rank(seed: int, texts: tuple[str, ...]) -> bytes:
    """Where a text stands in the order of the draw: the same for its copies, and no other text's."""
    return hashlib.sha256("\0".join((str(seed), *bare(texts))).encode()).digest()


def _class(task: Task, label: object) -> str:
    """The class of a raw label; nothing where a row has a score, a text or several tags."""
    return value(label) if task.has_classes and isinstance(label, SCALAR) else ""


def _units(task: Task, rows: Sequence[Raw], ranks: Sequence[bytes]) -> list[list[int]]:
    """Rows that stay together: copies of one text, and the rows of a document."""
    of_documents = type(task).documents is not Task.documents
    documents = task.documents(task.labels(rows)) if of_documents else ()
    first: dict[Hashable, int] = {}
    joined = list(range(len(rows)))

    def root(row: int) -> int:
        while joined[row] != row:
            joined[row] = row = joined[joined[row]]
        return row

    for row, rank in enumerate(ranks):
        for mark in (rank, *documents[row : row + 1]):
            joined[root(row)] = root(first.setdefault(mark, row))
    found: dict[int, list[int]] = {}
    for row in range(len(rows)):
        found.setdefault(root(row), []).append(row)
    return list(found.values())
