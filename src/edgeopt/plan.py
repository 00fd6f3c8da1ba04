"""The plan: both chains of steps with the lowering put in, their keys, and what is cached.

Made without importing torch and without the network. A step's key needs the digest of its input
state, so behind a step that is not cached the keys are not known yet, and the plan says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from edgeopt import host
from edgeopt.contract import Contract, Fact, Facts, facts, fold
from edgeopt.data import TaskData, is_local, load_data
from edgeopt.data.extra import local_digests, with_extra, with_unlabelled
from edgeopt.emissions import emissions_issues
from edgeopt.errors import InputError, Issue, Place
from edgeopt.export import exporter
from edgeopt.models.source import CONFIG, ModelSource, find_model
from edgeopt.recipe.expand import each_seed
from edgeopt.recipe.load import Recipe, StepSpec
from edgeopt.recipe.problems import closest
from edgeopt.recipe.schema import StepParams, TextSource, TrainedStepParams
from edgeopt.recipe.yaml import Path_
from edgeopt.references import find_checkpoints, standing, unmatched
from edgeopt.store import State, Store, key_of
from edgeopt.tasks import task_of
from edgeopt.training.check import training_issues
from edgeopt.transforms.base import AnyTransform
from edgeopt.transforms.finetune import Finetune
from edgeopt.transforms.load import Load
from edgeopt.transforms.lower import LowerToOnnx

T = TypeVar("T")
Chain = Literal["baseline", "candidate"]
Status = Literal["cached", "new", "stale"]


@dataclass(frozen=True)
class PlannedStep:
    """A step of a chain. key and state are None where the input is not built yet."""

    id: str
    use: str
    chain: Chain
    transform: AnyTransform
    params: StepParams
    place: Place | None
    implied: bool = False
    note: str = ""
    key: str | None = None
    parts: dict[str, Any] = field(default_factory=dict)
    status: Status = "new"
    why: str = ""
    state: State | None = None

    @property
    def contract(self) -> Contract:
        return self.transform.contract_of(self.params)


@dataclass
class Plan:
    """What `apply` will do. `data` is None where the rows must first come from the hub."""

    recipe: Recipe
    source: ModelSource
    data: TaskData | None
    chains: dict[Chain, list[PlannedStep]]
    #: Checkpoints that steps name, besides the recipe's model.
    checkpoints: dict[str, ModelSource] = field(default_factory=dict)

    @property
    def steps(self) -> list[PlannedStep]:
        return [*self.chains["baseline"], *self.chains["candidate"]]


def check_order(recipe: Recipe, source: ModelSource) -> dict[Chain, list[PlannedStep]]:
    """Both chains with what the planner adds. Raises InputError E2xx at the step that may not stand there."""
    start = _start(source)
    chains: dict[Chain, list[PlannedStep]] = {
        "baseline": _lowered(_baseline(recipe), "baseline", start, recipe),
        "candidate": _lowered([_planned(s) for s in recipe.steps], "candidate", start, recipe),
    }
    issues: list[Issue] = []
    for name, chain in chains.items():
        found = fold(start, chain).issues
        issues += [_baseline_issue(recipe)] if name == "baseline" and found else found
        if name == "candidate" and not found:
            issues += _unexportable(recipe, fold(start, chain).after)
    if issues:
        raise InputError(issues)
    chains = {name: _noted(chain, fold(start, chain).before) for name, chain in chains.items()}
    return {name: [replace(load_step("load"), chain=name), *chain] for name, chain in chains.items()}


def load_step(id: str) -> PlannedStep:
    """The step that reads a checkpoint and gives it the task's head."""
    return PlannedStep(id, Load.name, "baseline", Load(), StepParams(), None, implied=True)


def _start(source: ModelSource) -> Facts:
    """Facts of a model behind its load, as far as they are known."""
    return facts(Fact.TORCH) if source.has_trained_head is False else facts(Fact.TORCH, Fact.TRAINED_HEAD)


def _noted(chain: list[PlannedStep], before: list[Facts]) -> list[PlannedStep]:
    """The lowering says where an adapter that cannot be merged goes."""
    adapter = next((s.id for s in chain if Fact.GRAPH_ADAPTER in s.contract.adds), None)
    return [
        replace(s, note=f"with the adapter of '{adapter}' inside, which cannot be merged") if s.implied and Fact.GRAPH_ADAPTER in facts else s
        for s, facts in zip(chain, before, strict=True)
    ]


def _unexportable(recipe: Recipe, after: Facts) -> list[Issue]:
    """Exporters that cannot take what the last step leaves."""
    lacking = {i: exporter(spec.format).requires - after for i, spec in enumerate(recipe.head.export)}
    return [
        Issue("E205", f"exporter '{recipe.head.export[i].format}' needs {', '.join(sorted(facts))}, which the last step does not leave",
              recipe.document.place(("export", i)), "add the step that brings it")
        for i, facts in lacking.items() if facts
    ]  # fmt: skip


def _planned(step: StepSpec) -> PlannedStep:
    return PlannedStep(step.id, step.use, "candidate", step.transform, step.params, step.place)


def _baseline(recipe: Recipe) -> list[PlannedStep]:
    training = recipe.head.baseline.finetune
    if training is None:
        return []
    transform = Finetune()
    params = Finetune.Params.model_validate(training.model_dump())
    return [PlannedStep("finetune", transform.name, "baseline", transform, params, recipe.document.place(("baseline", "finetune")))]


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
    return PlannedStep("onnx", LowerToOnnx.name, chain, LowerToOnnx(), StepParams(), place, implied=True)


def make_plans(recipe: Recipe, store: Store) -> list[Plan]:
    """Check the recipe, then look up what the store holds: a plan for each seed. Raises InputError as `check` does."""
    return looked_up(check(recipe), store)


def looked_up(plan: Plan, store: Store) -> list[Plan]:
    """A plan for each seed, with what the store holds of it."""
    plans = plans_by_seed(plan)
    for plan in plans:
        for chain, steps in plan.chains.items():
            _look_up(plan, chain, steps, store)
    return plans


def make_plan(recipe: Recipe, store: Store) -> Plan:
    """The same of a recipe's only, or first, seed."""
    return make_plans(recipe, store)[0]


def plans_by_seed(plan: Plan) -> list[Plan]:
    """The plan for each of the recipe's seeds, in their order: model, rows and steps are the same."""
    return [replace(plan, recipe=recipe, chains={name: list(steps) for name, steps in plan.chains.items()}) for recipe in each_seed(plan.recipe)]


class Inputs:
    """Models and rows, each found once however many recipes name it."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def model(self, recipe: Recipe) -> ModelSource:
        """Raises InputError as `find_model` does."""
        spec, task = recipe.head.model, recipe.head.task
        place = recipe.document.place(("model", "id"))
        return self._once(f"{spec!r} {task.type}", lambda: find_model(spec, recipe.folder, place, head=task_of(task).head))

    def rows(self, recipe: Recipe) -> TaskData | None:
        """None where they are the hub's. Raises InputError as `load_rows` does."""
        data = self._once(recipe.rows_key, lambda: _local_data(recipe))
        if data is not None:
            check_classes(recipe, data)
        return data

    def _once(self, key: str, find: Callable[[], T]) -> T:
        if key not in self._found:
            self._found[key] = find()
        found: T = self._found[key]
        return found


def check(recipe: Recipe, inputs: Inputs | None = None) -> Plan:
    """The plan without a look at any store: model, order of the steps, and data. inputs: of the recipes beside this one.
    Raises InputError for everything that a user can mend before any compute or download."""
    issues: list[Issue] = []
    inputs = inputs or Inputs()
    spec = recipe.head.model
    found = _attempt(issues, lambda: inputs.model(recipe))
    source = found or ModelSource(spec.id, spec.revision, None, False)  # the order can be checked without it
    chains = _attempt(issues, lambda: check_order(recipe, source))
    data = _attempt(issues, lambda: inputs.rows(recipe))
    classes = data.label_names if data else recipe.head.task.labels
    checkpoints = _attempt(issues, lambda: find_checkpoints(recipe, chains, _start(source), source, classes)) if chains else None
    issues += unmatched(recipe, source, checkpoints or {})
    issues += [*_export_issues(recipe), *_fit_issues(recipe, source, data), *_step_issues(recipe, source), *emissions_issues(recipe)]
    if issues or chains is None:
        raise InputError(issues)
    return Plan(recipe, source, data, chains, checkpoints or {})


def _attempt(issues: list[Issue], find: Callable[[], T]) -> T | None:
    """What `find` finds; where it cannot, its issues are kept, so that the rest is checked in the same go."""
    try:
        return find()
    except InputError as error:
        issues += error.issues
        return None


def _local_data(recipe: Recipe) -> TaskData | None:
    """The rows, read and checked, where they are files; None where they are the hub's, though what is here is looked at."""
    task, folder = recipe.head.task, recipe.folder
    if all(is_local(spec, folder) for spec in (task.dataset, *(s.dataset for _, s in _sources(recipe)))):
        return _rows(recipe)
    if is_local(task.dataset, folder):
        _task_rows(recipe)
    local_digests(task, _sources(recipe), folder, recipe.document.place)
    return None


def _sources(recipe: Recipe) -> list[tuple[Path_, TextSource]]:
    """The datasets besides the task's, with the path of their keys."""
    return [*((("task", "train_with", i), s) for i, s in enumerate(recipe.head.task.train_with)), *recipe.unlabelled()]


def load_rows(recipe: Recipe) -> TaskData:
    """All rows, from files or the hub, read and checked. Raises InputError as `load_data` and `with_extra` do, and E106 where
    a training does not fit the classes."""
    data = _rows(recipe)
    check_classes(recipe, data)
    return data


def _rows(recipe: Recipe) -> TaskData:
    task, folder, place_of = recipe.head.task, recipe.folder, recipe.document.place
    return with_unlabelled(with_extra(_task_rows(recipe), task, folder, place_of), task, recipe.unlabelled(), folder, place_of)


def check_classes(recipe: Recipe, data: TaskData) -> None:
    """Raises InputError E106 where a training does not fit the classes."""
    issues = training_issues(recipe.document, recipe.trainings(), recipe.head.task, data.label_names)
    if issues:
        raise InputError(issues)


def _task_rows(recipe: Recipe) -> TaskData:
    task, place = recipe.head.task, recipe.document.place
    at = ("task", "dataset") if task.dataset.path is None else ("task", "dataset", "path")
    places = {split: place(("task", "dataset", "data_files", split)) for split in ("train", "validation", "test")}
    return load_data(task, recipe.folder, place=place(at), places=places)


def _export_issues(recipe: Recipe) -> list[Issue]:
    """Options that an exporter does not have, or of another type than its default."""
    issues = []
    for i, spec in enumerate(recipe.head.export):
        known = exporter(spec.format).options
        for key, value in spec.options.items():
            place = recipe.document.place(("export", i, "options", key))
            if key not in known:
                guess = closest(key, known)
                issues.append(
                    Issue(
                        "E104",
                        f"exporter '{spec.format}' has no option '{key}'",
                        place,
                        f"did you mean '{guess}'?" if guess else f"its options: {', '.join(sorted(known)) or 'none'}",
                    )
                )
            elif type(value) is not type(known[key]):
                issues.append(Issue("E106", f"option '{key}' of exporter '{spec.format}' is {value!r}, and must be like {known[key]!r}", place))
    return issues


def _fit_issues(recipe: Recipe, source: ModelSource, data: TaskData | None) -> list[Issue]:
    """Where model, task and data are each sound and do not go together."""
    issues: list[Issue] = []
    task, config, folder = recipe.head.task, source.config, source.folder
    if config is not None and folder is not None:
        _attempt(issues, lambda: task_of(task).check_family(config["model_type"], Place.of(folder / CONFIG)))
    if source.positions is not None and (task.target_length or 0) > source.positions:
        issues.append(
            Issue(
                "E106",
                f"task.max_target_length is {task.target_length}, and the model has {source.positions} positions",
                recipe.document.place(("task", "max_target_length")),
                f"set task.max_target_length to {source.positions} or less",
            )
        )
    if source.positions is not None and task.max_length > source.positions:
        issues.append(
            Issue(
                "E106",
                f"task.max_length is {task.max_length}, and the model has {source.positions} positions",
                recipe.document.place(("task", "max_length")),
                f"set task.max_length to {source.positions} or less",
            )
        )
    for i, target in enumerate(recipe.targets):
        longest = max((n for n in target.sequence if n != "task"), default=0)
        if source.positions is not None and longest > source.positions:
            issues.append(
                Issue(
                    "E106",
                    f"target '{target.name}' measures {longest} tokens, and the model has {source.positions} positions",
                    recipe.document.place(("targets", i)),
                    f"write a target whose sequence is {source.positions} or less, or 'task'",
                )
            )
    wanted = None if data is None else task_of(task, data.label_names).outputs
    if source.outputs is not None and wanted is not None and source.outputs != wanted:
        issues.append(
            Issue(
                "E316",
                f"the model's trained head has {source.outputs} outputs, and the data needs {wanted}",
                recipe.document.place(("model", "id")),
                "start from the bare encoder, or give data with the classes it was trained for",
            )
        )
    return issues


def _step_issues(recipe: Recipe, source: ModelSource) -> list[Issue]:
    """A task or steps that this model or this machine cannot take."""
    issues = []
    task = recipe.head.task
    lacking = [name for name in task_of(task).needs if host.installed(name) is None]
    if lacking:
        place = recipe.document.place(("task", "type"))
        issues.append(Issue("E206", f"task {task.type} needs {', '.join(lacking)}, which is not installed here", place, "pip install 'edgeopt[tasks]'"))
    for i, step in enumerate(recipe.steps):
        lacking = [name for name in step.contract.needs if host.installed(name) is None]
        if lacking:
            wanted = f"'edgeopt[{step.contract.extra}]'" if step.contract.extra else " ".join(lacking)
            issues.append(
                Issue("E206", f"step '{step.id}' ({step.use}) needs {', '.join(lacking)}, which is not installed here", step.place, f"pip install {wanted}")
            )
        for path, message, help in step.transform.fit(step.params, recipe.head.task, source):
            issues.append(Issue("E106", f"step '{step.id}': {message}", recipe.document.place(("steps", i, *path)), help))
    return issues


def data_key(plan: Plan, store: Store) -> dict[str, Any] | None:
    """Fingerprint and class names of train; for a hub dataset what the last run found."""
    if plan.data is not None:
        return plan.data.key("train")
    remembered = store.recall_source(hub_data_name(plan.recipe))
    return dict(remembered) if remembered else None


def memory_of(recipe: Recipe) -> str:
    """Under what the store remembers the steps' last keys: each variant of a recipe has a memory of its own."""
    return f"{recipe.head.name}/{recipe.variant}" if recipe.variant else recipe.head.name


def full_name(variant: str, chain: Chain, step: str) -> str:
    """`candidate.adapt`, or `seed-2.candidate.adapt`."""
    return ".".join(part for part in (variant, chain, step) if part)


def hub_data_name(recipe: Recipe) -> str:
    task = recipe.head.task
    named = {
        **task.dataset.model_dump(),
        "label": task.label,
        "labels": task.labels,
        "columns": task.columns,
        "type": task.type,
        "pairs": task.pairs and task.pairs.model_dump(),
    }
    if sources := _sources(recipe):  # the rows left out of them depend on the report split
        digests = local_digests(task, sources, recipe.folder, recipe.document.place)
        named |= {"train_with": [s.model_dump() for s in task.train_with], "files": digests, "report": task.report}
    if unlabelled := recipe.unlabelled():
        named["unlabelled"] = [s.key for _, s in unlabelled]
    return "data:" + key_of(named)


def key_parts(step: PlannedStep, input_digest: str, plan: Plan, data: dict[str, Any], others: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Everything that decides a step's result, and nothing else: no paths, no comments. others: digests of the states that
    its references name."""
    task, contract = plan.recipe.head.task, step.contract
    names = sorted({*contract.needs, *(("torch", "transformers", "accelerate") if step.transform.trains(step.params) else ())})
    references, distils = step.transform.references(step.params), step.transform.distillations(step.params)
    parts: dict[str, Any] = {
        "input": input_digest,
        "transform": step.use,
        "version": step.transform.version,
        "params": _resolved(_unnamed(step.params.model_dump(mode="json"), [*(r.path for r in references), *((*at, "unlabelled") for at, _ in distils)])),
        "seed": seed_of(step, plan.recipe) if step.transform.seeded else None,
        "needs": {name: host.installed(name) for name in names},
    }
    if references:
        parts["references"] = {".".join(map(str, r.path)): (others or {})[r.name] for r in references}
    if contract.data is not None or step.use == Load.name:
        parts["task"] = {"type": task.type, "labels": data["labels"]}
    if contract.data is not None:
        parts["data"] = {"fingerprint": data["fingerprint"], "split": contract.data, "selection": task.selection, **task_of(task).key()}
    if step.transform.trains(step.params) and data.get("train_with"):
        parts["data"]["train_with"] = data["train_with"]
    if unlabelled := [data["unlabelled"][distil.unlabelled.key] for _, distil in distils if distil.unlabelled]:
        parts["data"]["unlabelled"] = unlabelled
    if step.use == LowerToOnnx.name:
        parts["parity"] = {"fingerprint": data["fingerprint"], **task_of(task).key()}
    return parts


def seed_of(step: PlannedStep, recipe: Recipe) -> int:
    own = getattr(step.params, "seed", None) if isinstance(step.params, TrainedStepParams) else None
    return recipe.head.seed if own is None else int(own)


def _unnamed(params: dict[str, Any], named: Sequence[Path_]) -> dict[str, Any]:
    """Without a distillation that is not asked for, and without what is named (other models, rows), whose digests count."""
    for at in named:
        *path, last = (p for p in at if isinstance(p, str))
        inside = params
        for part in path:
            inside = inside[part]
        inside.pop(last, None)
    return {k: _unnamed(v, ()) if isinstance(v, dict) else v for k, v in params.items() if (k, v) != ("distil", None)}


def other_digests(step: PlannedStep, plan: Plan, data: dict[str, Any], store: Store) -> tuple[dict[str, str], str]:
    """Digests of the states that the step's references name; and the first name of one that is not built yet, else nothing."""
    found = {}
    for reference in step.transform.references(step.params):
        stands = standing(plan.chains, reference.name)
        state = stands.state if stands else _checkpoint_state(reference.name, plan, data, store)
        if state is None:
            return {}, reference.name
        found[reference.name] = state.digest
    return found, ""


def _checkpoint_state(name: str, plan: Plan, data: dict[str, Any], store: Store) -> State | None:
    digest = plan.checkpoints[name].fingerprint()
    return None if digest is None else store.find(key_of(key_parts(load_step(name), digest, plan, data)))


def _resolved(value: Any) -> Any:
    """`precision: auto` means what this machine makes of it."""
    if isinstance(value, dict):
        return {k: host.resolve_precision(v) if k == "precision" and isinstance(v, str) else _resolved(v) for k, v in value.items()}
    return value


def _look_up(plan: Plan, chain: Chain, steps: list[PlannedStep], store: Store) -> None:
    digest, data = plan.source.fingerprint(), data_key(plan, store)
    behind = "the model is not downloaded yet" if digest is None else "the dataset is not downloaded yet" if data is None else ""
    for i, step in enumerate(steps):
        if behind:
            steps[i] = replace(step, status="new", why=behind)
            continue
        assert digest is not None
        assert data is not None
        others, missing = other_digests(step, plan, data, store)
        if missing:
            behind = f"'{missing}' is not built yet"
            steps[i] = replace(step, status="new", why=behind)
            continue
        steps[i] = found = look_up(step, key_parts(step, digest, plan, data, others), plan.recipe, store)
        if found.state is None:
            behind = f"follows '{step.id}'"
        else:
            digest = found.state.digest


def look_up(step: PlannedStep, parts: dict[str, Any], recipe: Recipe, store: Store) -> PlannedStep:
    """The step with its key, and its state where the store has it, or why it has not."""
    key = key_of(parts)
    state = store.find(key)
    if state is not None:
        return replace(step, key=key, parts=parts, status="cached", why="", state=state)
    if store.is_damaged(key):
        return replace(step, key=key, parts=parts, status="stale", why="its state is damaged")
    before = store.recall(memory_of(recipe), step.chain, step.id)
    if before is None:
        return replace(step, key=key, parts=parts, status="new", why="never built")
    if before["key"] == key:
        return replace(step, key=key, parts=parts, status="new", why="not finished, or removed from the store")
    return replace(step, key=key, parts=parts, status="stale", why=_changed(before["parts"], parts))


_WORDS = {
    "input": "its input",
    "version": "edgeopt's transform",
    "data.fingerprint": "the training rows",
    "data.train_with": "the rows of task.train_with",
    "data.unlabelled": "the rows without labels",
}


def _changed(old: Any, new: Any) -> str:
    """`amount 0.3 → 0.4`: what differs between the parts of two keys."""
    if old.get("transform") != new.get("transform"):
        return f"was {old.get('transform')}"
    found: list[str] = []

    def walk(a: Any, b: Any, path: str) -> None:
        if isinstance(a, dict) and isinstance(b, dict):
            for name in sorted({*a, *b}):
                walk(a.get(name), b.get(name), f"{path}.{name}" if path else name)
        elif a != b:
            if path.startswith("references."):
                found.append(f"the model of {path.removeprefix('references.')} changed")
            elif path in _WORDS:
                found.append(f"{_WORDS[path]} changed")
            else:
                found.append(f"{path.removeprefix('params.')} {_short(a)} → {_short(b)}")

    walk(old, new, "")
    return "; ".join(found) or "its key changed"


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else text[:12] + "…"
