"""`policy: auto`: the remedies in the order of what they cost, until the int8 graph is near enough to the float one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import Field, model_validator

from edgeopt.export.graph_files import copy_graph
from edgeopt.results.figures import Tried
from edgeopt.spec.recipe import Strict
from edgeopt.statistics.bounds import Bounds
from edgeopt.transforms.quantize.build import Builder, Remedies
from edgeopt.transforms.quantize.calibrate import Method
from edgeopt.transforms.quantize.judge import Judge, Judged
from edgeopt.transforms.quantize.sensitivity import Ranking

#: Calibration methods that are tried besides the recipe's.
OTHER_METHODS: tuple[Method, ...] = ("mse",)
ALPHA = 0.5
#: How many of the worst nodes stay in float, in turn.
_KEPT = (1, 2, 4, 8)
#: Of each remedy's bounds, so that 95 % are left for all nine that may be looked at.
CONFIDENCE = 1 - 0.05 / 9


class Tolerance(Strict):
    """How near is near enough, on the rows that checkpoints are selected by: exactly one of the three."""

    max_drop: float | None = Field(None, ge=0, lt=1, description="largest drop of the task's first metric")
    kl: float | None = Field(
        None,
        gt=0,
        description="largest mean KL divergence from the float logits, in nats; for scores, the squared error ratio",
    )
    agreement: float | None = Field(None, gt=0, le=1, description="smallest share of predictions that stay the same")
    rows: int = Field(2048, ge=1, description="largest number of rows to compare")

    @model_validator(mode="after")
    def _one_margin(self) -> Tolerance:
        if sum(value is not None for value in (self.max_drop, self.kl, self.agreement)) != 1:
            raise ValueError("give exactly one of 'max_drop', 'kl' and 'agreement'")
        return self

    def bounds(self, judged: Judged) -> Bounds:
        """One-sided bounds of what the margin is on, each at what 95 % for all remedies together asks of one."""
        if self.max_drop is not None:
            return judged.drop_bounds(CONFIDENCE)
        return judged.kl_bounds(CONFIDENCE) if self.agreement is None else judged.agreement_bounds(CONFIDENCE)

    def excess(self, bounds: Bounds) -> tuple[float, float, float]:
        """(value, least, most): by how much the margin is missed, and that by its bounds; it holds where most ≤ 0."""
        if self.agreement is not None:
            return self.agreement - bounds.value, self.agreement - bounds.high, self.agreement - bounds.low
        margin = self.max_drop if self.max_drop is not None else self.kl
        assert margin is not None
        return bounds.value - margin, bounds.low - margin, bounds.high - margin


@dataclass
class Outcome:
    """What came of a search for remedies.

    chosen: what the graph that was left was made with. tried: each remedy with what it gave, in order. held: whether
    the margin does; None where the rows cannot tell.
    """

    chosen: Remedies
    held: bool | None = False
    tried: list[Tried] = field(default_factory=list)


def search(
    builder: Builder,
    judge: Judge,
    tolerance: Tolerance,
    given: Remedies,
    rank: Callable[[Remedies, int | None], Ranking],
    path: Path,
) -> Outcome:
    """Leave at `path` the first graph for which the margin is sure to hold.

    What costs a user nothing at run time is tried first. Nodes in float cost speed, so they are tried only where all of
    that is sure to miss the margin, beginning from the best of it, until that is no longer sure. Where the rows cannot
    tell, a row more or less that flips must not decide: of those graphs the one with the least KL is left, which every
    row has a share in; where all miss the margin, the nearest.
    """
    outcome = Outcome(given)
    best, candidate = (math.inf, math.inf, math.inf), path.with_name("candidate.onnx")

    def attempt(remedies: Remedies) -> bool | None:
        nonlocal best
        builder.build(remedies, candidate)
        judged = judge(candidate)
        bounds = tolerance.bounds(judged)
        excess, least, most = tolerance.excess(bounds)
        held = True if most <= 0 else False if least > 0 else None
        outcome.tried.append(
            {
                "remedies": remedies.words(),
                "kl": judged.kl,
                "agreement": judged.agreement,
                "drop": judged.drop,
                "low": bounds.low,
                "high": bounds.high,
                "held": held,
            }
        )
        order = {True: (0.0, 0.0), None: (1.0, 0.0), False: (2.0, excess)}[held]
        if (*order, judged.kl) < best:
            best, outcome.chosen, outcome.held = (*order, judged.kl), remedies, held
            copy_graph(candidate, path)
        return held

    if any(attempt(remedies) for remedies in _free(given)) or outcome.held is None:
        return outcome
    base = outcome.chosen
    names = [s.name for s in rank(base, _KEPT[-1]).nodes]
    for count in _KEPT:
        if count < len(builder.names) and attempt(replace(base, kept=tuple(names[:count]))) is not False:
            break
    return outcome


def _free(given: Remedies) -> Iterator[Remedies]:
    yield given
    yield replace(given, bias=True)
    for method in OTHER_METHODS:
        if method != given.method:
            yield replace(given, method=method)
    yield replace(given, alpha=ALPHA)
    yield replace(given, alpha=ALPHA, bias=True)
