"""`policy: auto`: the remedies in the order of what they cost, until the int8 graph is near enough to the float one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from edgeopt.graph_files import copy_graph
from edgeopt.recipe.schema import Strict
from edgeopt.transforms.quantize.build import Builder, Remedies
from edgeopt.transforms.quantize.calibrate import Method
from edgeopt.transforms.quantize.judge import Judge, Judged
from edgeopt.transforms.quantize.sensitivity import Ranking

#: Calibration methods that are tried besides the recipe's.
OTHER_METHODS: tuple[Method, ...] = ("mse",)
ALPHA = 0.5
#: How many of the worst nodes stay in float, in turn.
_KEPT = (1, 2, 4, 8)


class Tolerance(Strict):
    """How near is near enough, on the rows that checkpoints are selected by: exactly one of the three."""

    max_drop: float | None = Field(None, ge=0, lt=1, description="of the task's first metric")
    kl: float | None = Field(None, gt=0, description="mean KL divergence of the logits from the float ones, in nats; of scores their squared error ratio")
    agreement: float | None = Field(None, gt=0, le=1, description="share of predictions that stay the same")
    rows: int = Field(512, ge=1, description="at most so many rows are looked at")

    @model_validator(mode="after")
    def _one_margin(self) -> Tolerance:
        if sum(value is not None for value in (self.max_drop, self.kl, self.agreement)) != 1:
            raise ValueError("give exactly one of 'max_drop', 'kl' and 'agreement'")
        return self

    def excess(self, judged: Judged) -> float:
        """By how much the margin is missed; at most 0 where it holds."""
        if self.max_drop is not None:
            assert judged.drop is not None
            return judged.drop - self.max_drop
        if self.agreement is not None:
            assert judged.agreement is not None
            return self.agreement - judged.agreement
        assert self.kl is not None
        return judged.kl - self.kl


@dataclass
class Outcome:
    """chosen: what the last graph was made with. tried: each remedy with what it gave, in order. held: whether the margin does."""

    chosen: Remedies
    held: bool
    tried: list[dict[str, Any]] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        return {"chosen": self.chosen.words(), "held": self.held, "tried": self.tried}


def search(builder: Builder, judge: Judge, tolerance: Tolerance, given: Remedies, rank: Callable[[Remedies, int | None], Ranking], path: Path) -> Outcome:
    """Leave at `path` the first graph for which the margin holds; where none does, the nearest. The cheapest remedies, which
    cost a user nothing at run time, come first; nodes in float, which cost speed, last, and begin from the best of the
    others."""
    outcome = Outcome(given, held=False)
    best, candidate = (float("inf"), float("inf")), path.with_name("candidate.onnx")

    def attempt(remedies: Remedies) -> bool:
        nonlocal best
        builder.build(remedies, candidate)
        judged = judge(candidate)
        excess = tolerance.excess(judged)
        outcome.tried.append({"remedies": remedies.words(), "kl": judged.kl, "agreement": judged.agreement, "drop": judged.drop, "held": excess <= 0})
        if (max(excess, 0.0), judged.kl) < best:
            best, outcome.chosen, outcome.held = (max(excess, 0.0), judged.kl), remedies, excess <= 0
            copy_graph(candidate, path)
        return excess <= 0

    if any(attempt(remedies) for remedies in _free(given)):
        return outcome
    base = outcome.chosen
    names = [s.name for s in rank(base, _KEPT[-1]).nodes]
    for count in _KEPT:
        if count < len(builder.names) and attempt(replace(base, kept=tuple(names[:count]))):
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
