"""What steps like those of a plan took and kept where they were measured.

The cases are those of edgeopt's own benchmarks. scripts/pages/measured.py writes them to measured.json from
benchmarks/results, so no figure is typed. A case is told only where it is near. What is not near is not told: a figure
for something else misleads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgeopt.models.structure import Structure, of_config
from edgeopt.plan.steps import Plan, PlannedStep
from edgeopt.spec.recipe import BATCH, Distillation, StepParams, TaskSpec, Training
from edgeopt.step import registry
from edgeopt.step.transform import AnyTransform
from edgeopt.store.facts import Fact
from edgeopt.tasks import task_type

_FILE = Path(__file__).with_name("measured.json")
#: How far a case may be from a plan: in the share that a cut leaves; as a factor in optimizer steps, in rows, and in
#: the weights of the layers (layers × hidden²), in classes; and in what tunes a training.
LEFT, STEPS, ROWS, SIZE, CLASSES, TUNED = 0.05, 2.0, 4.0, 4.0, 4.0, 10.0
#: Another method took as long, and left as much, within this.
_SAME_SECONDS, _SAME_LEFT = 1.02, 0.02
#: Keys that tune a method and make no other of it; how much is left, and how long a training is, are compared apart.
_TUNING = (
    {*Training.model_fields, *Distillation.model_fields, "macs", "sparsity", "samples", "sparsity_warmup"}
    | {"mask_learning_rate", "layers", "first", "last"}
) - {"freeze", "losses", "unlabelled", "class_weights", "dropout", "label_smoothing"}
#: Of those the numbers that make another training of it where they are far off.
_COMPARED = {"learning_rate", "batch_size", "gradient_accumulation", "samples", "temperature"}
#: Facts of a model that is no longer whole, or no longer plain: what follows was not measured on such a one.
_CUT = frozenset({Fact.UNEVEN, Fact.SPARSE, Fact.INT8, Fact.GRAPH_ADAPTER})


@dataclass(frozen=True)
class Case:
    """One measured case: its steps, on what they were measured, and what came of it.

    change: of the metric against the model before the steps, with its 90 % interval. runs: seeds that the interval is
    over; 1: it is over the rows. left: share of the model, None where it is not known.
    """

    table: str
    name: str
    steps: list[dict[str, Any]]
    model: str
    family: str
    layers: int
    hidden: int
    type: str
    task: str
    classes: int
    train_rows: int
    metric: str
    change: float
    low: float
    high: float
    runs: int
    left: float | None
    seconds: float
    processor: str

    def parts(self) -> list[tuple[AnyTransform, Any]]:
        """The transforms, each with its checked parameters."""
        found = []
        for keys in self.steps:
            transform = registry.get(keys["use"])
            given = {k: v for k, v in keys.items() if k != "use"}
            found.append((transform, transform.Params.model_validate(given)))
        return found

    @property
    def optimizer_steps(self) -> int:
        """Optimizer steps of all its trainings together; 0 if nothing is trained."""
        return round(sum(_length(transform, params, self.train_rows) for transform, params in self.parts()))

    @property
    def what(self) -> str:
        """Its steps in words: `prune.fisher at 0.5, then finetune; about 188 optimizer steps`."""
        words = [keys["use"] for keys in self.steps]
        if self.left is not None and (cut := [_asked(keys) for keys in self.steps if _asked(keys)]):
            words[0] = f"{words[0]} at {cut[0]}"
        steps = self.optimizer_steps
        return ", then ".join(words) + (f"; about {steps:,} optimizer steps" if steps else "")


@dataclass(frozen=True)
class Advice:
    """A case near to some steps of a plan. better: another of the same table that kept clearly more, as quickly."""

    steps: tuple[PlannedStep, ...]
    case: Case
    better: Case | None

    def line(self) -> str:
        """What it says, in a line."""
        case, ids = self.case, ", ".join(step.id for step in self.steps)
        over = f" over {case.runs} seeds" if case.runs > 1 else ""
        text = (
            f"{ids}: {case.what}: on {case.model} ({case.layers} × {case.hidden}), {case.task}, "
            f"{case.train_rows:,} rows: {_signed(case.change)} {case.metric} "
            f"({_signed(case.low)} to {_signed(case.high)}{over}), {case.seconds:,.0f} s on {case.processor}"
        )
        if (best := self.better) is not None:
            text += f"; there {best.what} kept more: {_signed(best.change)}, {best.seconds:,.0f} s"
        return text

    def as_json(self) -> dict[str, object]:
        """The case and the better one, as `edgeopt plan --json` prints them."""
        steps = [f"{step.chain}.{step.id}" for step in self.steps]
        return {"for": steps, "case": vars(self.case), "kept_more": None if self.better is None else vars(self.better)}


@cache
def cases() -> list[Case]:
    """All measured cases."""
    return [Case(**each) for each in json.loads(_FILE.read_text(encoding="utf-8"))["cases"]]


def advice(plan: Plan, known: Sequence[Case] | None = None) -> list[Advice]:
    """The nearest case for each step of the candidate that has one near enough, and is still to be built.

    A case may be of several steps in a row. known: by default all measured cases.
    """
    shape, found = _shape(plan), []
    steps = [step for step in plan.chains.get("candidate", []) if not step.implied]
    known = cases() if known is None else known
    at = 0
    while shape is not None and plan.data is not None and at < len(steps):
        if not all(_leaves_whole(step, shape) for step in steps[:at]):
            break
        rows, classes = len(plan.data.train), len(plan.data.label_names)
        here = _Here(shape, plan.source.model_type, plan.recipe.head.task, rows, classes, steps[at:])
        near = [(-len(c.steps), far, i) for i, c in enumerate(known) if (far := here.distance(c)) is not None]
        if near:
            case = known[min(near)[2]]
            chosen = tuple(steps[at : at + len(case.steps)])
            if any(step.status != "cached" for step in chosen):
                found.append(Advice(chosen, case, _better(case, known)))
        at += len(known[min(near)[2]].steps) if near else 1
    return found


@dataclass(frozen=True)
class _Here:
    """Where a plan is: its model, task and rows, and the steps from one on."""

    shape: Structure
    family: str | None
    task: TaskSpec
    rows: int
    classes: int
    steps: Sequence[PlannedStep]

    def distance(self, case: Case) -> float | None:
        """How far the case is from the first of the steps; None: too far to be told."""
        steps, then = self.steps[: len(case.steps)], self.steps[len(case.steps) : len(case.steps) + 1]
        if [step.use for step in steps] != [keys["use"] for keys in case.steps]:
            return None
        if task_type(case.type) is not task_type(self.task.type) or case.metric not in self.task.metric_names:
            return None
        if any(step.transform.trains(step.params) for step in then):
            return None  # what is trained on keeps something else
        parts = case.parts()
        if any(_method(step.params) != _method(params) for step, (_, params) in zip(steps, parts, strict=True)):
            return None
        dense = Structure(self.shape.layers[:1] * case.layers, case.hidden, self.shape.dense)
        there = sum(_length(transform, params, case.train_rows) for transform, params in parts)
        apart = [
            _factor(self.rows, case.train_rows, ROWS),
            _factor(self.classes, case.classes, CLASSES),
            _factor(len(self.shape.layers) * self.shape.hidden**2, case.layers * case.hidden**2, SIZE),
            _factor(sum(_length(step.transform, step.params, self.rows) for step in steps), there, STEPS),
            *(
                _gap(step.transform.leaves(step.params, self.shape), transform.leaves(params, dense))
                for step, (transform, params) in zip(steps, parts, strict=True)
            ),
            *(far for step, (_, params) in zip(steps, parts, strict=True) for far in _tuning(step.params, params)),
        ]
        other = 0.1 * (self.family != case.family)
        return sum(apart) + other if all(each <= 1 for each in apart) else None


def _better(case: Case, known: Sequence[Case]) -> Case | None:
    """The case of the same table that kept most, if it is clearly more, of no more of the model in no more seconds."""
    left = case.left
    if left is None:
        return None
    found = [
        other
        for other in known
        if other.table == case.table
        and other.left is not None
        and other.left <= left + _SAME_LEFT
        and other.seconds <= case.seconds * _SAME_SECONDS
        and other.low > case.high
    ]
    return max(found, key=lambda other: other.change, default=None)


def _shape(plan: Plan) -> Structure | None:
    """The model's shape; None where it is not known, or something was cut out of the model before."""
    try:
        shape = of_config(plan.source.config or {})
    except ValueError:
        return None
    return shape if shape == shape.dense.structure else None


def _leaves_whole(step: PlannedStep, shape: Structure) -> bool:
    """Whether behind the step is the model that was there before it, with all its parts."""
    replaced = any(each.role == "student" for each in step.transform.references(step.params))
    cut = step.transform.leaves(step.params, shape) not in (None, 1.0)
    return not (replaced or cut or _CUT & step.contract.adds)


def _method(params: StepParams) -> dict[str, Any]:
    """The keys that make a step another method, by their paths; of losses only which there are."""
    return dict(_kept(params.model_dump(mode="json")))


def _kept(keys: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in keys.items():
        if key == "losses":
            yield f"{at}{key}", sorted(name for name, weight in (value or {}).items() if weight)
        elif isinstance(value, dict):
            yield f"{at}{key}", True
            yield from _kept(value, f"{at}{key}.")
        elif at == "student." and type(value) is int:
            yield f"{at}{key}", True  # how much of it is compared as what is left
        elif key not in _TUNING:
            yield f"{at}{key}", value


def _tuning(one: StepParams, other: StepParams) -> list[float]:
    """How far the numbers that tune the one are from those of the other."""
    ours, theirs = (dict(_numbers(params.model_dump(mode="json"))) for params in (one, other))
    return [_factor(ours[path], theirs[path], TUNED) for path in sorted(ours.keys() & theirs.keys())]


def _numbers(keys: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, float]]:
    for key, value in keys.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{at}{key}.")
        elif key in _COMPARED and value is not None:
            yield f"{at}{key}", BATCH if value == "auto" else value


def _length(transform: AnyTransform, params: Any, rows: int) -> float:
    """Optimizer steps of the step's trainings together."""
    return sum(
        training.max_steps or training.epochs * math.ceil(rows / (training.batch * training.accumulation))
        for _, training in transform.trainings(params)
    )


def _factor(one: float, other: float, most: float) -> float:
    """How far two sizes are apart: 0 where they are equal, 1 at a factor of `most`."""
    if one == other:
        return 0.0
    return abs(math.log(one / other)) / math.log(most) if one and other else math.inf


def _gap(one: float | None, other: float | None) -> float:
    """How far two shares are apart: 1 at LEFT."""
    if one is None or other is None:
        return 0.0 if one is other else math.inf
    return abs(one - other) / LEFT - 1e-9


def _asked(keys: Mapping[str, Any]) -> str:
    """How much a step was asked for, where that is one number."""
    return next((f"{keys[name]:g}" for name in ("macs", "sparsity") if name in keys), "")


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")
