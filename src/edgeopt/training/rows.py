"""The rows of a training: the task's own and those of further datasets, one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgeopt.data import SeveralData, Split, TaskData
from edgeopt.data.extra import without
from edgeopt.spec.recipe import Training
from edgeopt.support.errors import bad_input
from edgeopt.training.mixture import Mixture, mixture_of, turns_of


@dataclass(frozen=True)
class TrainRows:
    """The rows that a training goes over.

    rows: of all datasets; the first is the task's own. left_out: of each, rows that are looked at in selection or
    report. unlabelled: how many rows of the last dataset have no labels: all or none. apart: whether the datasets are
    those of several tasks, of which a batch holds one.
    """

    rows: Split
    sizes: tuple[int, ...]
    sources: tuple[str, ...]
    left_out: tuple[int, ...]
    unlabelled: int = 0
    apart: bool = False

    @property
    def labeled(self) -> int:
        """How many of the rows have labels: they are the first."""
        return sum(self.sizes[:-1] if self.unlabelled else self.sizes)

    def in_queries(self, rows: Sequence[int]) -> TrainRows:
        """The rows counted in what the model is asked at once. rows: the row that each query belongs to."""
        dataset = np.searchsorted(np.cumsum(self.sizes), rows, side="right")
        return replace(self, sizes=tuple(int(n) for n in np.bincount(dataset, minlength=len(self.sizes))))

    def mixture(self, params: Training, batch: int, seed: int) -> Mixture | None:
        """How epochs draw from several datasets; None where there is one. batch: rows on all devices together."""
        if len(self.sizes) < 2:
            return None
        return (turns_of if self.apart else mixture_of)(self.sizes, params, batch, seed)

    def figures(self, mixture: Mixture | None, epochs: float) -> dict[str, Any]:
        """What each dataset gave: rows, rows left out, and rows drawn in each epoch that was begun."""
        if mixture is None:
            return {}
        drawn = list(zip(*(mixture.counts(e) for e in range(math.ceil(epochs - 1e-9))), strict=True))
        found = zip(self.sources, self.sizes, self.left_out, drawn, strict=True)
        last = {"source": self.sources[-1], "rows": self.unlabelled, "left_out": self.left_out[-1]}
        return {
            "sources": [{"source": s, "rows": n, "left_out": out, "drawn": list(d)} for s, n, out, d in found],
            **({"unlabelled": last} if self.unlabelled else {}),
        }


def gather_rows(data: TaskData, params: Training, share: float) -> tuple[TrainRows, Split | None]:
    """(the rows to train on, the rows to select a checkpoint by).

    share: of the task's train rows that are held out where a checkpoint is selected, or something later is decided by
    them; what further datasets have of them is left out too. Raises InputError E305 where such a dataset has nothing
    else.
    """
    own, selection = data.carve(share) if params.selects or data.held_out else (data.train, None)
    unlabelled = params.distillation and params.distillation.unlabelled
    extra = [*data.extra, *([data.unlabelled[unlabelled.key]] if unlabelled else [])]
    parts = [own, *(e.rows if selection is None else without(e.rows, selection) for e in extra)]
    left_out = [0, *(e.left_out + len(e.rows) - len(kept) for e, kept in zip(extra, parts[1:], strict=True))]
    for each, kept in zip(extra, parts[1:], strict=True):
        if not len(kept):
            raise bad_input(
                "E305",
                f"all rows of {each.source} are held out of train for selection, or reported on",
                help="take the dataset out",
            )
    if isinstance(data, SeveralData):
        sizes = data.sizes(own)
        return TrainRows(own, (*sizes.values(),), (*sizes,), (0,) * len(sizes), apart=True), (
            selection if params.selects else None
        )
    rows = Split("train", _joined([p.texts for p in parts]), _joined([p.labels for p in parts])) if extra else own
    sources = (data.source, *(e.source for e in extra))
    return TrainRows(
        rows, tuple(map(len, parts)), sources, tuple(left_out), len(parts[-1]) if unlabelled else 0
    ), selection if params.selects else None


def _joined(parts: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    return tuple(item for part in parts for item in part)
