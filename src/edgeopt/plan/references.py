"""The models that a step needs besides its input: found, and refused where they cannot be had or do not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.data import SeveralData, TaskData
from edgeopt.models.source import ModelSource, find_model
from edgeopt.models.structure import of_config
from edgeopt.models.tokenizer import read_tokenizer
from edgeopt.plan.tokens import read_otherwise
from edgeopt.recipe.load import Recipe
from edgeopt.spec.recipe import ModelSpec, OneTask, SeveralTasks, TaskSpec
from edgeopt.step.contract import fold
from edgeopt.step.transform import Reference
from edgeopt.store.facts import Fact, Facts
from edgeopt.support.errors import InputError, Issue, Place
from edgeopt.support.paths import expanded, is_there
from edgeopt.support.words import closest, is_integer
from edgeopt.tasks import task_of, task_type
from edgeopt.tasks.class_order import in_heads_order, order_stated

if TYPE_CHECKING:
    from edgeopt.plan.steps import Chain, PlannedStep

    Chains = Mapping[Chain, Sequence[PlannedStep]]

BASELINE = "baseline"


@dataclass(frozen=True)
class Named:
    """A reference, the step that makes it, and where the recipe names it."""

    reference: Reference
    step: str
    place: Place


def all_references(recipe: Recipe) -> Iterator[Named]:
    """Every reference of a recipe's steps to another state, with the step that has it and its place."""
    for number, spec in enumerate(recipe.steps):
        for reference in spec.transform.references(spec.params):
            yield Named(reference, spec.id, recipe.document.place(("steps", number, *reference.path)))


def standing(chains: Chains, name: str) -> PlannedStep | None:
    """The step whose state the name stands for: of the baseline, the last that leaves a torch module.

    None: a checkpoint.
    """
    if name == BASELINE:
        return next(s for s in reversed(chains["baseline"]) if Fact.ONNX not in s.contract.adds | s.contract.requires)
    return next((s for s in chains["candidate"] if s.id == name), None)


def find_checkpoints(
    recipe: Recipe, chains: Chains, start: Facts, model: ModelSource, data: TaskData | None
) -> dict[str, ModelSource]:
    """The checkpoints that steps name.

    Raises InputError E207 for a step that is not there or not earlier, E208 for a model that does not fit, and E308 to
    E315 as `find_model` does. start: facts of the recipe's model. data: the rows, where they were read.
    """
    found: dict[str, ModelSource] = {}
    issues: list[Issue] = []
    chain = chains["candidate"]
    ids, folded = [s.id for s in chain], fold(start, chain)
    facts = [*folded.before[1:], folded.after]
    for named in all_references(recipe):
        name, role = named.reference.name, named.reference.role
        before = ids[: ids.index(named.step)]
        if role == "auxiliary" and name in ids:
            if name not in before or not chain[ids.index(name)].transform.other_head:
                help = "name an earlier pretrain.mlm, or a checkpoint that guesses words"
                issues.append(_unfit(named, "is no earlier pre-training", help))
        elif role == "teacher" and (name == BASELINE or name in before):
            if name != BASELINE and Fact.TRAINED_HEAD not in facts[ids.index(name)]:
                issues.append(
                    _unfit(named, "has no trained head", "name a step after a step that trains, or `baseline`")
                )
        elif role == "teacher" and name in ids:
            what = (
                "is the step itself"
                if name == named.step
                else "leaves no torch module"
                if _lowers(chain, name)
                else "stands behind it"
            )
            issues.append(
                Issue(
                    "E207", f"step '{named.step}' cannot learn from '{name}': that {what}", named.place, _offer(before)
                )
            )
        elif "/" in name or is_there(recipe.folder / expanded(name), Path.exists):
            try:
                if name not in found:
                    task = _task_of(named, recipe)
                    found[name] = find_model(
                        ModelSpec(id=name),
                        recipe.folder,
                        named.place,
                        head=task_of(task).head,
                        embeds=task_type(task.type).embeds,
                    )
                issues += misfits(named, found[name], recipe, model, data)
            except InputError as error:
                issues += error.issues
        else:
            guess = closest(name, [BASELINE, *before]) if role == "teacher" else None
            what = "no step and no folder" if role == "teacher" else "no folder"
            issues.append(
                Issue(
                    "E207",
                    f"step '{named.step}': there is {what} '{name}'",
                    named.place,
                    f"did you mean '{guess}'?" if guess else _offer(before, role),
                )
            )
    if issues:
        raise InputError(issues)
    return found


def _task_of(named: Named, recipe: Recipe) -> TaskSpec:
    """The task that a checkpoint is for: the recipe's, or one of several."""
    whose = named.reference.task
    return recipe.head.task if whose is None else recipe.head.task.each["tasks", whose]


def _lowers(chain: Sequence[PlannedStep], name: str) -> bool:
    step = next(s for s in chain if s.id == name)
    return Fact.ONNX in step.contract.adds | step.contract.requires


def _offer(before: Sequence[str], role: str = "teacher") -> str:
    checkpoint = "a checkpoint: a folder, or a hub id with its owner (owner/name)"
    return (
        f"give `{BASELINE}`, an earlier step ({', '.join(before)}), or {checkpoint}"
        if role == "teacher"
        else f"give {checkpoint}"
    )


def _unfit(named: Named, what: str, help: str) -> Issue:
    return Issue(
        "E208", f"step '{named.step}': the {named.reference.role} '{named.reference.name}' {what}", named.place, help
    )


def misfits(named: Named, found: ModelSource, recipe: Recipe, model: ModelSource, data: TaskData | None) -> list[Issue]:
    """What is wrong with a checkpoint for its role, as far as it is known before a download.

    data: the rows, where they were read.
    """
    spec, config = _task_of(named, recipe), found.config
    if named.reference.task is not None and isinstance(data, SeveralData):
        data = data.parts[named.reference.task]
    if config is None:
        return []
    issues = []
    if named.reference.role == "auxiliary":
        return _other_words(named, found, model)
    teaches, names = named.reference.role == "teacher", spec.class_names if data is None else data.label_names
    if teaches and not found.has_trained_head:
        issues.append(_unfit(named, "has no trained head", _headed(named, spec)))
    elif teaches and (names is not None or not task_type(spec.type).has_classes):
        wanted = task_of(spec, names or ()).outputs
        if wanted is not None and found.outputs != wanted:
            issues.append(
                _unfit(
                    named,
                    f"has {found.outputs} outputs, and the task {wanted}",
                    "give one that was trained for the same classes",
                )
            )
        elif names and task_of(spec).names_outputs:
            issues += _misnamed(named, found, names, stated=order_stated(spec, found.names))
    if found.positions is not None and found.positions < spec.max_length:
        issues.append(
            _unfit(
                named,
                f"has {found.positions} positions, and task.max_length is {spec.max_length}",
                "lower task.max_length",
            )
        )
    looks_inside = named.reference.tokens and (not isinstance(spec, OneTask) or spec.head == "pair")
    needed = looks_inside or not teaches or task_type(spec.type).reads_words or task_type(spec.type).writes
    if needed and (row := read_otherwise(found, model, spec, data)) is not None:
        compared = "their answers are compared token by token"
        why = compared if teaches else "both chains are measured with the same tokens"
        what = f"makes other tokens than the recipe's model, first in {row}"
        issues.append(_unfit(named, what, f"{why}: give one with the same tokenizer"))
    return issues


def _headed(named: Named, spec: TaskSpec) -> str:
    """Which checkpoint has a head that a task has a use for."""
    whose = named.reference.task
    if whose is not None:
        return f"give one that was fine-tuned for {whose} alone; a model of all tasks can be `{BASELINE}`"
    if isinstance(spec, SeveralTasks):
        each = ", ".join(f"{name}: …" for name in spec.parts)
        return f"give a model of these tasks, or one for each: `teacher: {{{each}}}`"
    return "give a checkpoint that was fine-tuned for the task"


def _other_words(named: Named, found: ModelSource, model: ModelSource) -> list[Issue]:
    """An auxiliary model whose tokens are numbered otherwise than the model's."""
    if found.folder is None or model.folder is None:
        return []
    one, other = (read_tokenizer(s.folder, str(s.model_type)).tokenizer for s in (found, model) if s.folder)
    if one.get_vocab() == other.get_vocab():
        return []
    return [_unfit(named, "has another vocabulary than the recipe's model", "give one with the same tokenizer")]


def _misnamed(named: Named, found: ModelSource, names: Sequence[str], *, stated: bool) -> list[Issue]:
    """A teacher whose outputs are other classes, or the same in another order.

    names: the task's; stated: in task.labels.
    """
    try:
        order = in_heads_order(names, found.names, stated=stated)
    except InputError:
        order = ()
    numbers, words = all(is_integer(n) for n in names), not all(is_integer(n) for n in order)
    # rows with the outputs' numbers, which the teacher gives names
    if order == tuple(names) or (order and numbers and words):
        return []
    theirs = ", ".join(found.names)
    if sorted(n.casefold() for n in found.names) == sorted(n.casefold() for n in names):
        return [
            _unfit(
                named,
                f"has its classes in another order: {theirs}",
                "give task.labels in that order, or another teacher",
            )
        ]
    return [
        _unfit(
            named,
            f"does not have the classes {', '.join(names)}, but {theirs}",
            "state task.labels in the order of its outputs, or give another teacher",
        )
    ]


def unmatched(recipe: Recipe, source: ModelSource, checkpoints: Mapping[str, ModelSource]) -> list[Issue]:
    """An issue for each list of layers to match that names one which the teacher does not have.

    Looked at is a teacher that is a dense model and is here.
    """
    issues = []
    for at, training in recipe.trainings():
        taught = training.taught
        if taught is None or not isinstance(taught.match, list):
            continue
        place = recipe.document.place((*at, *training.taught_at, "match"))
        known = [source if name == BASELINE else checkpoints.get(name) for name in taught.teachers]
        for count in sorted({count for each in known if each is not None and (count := _layers(each))}):
            wrong = [n for n in taught.match if n >= count]
            if wrong:
                what = f"the teacher has no layer {wrong[0]}: it has {count}, numbered from 0"
                issues.append(Issue("E208", what, place, f"layers: 0 to {count - 1}"))
    return issues


def _layers(source: ModelSource) -> int | None:
    """How many layers a dense model has; None where it is not known."""
    try:
        return len(of_config(source.config or {}).layers)
    except ValueError:  # not downloaded yet, or a config that leaves numbers to transformers' defaults
        return None
