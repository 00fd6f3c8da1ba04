"""The order of the steps: what the planner adds to them, and whether each may stand where it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from edgeopt.export.exporter import exporter, unfit
from edgeopt.models.source import ModelSource
from edgeopt.plan.held_out import hold_out
from edgeopt.plan.steps import Chain, PlannedStep
from edgeopt.recipe.load import Recipe, StepSpec
from edgeopt.spec.recipe import AUTO, StepParams
from edgeopt.spec.steps import LOAD, LOWERING
from edgeopt.step.contract import fold
from edgeopt.store.facts import Fact, Facts, facts
from edgeopt.support.errors import InputError, Issue, Path_, Place
from edgeopt.tasks import task_type
from edgeopt.transforms.finetune import Finetune
from edgeopt.transforms.load import Load
from edgeopt.transforms.lower import LowerToOnnx


def check_order(recipe: Recipe, source: ModelSource) -> dict[Chain, list[PlannedStep]]:
    """Both chains with what the planner adds. Raises InputError E2xx at the step that may not stand there."""
    start = start_facts(source)
    chains: dict[Chain, list[PlannedStep]] = {
        "baseline": _lowered(_baseline(recipe), "baseline", start, recipe),
        "candidate": _lowered([_planned(s) for s in recipe.steps], "candidate", start, recipe),
    }
    issues: list[Issue] = []
    for name, chain in chains.items():
        found = fold(start, chain).issues
        issues += [_baseline_issue(recipe)] if name == "baseline" and found else found
        if name == "candidate" and not found:
            issues += _unexportable(recipe, chain, fold(start, chain).after)
    if issues:
        raise InputError(issues)
    chains = {name: _noted(chain, fold(start, chain).before) for name, chain in chains.items()}
    return hold_out({name: _with_loads(chain, name) for name, chain in chains.items()}, recipe)


def _with_loads(steps: Sequence[PlannedStep], chain: Chain) -> list[PlannedStep]:
    """The steps, with a load before the first that needs the task's head, and behind what leaves another one."""
    out: list[PlannedStep] = []
    loaded, taken = False, {step.id for step in steps}
    for step in steps:
        if not loaded and not step.transform.other_head:
            id = next(name for n in count(1) if (name := LOAD if n == 1 else f"{LOAD}-{n}") not in taken)
            out.append(replace(load_step(id), chain=chain))
            taken.add(id)
        loaded = not step.transform.other_head
        out.append(step)
    return out


def load_step(id: str) -> PlannedStep:
    """The step that reads a checkpoint and gives it the task's head."""
    return PlannedStep(id, Load.name, "baseline", Load(), StepParams(), None, implied=True)


def start_facts(source: ModelSource) -> Facts:
    """Facts of a model behind its load, as far as they are known."""
    return facts(Fact.TORCH) if source.has_trained_head is False else facts(Fact.TORCH, Fact.TRAINED_HEAD)


def _noted(chain: list[PlannedStep], before: list[Facts]) -> list[PlannedStep]:
    """The lowering says where an adapter that cannot be merged goes."""
    adapter = next((s.id for s in chain if Fact.GRAPH_ADAPTER in s.contract.adds), None)
    return [
        replace(s, note=f"with the adapter of '{adapter}' inside, which cannot be merged")
        if s.implied and Fact.GRAPH_ADAPTER in facts
        else s
        for s, facts in zip(chain, before, strict=True)
    ]


def _unexportable(recipe: Recipe, chain: Sequence[PlannedStep], after: Facts) -> list[Issue]:
    """Exporters that cannot take what the last step leaves.

    Of those that `auto` chooses from, the ones that the recipe names.
    """
    task, float_graph = (
        recipe.head.task.type,
        Fact.INT8 not in next(s.contract.adds for s in chain if Fact.ONNX in s.contract.adds),
    )
    named: list[tuple[Path_, str, Mapping[str, Any]]]
    named = [
        (("export", i), spec.format, spec.options) for i, spec in enumerate(recipe.head.export) if spec.format != AUTO
    ]
    named += [
        (("export", i, "formats", n), f, {})
        for i, spec in enumerate(recipe.head.export)
        for n, f in enumerate(spec.formats or ())
    ]
    found = [
        (at, name, unfit(exporter(name), options, after, task, flat=task_type(task).flat, float_graph=float_graph))
        for at, name, options in named
    ]
    return [
        Issue("E205", f"exporter '{name}' {why}", recipe.document.place(at), "leave it out, or change the steps")
        for at, name, why in found
        if why
    ]


def _planned(step: StepSpec) -> PlannedStep:
    return PlannedStep(step.id, step.use, "candidate", step.transform, step.params, step.place)


def _baseline(recipe: Recipe) -> list[PlannedStep]:
    training = recipe.head.baseline.finetune
    if training is None:
        return []
    transform = Finetune()
    params = Finetune.Params.model_validate(training.model_dump())
    return [
        PlannedStep(
            "finetune", transform.name, "baseline", transform, params, recipe.document.place(("baseline", "finetune"))
        )
    ]


def _baseline_issue(recipe: Recipe) -> Issue:
    return Issue(
        "E204",
        "the baseline has no trained head: the model is a bare encoder",
        recipe.document.place(("baseline",)),
        "add `baseline: {finetune: {epochs: 3}}`, or start from a fine-tuned model",
    )


def _lowered(steps: Sequence[PlannedStep], chain: Chain, start: Facts, recipe: Recipe) -> list[PlannedStep]:
    """The steps with the export to ONNX put before the first that needs a graph, or at the end."""
    out: list[PlannedStep] = []
    lowered = False
    for step in steps:
        if Fact.ONNX in step.contract.requires and not lowered:
            out.append(_lower(chain, step.place))
            lowered = True
        out.append(step)
        lowered = lowered or Fact.ONNX in step.contract.adds
    if not lowered:
        out.append(_lower(chain, out[-1].place if out else recipe.document.place(("export",))))
    return out


def _lower(chain: Chain, place: Place | None) -> PlannedStep:
    return PlannedStep(LOWERING, LowerToOnnx.name, chain, LowerToOnnx(), StepParams(), place, implied=True)
