"""Where model, task, data, exporters and this machine are each sound and do not go together."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edgeopt.data import TaskData
from edgeopt.export.exporter import absent, exporter, install_command
from edgeopt.measure.emissions import COUNTRY, PACKAGE, country_of
from edgeopt.models.source import CONFIG, ModelSource
from edgeopt.recipe.load import Recipe
from edgeopt.spec.recipe import AUTO, TaskSpec
from edgeopt.support import host
from edgeopt.support.errors import HEAVY, InputError, Issue, Place, bad_input
from edgeopt.support.installation import install
from edgeopt.support.words import meant
from edgeopt.tasks import task_of, task_type

T = TypeVar("T")


def export_issues(recipe: Recipe) -> list[Issue]:
    """Exporters that cannot be run here or on a target, and options that one does not have, or that are wrong."""
    issues = []
    for at, name in recipe.formats():
        made, place = exporter(name), recipe.document.place(at)
        if lacking := absent(made):
            issues.append(
                Issue(
                    "E206",
                    f"exporter '{name}' needs {', '.join(lacking)}, which is not installed here",
                    place,
                    install_command(made),
                )
            )
        for target in recipe.targets:
            if target.runtime not in (None, made.runtime):
                help = "leave the format out, or `runtime` of the target"
                issues.append(
                    Issue(
                        "E205",
                        f"target '{target.name}' only has {target.runtime}, but '{name}' is for {made.runtime}",
                        place,
                        help,
                    )
                )
    for i, spec in enumerate(recipe.head.export):
        if spec.format == AUTO:
            continue
        made = exporter(spec.format)
        known, found = made.known_options, len(issues)
        for key, value in spec.options.items():
            place = recipe.document.place(("export", i, "options", key))
            if key not in known:
                issues.append(
                    Issue(
                        "E104",
                        f"exporter '{spec.format}' has no option '{key}'",
                        place,
                        meant(key, sorted(known), "its options"),
                    )
                )
            elif type(value) is not type(known[key]) or (
                isinstance(value, list) and {*map(type, value)} - {*map(type, known[key])}
            ):
                issues.append(
                    Issue(
                        "E106",
                        f"option '{key}' of exporter '{spec.format}' is {value!r}, and must be like {known[key]!r}",
                        place,
                    )
                )
            elif key == "padding" and value not in made.paddings:
                issues.append(
                    Issue(
                        "E106",
                        f"'padding' of exporter '{spec.format}' is {value!r}",
                        place,
                        f"one of {', '.join(made.paddings)}",
                    )
                )
        if len(issues) == found and (wrong := made.misfit({**known, **spec.options})):
            issues.append(
                Issue("E106", f"exporter '{spec.format}': {wrong}", recipe.document.place(("export", i, "options")))
            )
    return issues


def fit_issues(recipe: Recipe, source: ModelSource, data: TaskData | None) -> list[Issue]:
    """What keeps model, task and data, each sound, from going together."""
    issues: list[Issue] = []
    task, config, folder = recipe.head.task, source.config, source.folder
    if config is not None and folder is not None:
        attempt(issues, lambda: task_of(task).check_family(config["model_type"], Place.of(folder / CONFIG)))
    if source.positions is not None and (task.target_length or 0) > source.positions:
        issues.append(
            Issue(
                "E106",
                f"task.max_target_length is {task.target_length}, but the model only has {source.positions} positions",
                recipe.document.place(("task", "max_target_length")),
                f"set task.max_target_length to {source.positions} or less",
            )
        )
    if source.positions is not None and task.max_length > source.positions:
        issues.append(
            Issue(
                "E106",
                f"task.max_length is {task.max_length}, but the model only has {source.positions} positions",
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
                    f"target '{target.name}' measures {longest} tokens, but the model only has "
                    f"{source.positions} positions",
                    recipe.document.place(("targets", i)),
                    f"write a target whose sequence is {source.positions} or less, or 'task'",
                )
            )
    wanted = None if data is None else task_of(task, data.label_names).outputs
    if misfit := _head_misfit(task, source, wanted):
        issues.append(Issue("E316", misfit[0], recipe.document.place(("model", "id")), misfit[1]))
    rows = [] if data is None else task_of(task).queries([*data.train.texts, *data.report.texts])
    if rows and (doubt := attempt(issues, lambda: source.doubts(rows))):
        issues += doubt.issues
    return issues


def _head_misfit(task: TaskSpec, source: ModelSource, wanted: int | None) -> tuple[str, str] | None:
    """How the trained head is another one than the task needs, and what to do.

    wanted: outputs, where they are known.
    """
    have, bare, kind = source.outputs, "start from the bare encoder", task_type(task.type)
    if have is None or not kind.told_by_outputs:
        return None
    if source.problem == "multi_label_classification" and not kind.several_classes:
        return (
            "the model's trained head says yes or no for each class (multi_label_classification)",
            f"use task.type multi-label-classification; or {bare}, for one class a text or a score",
        )
    if kind.several_classes and source.problem not in (None, "multi_label_classification"):
        return (
            f"the model's trained head answers otherwise than by a yes or no for each class: its config.json says "
            f"problem_type {source.problem}",
            f'{bare}; or write "problem_type": "multi_label_classification" where that is how it was trained',
        )
    if have == 1 and kind.has_classes:
        return (
            "the model's trained head has one output, a score as in cross-encoders, but classes need one output each",
            f"use task.type text-regression, whose label is the score wanted; or {bare}",
        )
    if kind.scores and have == 1 and source.problem == "single_label_classification":
        return (
            "the model's trained head has one output, and its config.json says problem_type "
            "single_label_classification, which needs two",
            'where it gives a score, write "problem_type": "regression" into config.json',
        )
    if wanted is not None and have != wanted:
        return (
            f"the model's trained head has {have} outputs, and the data needs {wanted}",
            f"{bare}, or use data with the classes that it was trained for",
        )
    return None


def step_issues(recipe: Recipe, source: ModelSource) -> list[Issue]:
    """A task or steps that this model or this machine cannot take."""
    issues = []
    task = recipe.head.task
    lacking = [name for name in task_of(task).needs if host.installed(name) is None]
    if lacking:
        place = recipe.document.place(("task", "type"))
        issues.append(
            Issue(
                "E206",
                f"task {task.type} needs {', '.join(lacking)}, which is not installed here",
                place,
                install("tasks"),
            )
        )
    for i, step in enumerate(recipe.steps):
        lacking = [name for name in step.contract.needs if host.installed(name) is None and name not in HEAVY]
        if lacking:
            wanted = install(step.contract.extra) if step.contract.extra else f"pip install {' '.join(lacking)}"
            issues.append(
                Issue(
                    "E206",
                    f"step '{step.id}' ({step.use}) needs {', '.join(lacking)}, which is not installed here",
                    step.place,
                    wanted,
                )
            )
        for path, message, help in step.transform.fit(step.params, recipe.head.task, source):
            issues.append(
                Issue("E106", f"step '{step.id}': {message}", recipe.document.place(("steps", i, *path)), help)
            )
    return issues


def itself_issues(recipe: Recipe) -> list[Issue]:
    """Gates that would hold a model against itself: without steps, and with the baseline as it is.

    Another runtime than the baseline's, or torch, is something to compare with.
    """
    if recipe.steps or recipe.head.baseline.finetune or recipe.head.export[0].format != "onnx":
        return []
    return [
        Issue(
            "E112",
            f"the gate on {gate.metric} compares the model with itself: there are no steps, and the baseline is the "
            "model as it is",
            recipe.document.place(("gates", i, gate.bound[0])),
            "bound the model by itself, with min, max_mb or max_ms; or hold it against another one with "
            "`edgeopt gate MODEL --recipe FILE --against BASELINE`",
        )
        for i, gate in enumerate(recipe.head.gates)
        if gate.compares_exports or gate.metric in task_type(recipe.head.task.type).beside_baseline
    ]


def check_runnable(recipe: Recipe, processes: int = 1) -> None:
    """Raises InputError E206 where packages are absent that running a recipe needs, and checking it does not.

    And E106 where several processes are to train with a batch that is to be found: those that have enough memory would
    wait forever for the one that has not.
    """
    for at, training in recipe.trainings() if processes > 1 else ():
        if training.batch_size == "auto":
            place = recipe.document.place((*at, "batch_size"))
            what = f"a batch that fits cannot be found by {processes} processes"
            raise bad_input("E106", what, place=place, help="give batch_size a number, or train with one process")
    wanted = {"torch", "transformers", *(name for step in recipe.steps for name in step.contract.needs)} & {*HEAVY}
    if lacking := sorted(name for name in wanted if host.installed(name) is None):
        what = f"running a recipe needs {', '.join(lacking)}, which is not installed here"
        raise bad_input("E206", what, place=recipe.document.place(("steps",)), help=install())


def check_importable() -> None:
    """Raises InputError E206 where a package that every run needs is installed and does not work.

    That is torch without a library of the system, or of another build than the rest. It is asked before anything is
    computed.
    """
    for name in ("torch", "transformers"):
        try:
            importlib.import_module(name)
        except Exception as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise bad_input(
                "E206", f"{name} is installed but cannot be imported: {reason}", help=f"install it again: {install()}"
            ) from None


def attempt(issues: list[Issue], find: Callable[[], T]) -> T | None:
    """What `find` finds; where it cannot, its issues are kept, so that the rest is checked in the same go."""
    try:
        return find()
    except InputError as error:
        issues += error.issues
        return None


def emissions_issues(recipe: Recipe) -> list[Issue]:
    """What keeps a recipe that asks for emissions from having them.

    Either the package is absent, or it has no electricity of the country. Reads CodeCarbon's table without importing
    it.
    """
    spec = recipe.head.emissions
    if spec is None:
        return []
    place = recipe.document.place(("emissions",))
    found = importlib.util.find_spec(PACKAGE)
    if host.installed(PACKAGE) is None or found is None or not found.submodule_search_locations:
        return [Issue("E206", f"emissions needs {PACKAGE}, which is not installed here", place, install("emissions"))]
    country = country_of(spec)
    if not country:
        return [
            Issue(
                "E106",
                "emissions needs the country whose electricity is used",
                place,
                f"give emissions.country, such as SVN, or set {COUNTRY}",
            )
        ]
    table = Path(found.submodule_search_locations[0]) / "data" / "private_infra" / "global_energy_mix.json"
    known = json.loads(table.read_text(encoding="utf-8"))
    if country in known:
        return []
    place = recipe.document.place(("emissions", "country")) if spec.country else place
    message = f"CodeCarbon knows no electricity of the country '{country}'{'' if spec.country else f' ({COUNTRY})'}"
    return [Issue("E106", message, place, "three capital letters of ISO 3166, such as SVN for Slovenia")]
