"""Build a recipe in memory and execute it. The conformance tests use this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeopt.plan import make_plan
from edgeopt.recipe.load import Recipe, StepSpec
from edgeopt.recipe.yaml import Document
from edgeopt.run.execute import Executed, execute
from edgeopt.run.processes import Group
from edgeopt.spec.recipe import RecipeHead
from edgeopt.step import registry
from edgeopt.step.transform import AnyTransform
from edgeopt.store.facts import Fact
from edgeopt.store.store import Store
from edgeopt.support.progress import Progress

#: A step of ours that brings a fact about, small enough for a test
_BRING: dict[Fact, tuple[str, dict[str, Any]]] = {
    Fact.TRAINED_HEAD: ("finetune", {"max_steps": 2, "batch_size": 4, "learning_rate": 1e-3}),
    Fact.ADAPTER: ("adapter.lora", {"max_steps": 2, "batch_size": 4, "r": 2, "learning_rate": 1e-2}),
    Fact.GRAPH_ADAPTER: (
        "adapter.bottleneck",
        {"max_steps": 2, "batch_size": 4, "reduction": 4, "learning_rate": 1e-2},
    ),
    Fact.SPARSE: ("prune.magnitude", {"amount": 0.3}),
    Fact.INT8: ("quantize.dynamic", {}),
}


#: What every such recipe is asked to do; the rows are the caller's.
TASK: dict[str, Any] = {"type": "text-classification", "text": "text", "max_length": 32}


def step(transform: AnyTransform, params: dict[str, Any], id: str) -> StepSpec:
    """A step for the recipe. Its parameters are checked."""
    return StepSpec(id, transform.name, transform, transform.Params.model_validate(params), None)


def steps_towards(facts: frozenset[Fact]) -> list[StepSpec]:
    """The steps that make the facts true.

    TORCH and ONNX are left to the planner. A model is pruned or exported only if its head is trained.
    """
    if facts & {Fact.ONNX, Fact.SPARSE, Fact.INT8}:
        facts |= {Fact.TRAINED_HEAD}
    return [
        step(registry.get(use), params, f"before-{i}")
        for i, (fact, (use, params)) in enumerate(_BRING.items())
        if fact in facts
    ]


def prefix_step() -> StepSpec:
    """A short prefix tuning. Not every model family supports it."""
    params = {"max_steps": 2, "batch_size": 4, "virtual_tokens": 2, "learning_rate": 1e-2}
    return step(registry.get("adapter.prefix"), params, "prefix")


def build(
    steps: Sequence[StepSpec],
    *,
    model: Path,
    data: Path,
    store: Path,
    text: str | list[str] = "text",
    label: str = "label",
    task: Mapping[str, Any] | None = None,
) -> Executed:
    """Execute the steps on a model folder and a dataset folder.

    task: keys of the recipe's `task`, which replace those of a classification task. Raises the same errors as `apply`.
    """
    head = RecipeHead.model_validate(
        {
            "edgeopt": 1,
            "name": "conformance",
            "model": {"id": str(model.resolve())},
            "task": {**TASK, "dataset": {"path": str(data.resolve())}, "text": text, "label": label, **(task or {})},
            "baseline": {"finetune": _BRING[Fact.TRAINED_HEAD][1]},
        }
    )
    recipe = Recipe(store / "conformance.yaml", head, tuple(steps), (), Document("conformance"), ())
    opened = Store(store)
    return execute(make_plan(recipe, opened), opened, Progress(show=False), Group())
