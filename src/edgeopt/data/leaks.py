"""Rows of the report split that stand in train."""

from __future__ import annotations

from collections.abc import Iterable

from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import Place, bad_input
from edgeopt.tasks.split import Split


def shared(report: Split, others: Iterable[tuple[str, ...]]) -> list[int]:
    """Which rows of the report split stand among the others.

    The same texts but for case, spaces and punctuation count as one. Of documents it is those of which every row does.
    """
    seen = set(map(report.bare, others))
    found = {row for row, texts in enumerate(report.texts) if report.bare(texts) in seen}
    return [row for unit in report.units() if found.issuperset(unit) for row in unit]


def unleaked(spec: TaskSpec, report: Split, train: Split, place: Place | None) -> tuple[Split, int]:
    """The report split as `task.leaks` asks, and how many of its rows were left out.

    Raises InputError E328 where rows that stand in train are refused, E305 where none are left.
    """
    if spec.leaks == "report" or not (found := shared(report, train.texts)):
        return report, 0
    what = f"{len(found):,} of {len(report):,} rows of the {report.name} split are also in train"
    if spec.leaks == "refuse":
        first = " / ".join(report.texts[found[0]])
        raise bad_input(
            "E328",
            f"{what}, row {found[0] + 1} the first: {first if len(first) <= 80 else first[:79] + '…'}",
            place=place,
            help="remove them from train or from the report split, or set `task.leaks: drop` to leave them "
            "out of the report split",
        )
    if len(found) == len(report):
        raise bad_input(
            "E305",
            f"all {len(report):,} rows of the {report.name} split are also in train",
            place=place,
            help="report on rows that are not in train",
        )
    gone = set(found)
    return report.take([row for row in range(len(report)) if row not in gone], report.name), len(found)
