"""The rows of a task as every step sees them, and the splits carved out of train.

Whatever a run looks at before it is measured is carved out of train: rows to decide by, and calibration rows from
what remains. The seed of the carving does not follow the recipe's, so that another seed changes the training and not
the question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from edgeopt.support.errors import bad_input
from edgeopt.support.words import is_integer
from edgeopt.tasks.split import _CARVE_SEED, Split

#: A share of the rows that are copies of others, above which it is said beside the verdict.
_MANY_COPIES = 0.05


def row_warnings(name: str, rows: int, leaked: int, copied: int) -> list[str]:
    """What of a report split makes its figures say less than they seem to, and stands beside a verdict on it.

    That is that a model may have seen its rows, and that bounds count copies as if each were a row of its own.
    """
    found = [_leaked(name, rows, leaked)] if leaked else []
    return [*found, _copied(name, rows, copied)] if copied > _MANY_COPIES * rows else found


def _leaked(name: str, rows: int, leaked: int) -> str:
    return f"{leaked:,} of the {rows:,} {name} rows are also in train: a model may have memorized their answers."


def _copied(name: str, rows: int, copied: int) -> str:
    return (
        f"{copied:,} of the {rows:,} {name} rows are copies of others: bounds count each as a separate row, "
        f"so they are too narrow."
    )


def renumbered(split: Split, old: Sequence[str], new: Sequence[str]) -> Split:
    """The split with the numbers that its classes have in another order.

    A class that is no name of `new` is the number of one. Raises InputError E318 where it is neither.
    """
    if odd := [name for name in old if name not in new and not is_integer(name)]:
        raise bad_input(
            "E318",
            f"the {split.name} split has classes that are not among {', '.join(new[:20])}: {', '.join(odd[:20])}",
            help="give the rows that the model was trained on",
        )
    places = [new.index(name) if name in new else int(name) for name in old]
    return replace(
        split,
        labels=tuple(
            tuple(places[x] for x in label) if isinstance(label, tuple) else places[label] for label in split.labels
        ),
    )


@dataclass(frozen=True)
class Extra:
    """Rows of another dataset, to train on besides train; where it has no labels, blanks stand in their place.

    left_out: how many more it had that the report split has too; no_label: and how many that had no label.
    """

    source: str
    rows: Split
    left_out: int
    no_label: int = 0


@dataclass(frozen=True)
class TaskData:
    """train, the split that is reported on, and the class names (none for a regression).

    Only training sees `extra`, and `unlabelled`: by the keys of their datasets, rows that are learned from a teacher
    alone. left_out: of each split, how many rows had no label; dropped: how many rows of the report split stood in
    train and were left out. drawn: what is to be said of a split that was drawn from train.
    """

    train: Split
    report: Split
    label_names: tuple[str, ...]
    source: str
    extra: tuple[Extra, ...] = ()
    unlabelled: Mapping[str, Extra] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    drawn: str = ""
    #: Whether every training leaves the selection rows out, because a later step is decided by them.
    held_out: bool = False

    @property
    def sampled(self) -> Split:
        """The rows that a graph is held against its model on: of train, or reported ones where there is no train."""
        return self.train if len(self.train) else self.report

    @cached_property
    def leaked(self) -> int:
        """How many rows of the report split stand in train."""
        from edgeopt.data.leaks import shared

        return len(shared(self.report, self.train.texts))

    def remarks(self) -> list[str]:
        """What a reader of the rows' number should know: where they are from, and copies, leaks and rows left out."""
        name, found = self.report.name, [self.drawn] if self.drawn else []
        if not len(self.train):
            found.append(f"There is no train split: whether {name} rows stand in it was not looked at.")
        if self.leaked:
            found.append(_leaked(name, len(self.report), self.leaked))
        if self.report.copied:
            found.append(_copied(name, len(self.report), self.report.copied))
        found += self.report.said
        if self.dropped:
            found.append(f"{self.dropped:,} {name} rows that are also in train were left out, as task.leaks asks.")
        without = [f"{count:,} {split} rows" for split, count in self.left_out.items()]
        without += [f"{e.no_label:,} rows of {e.source}" for e in self.extra if e.no_label]
        if without:
            found.append(f"{' and '.join(without)} without a label were left out, as task.missing_label asks.")
        return found

    def summary(self) -> str:
        """How many rows of which kind, and what is to be said of them, in a line."""
        found = [*((e, "") for e in self.extra), *((e, " without labels") for e in self.unlabelled.values())]
        more = "".join(
            f" + {len(e.rows)} of {e.source}{kind} ({e.left_out} that {self.report.name} has too left out)"
            for e, kind in found
        )
        train = f"{len(self.train)} train{more} and " if len(self.train) else ""
        return "; ".join(
            [
                f"{train}{len(self.report)} {self.report.name} rows",
                *(r.rstrip(".") for r in self.remarks()),
            ]
        )

    def with_classes(self, names: Sequence[str]) -> TaskData:
        """These rows under the same classes in another order; or, where the classes are numbers, with their names."""
        if tuple(names) == self.label_names:
            return self
        extra = tuple(replace(e, rows=renumbered(e.rows, self.label_names, names)) for e in self.extra)
        train, report = (renumbered(split, self.label_names, names) for split in (self.train, self.report))
        return replace(self, train=train, report=report, extra=extra, label_names=tuple(names))

    def carve(self, share: float) -> tuple[Split, Split]:
        """(rest of train, selection): selection holds `share` of each class, at least one row of each.

        Where there are several documents, it is a share of those.
        """
        rng = np.random.default_rng(_CARVE_SEED)
        labels = self.train.labels
        units = self.train.units() if len(set(self.train.documents)) != 1 else [[row] for row in range(len(labels))]
        by_class = bool(self.label_names) and not isinstance(labels[0], tuple)
        groups = (
            [np.flatnonzero(np.equal(labels, c)) for c in np.unique(labels)] if by_class else [np.arange(len(units))]
        )
        chosen: list[int] = []
        for group in groups:
            count = max(1, round(share * len(group)))
            if count < len(group):
                chosen += [row for unit in rng.permutation(group)[:count] for row in units[unit]]
        taken = set(chosen)
        rest = [i for i in range(len(labels)) if i not in taken]
        return self.train.take(rest, "train"), self.train.take(sorted(chosen), "selection")

    def calibration(self, samples: int, share: float, seed: int) -> Split:
        """Rows to measure ranges on: from train, and never from the selection or the report split."""
        rest, _ = self.carve(share)
        order = np.random.default_rng(seed).permutation(len(rest))[:samples]
        return rest.take(order.tolist(), "calibration")

    def key(self, which: Literal["train", "calibration"]) -> dict[str, object]:
        """What of the data belongs to a step's key."""
        extra = {"train_with": [e.rows.fingerprint for e in self.extra]} if self.extra else {}
        unlabelled = (
            {"unlabelled": {key: e.rows.fingerprint for key, e in self.unlabelled.items()}} if self.unlabelled else {}
        )
        return {
            "fingerprint": self.sampled.fingerprint,
            "split": which,
            "labels": list(self.label_names),
            **extra,
            **unlabelled,
        }
