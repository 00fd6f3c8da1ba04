"""The key of a step: everything that decides its result.

A key is the SHA-256 of canonical JSON. It holds digests of contents, never paths, file formats, comments or the order
of keys, so that the same rows as csv or parquet, or a folder that was moved, give the same state. `precision: auto`
is replaced by what it means here before. The kind of processor and the number of threads are not in it: they change
the last bits of a training, and a state that was built elsewhere is a valid result of the same recipe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeopt.data.extra import local_digests
from edgeopt.plan.inputs import other_sources
from edgeopt.plan.order import load_step
from edgeopt.plan.references import standing
from edgeopt.plan.steps import Chain, Plan, PlannedStep
from edgeopt.recipe.load import Recipe
from edgeopt.spec.recipe import Distillation, TaskSpec, Training
from edgeopt.step.registry import TRANSFORMS
from edgeopt.step.transform import Reference
from edgeopt.store.store import State, Store
from edgeopt.support import host
from edgeopt.support.errors import Path_
from edgeopt.support.files import key_of
from edgeopt.tasks import TASKS, task_of, task_type
from edgeopt.tasks.several import own_classes


def data_key(plan: Plan, store: Store) -> dict[str, Any] | None:
    """Fingerprint and class names of train; for a hub dataset what the last run found."""
    if plan.data is not None:
        return plan.data.key("train")
    remembered = store.recall_source(hub_data_name(plan.recipe))
    return dict(remembered) if remembered else None


def memory_of(recipe: Recipe) -> str:
    """The name under which the store remembers a variant's last keys; each variant of a recipe has its own."""
    return f"{recipe.head.name}/{recipe.variant}" if recipe.variant else recipe.head.name


def full_name(variant: str, chain: Chain, step: str) -> str:
    """A step's name among all chains and variants: `candidate.adapt`, or `seed-2.candidate.adapt`."""
    return ".".join(part for part in (variant, chain, step) if part)


def hub_data_name(recipe: Recipe) -> str:
    """The name under which the store remembers what a hub dataset was.

    It is a digest of all that decides the rows.
    """
    task = recipe.head.task
    model = {"model": recipe.head.model.model_dump()}  # whose head may order the classes
    each = {".".join(map(str, at)): _hub_rows(part) for at, part in task.each.items()}
    named = {**each.get("task", each), **model}
    if sources := other_sources(recipe):  # the rows left out of them depend on the report split
        digests = local_digests(task, sources, recipe.folder, recipe.document.place)
        named |= {"train_with": [s.model_dump() for s in task.train_with], "files": digests, "report": task.report}
    if unlabelled := recipe.unlabelled():
        named["unlabelled"] = [s.key for _, s in unlabelled]
    return "data:" + key_of(named)


def _hub_rows(task: TaskSpec) -> dict[str, Any]:
    """What decides the rows of a task, or of one of several."""
    return {
        **task.dataset.model_dump(),
        "label": task.label,
        "labels": task.labels,
        "columns": task.columns,
        "type": task.type,
        "pairs": task.pairs and task.pairs.model_dump(),
    }


def key_parts(
    step: PlannedStep, input_digest: str, plan: Plan, data: dict[str, Any], others: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Everything that decides a step's result, and nothing else: no paths, no comments.

    others: digests of the states that its references name.
    """
    task, contract = plan.recipe.head.task, step.contract
    names = sorted(
        {*contract.needs, *(("torch", "transformers", "accelerate") if step.transform.trains(step.params) else ())}
    )
    references, taught = step.transform.references(step.params), step.transform.taught(step.params)
    parts: dict[str, Any] = {
        "input": input_digest,
        "transform": step.use,
        "version": step.transform.version,
        "params": _unnamed(
            step.params.model_dump(mode="json"),
            [
                *(r.path for r in references),
                *((*at, "unlabelled") for at, _ in taught),
                *((("corpus",),) if step.transform.corpus(step.params) else ()),
            ],
        ),
        "seed": seed_of(step, plan.recipe) if step.transform.seeded else None,
        "needs": {name: host.installed(name) for name in names},
    }
    if plugin := TRANSFORMS.origin(step.use, step.transform):
        parts["plugin"] = plugin
    if references:
        parts["references"] = {".".join(map(str, r.path)): (others or {})[r.key] for r in references}
    if contract.data is not None or step.transform.shaped_by_task:
        parts["task"] = {"type": task.type, "labels": data["labels"], **_edition(task)}
        if made := dict(task_of(task).made()):
            parts["task"]["made"] = made
    if contract.data is not None:
        parts["data"] = {
            "fingerprint": data["fingerprint"],
            "split": contract.data,
            "selection": task.selection,
            **task_of(task).key(),
        }
    if (text := step.transform.corpus(step.params)) is not None:
        parts["corpus"] = {**(plan.corpora[step.id].key() or {}), "pack": text.pack}
    trainings = step.transform.trainings(step.params) if contract.data is not None else []
    if trainings and data.get("train_with"):
        parts["data"]["train_with"] = data["train_with"]
    if step.held_out and any(not training.selects for _, training in trainings):
        parts["data"]["held_out"] = True  # of the others `selection` says it already
    unlabelled = [t.unlabelled for _, t in taught if isinstance(t, Distillation) and t.unlabelled]
    if unlabelled:
        parts["data"]["unlabelled"] = [data["unlabelled"][source.key] for source in unlabelled]
    if step.transform.compared_on_rows:
        parts["parity"] = {"fingerprint": data["fingerprint"], **task_of(task).key(), **_edition(task)}
    return parts


#: Parameters with the value by which they ask for nothing: a training without them is the one that it always was.
_NOTHING = {
    "distill": None,
    "losses": None,
    "dropout": None,
    "freeze": "none",
    "eval_steps": None,
    "offline": False,
    "bias_correction": True,
    "probe": None,
}


def _edition(task: TaskSpec) -> dict[str, Any]:
    kind = task_type(task.type)
    plugin = TASKS.origin(task.type, kind)
    return {**({"version": kind.version} if kind.version > 1 else {}), **({"plugin": plugin} if plugin else {})}


def seed_of(step: PlannedStep, recipe: Recipe) -> int:
    """The seed that a step draws from: its own where it trains and has one, else the recipe's."""
    own = getattr(step.params, "seed", None) if isinstance(step.params, Training) else None
    return recipe.head.seed if own is None else int(own)


def _unnamed(params: dict[str, Any], named: Sequence[Path_]) -> dict[str, Any]:
    """Parameters without those that ask for nothing, and without what is named, whose digests count.

    named: other models and rows.
    """
    for at in named:
        *path, last = (p for p in at if isinstance(p, str))
        inside = params
        for part in path:
            inside = inside[part]
        inside.pop(last, None)
    return {
        k: _unnamed(v, ()) if isinstance(v, dict) else v
        for k, v in params.items()
        if not (k in _NOTHING and v == _NOTHING[k])
    }


def other_digests(step: PlannedStep, plan: Plan, data: dict[str, Any], store: Store) -> tuple[dict[str, str], str]:
    """Digests of the states that a step's references name, and the first name of one that is not built yet.

    The name is empty where all are built.
    """
    found = {}
    for reference in step.transform.references(step.params):
        stands = standing(plan.chains, reference.name)
        if stands is None and reference.role == "auxiliary":  # which is used as it is
            digest = plan.checkpoints[reference.name].fingerprint()
        else:
            state = stands.state if stands else _checkpoint_state(reference, plan, data, store)
            digest = None if state is None else state.digest
        if digest is None:
            return {}, reference.name
        found[reference.key] = digest
    return found, ""


def _checkpoint_state(reference: Reference, plan: Plan, data: dict[str, Any], store: Store) -> State | None:
    digest = plan.checkpoints[reference.name].fingerprint()
    if reference.task is not None:
        plan = plan.of_task(reference.task)
        data = {**data, "labels": own_classes(reference.task, data["labels"])}
    step = load_step(reference.name)
    return None if digest is None else store.find(key_of(key_parts(step, digest, plan, data)))
