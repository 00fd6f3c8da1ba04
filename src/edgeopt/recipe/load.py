"""From a file to a checked recipe, with every error of the file in one go."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgeopt.data.files import SUFFIXES, stem_and_suffix
from edgeopt.export.exporter import EXPORTERS, exporter_names
from edgeopt.recipe import mends
from edgeopt.recipe.given import Given, as_document
from edgeopt.recipe.library import recipe_files, shipped_target, target_files
from edgeopt.recipe.override import apply_overrides
from edgeopt.recipe.problems import as_name, from_pydantic
from edgeopt.recipe.short import spell_out
from edgeopt.recipe.trainings import training_issues
from edgeopt.recipe.yaml import Document, parse
from edgeopt.spec.recipe import (
    AUTO,
    GROUPINGS,
    NAME,
    EmissionsSpec,
    GateSpec,
    RecipeHead,
    StepParams,
    Target,
    TaskSpec,
    Training,
    Unlabelled,
)
from edgeopt.spec.steps import IMPLIED, default_id
from edgeopt.spec.tasks import MEASURED
from edgeopt.step import registry
from edgeopt.step.contract import Contract
from edgeopt.step.transform import AnyTransform
from edgeopt.support.errors import InputError, Issue, Path_, Place, bad_input
from edgeopt.support.words import closest, meant
from edgeopt.tasks import called, task_type, task_types

_RESERVED = {"baseline", *IMPLIED}
_LARGEST = 1_000_000


@dataclass(frozen=True)
class StepSpec:
    """One entry of `steps`, checked against its transform."""

    id: str
    use: str
    transform: AnyTransform
    params: StepParams
    place: Place | None

    @property
    def contract(self) -> Contract:
        return self.transform.contract_of(self.params)


@dataclass(frozen=True)
class Recipe:
    """A checked recipe. Its relative paths are relative to `folder`."""

    path: Path
    head: RecipeHead
    steps: tuple[StepSpec, ...]
    targets: tuple[Target, ...]
    document: Document
    overrides: tuple[str, ...]
    #: Which of the recipes that the file stands for: `seed-2`; empty where it stands for one.
    variant: str = ""

    @property
    def folder(self) -> Path:
        return self.path.parent

    def trainings(self) -> Iterator[tuple[Path_, Training]]:
        """The parameters of every training, with the path of their keys."""
        return _trainings(self.head, self.steps)

    def unlabelled(self) -> list[tuple[Path_, Unlabelled]]:
        """The rows without labels that trainings ask for, with the path of their keys."""
        return [
            ((*at, *t.taught_at, "unlabelled"), distillation.unlabelled)
            for at, t in self.trainings()
            if (distillation := t.distillation) is not None and distillation.unlabelled is not None
        ]

    def formats(self) -> list[tuple[Path_, str]]:
        """Every exporter that is named, with the path of its name."""
        return list(format_places(self.head))

    @property
    def reads_train(self) -> bool:
        """Whether a step, the baseline or a choice reads train; where none does, the data need not have it."""
        task, auto = self.head.task, any(spec.format == AUTO for spec in self.head.export)
        auto = auto or any(spec.embeddings for spec in self.head.export)  # whose ranges are those of train rows
        asked = auto or self.head.baseline.finetune is not None
        asked |= any(each.train_with or each.leaks != "report" for each in task.each.values())
        return asked or any(step.contract.data is not None for step in self.steps)

    @property
    def rows_key(self) -> str:
        """A text that is equal for recipes of one file exactly where they have the same rows."""
        known = None if self.reads_train else self.head.model  # which names the classes
        return repr((self.head.task, sorted(source.key for _, source in self.unlabelled()), known))

    def resolved(self) -> dict[str, Any]:
        """Everything the recipe says, defaults filled in, as plain data: what the lock holds.

        Not whether emissions are measured and what the report lists, which decides nothing.
        """
        unsaid = "tasks" if self.head.tasks is None else "task"
        head = self.head.model_dump(
            mode="json", exclude={"steps", "targets", "matrix", "emissions", "diagnostics", unsaid}
        )
        steps = [{"id": s.id, "use": s.use, **s.params.model_dump(mode="json")} for s in self.steps]
        return {**head, "steps": steps, "targets": [t.model_dump(mode="json") for t in self.targets]}

    def metered(self) -> Recipe:
        """This recipe with energy measured."""
        return replace(self, head=self.head.model_copy(update={"emissions": self.head.emissions or EmissionsSpec()}))

    @property
    def digest(self) -> str:
        """SHA-256 of `resolved()`: comments, order of keys and white space do not count."""
        return hashlib.sha256(json.dumps(self.resolved(), sort_keys=True).encode()).hexdigest()


def load_recipe(source: Path | Given, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a file or a mapping: read, overridden and checked.

    Raises InputError with all that is wrong, E101-E112, and E120 where the file stands for several.
    """
    document = read_document(source, overrides)
    if document.data.get("matrix") is not None:
        raise bad_input(
            "E120",
            "one recipe is needed here, but this file has a matrix",
            place=document.place(("matrix",)),
            help="`--set matrix=null` removes the matrix",
        )
    return checked(document, path_of(source), overrides)


def path_of(source: Path | Given) -> Path:
    """The file of a recipe, or what stands for it where the recipe is given as a mapping."""
    return source if isinstance(source, Path) else source.path


def read_document(source: Path | Given, overrides: Sequence[str] = ()) -> Document:
    """The recipe with what --set says written over it; what is wrong with that is in its issues.

    Raises InputError where it is no recipe at all.
    """
    document = parse(_read(source), source) if isinstance(source, Path) else as_document(source.data)
    if not isinstance(document.data, dict) and not document.issues:
        document.issues.append(
            Issue(
                "E106",
                "a recipe is a mapping of keys to values",
                document.place(()),
                "start from `edgeopt recipes copy quickstart`",
            )
        )
    if not isinstance(document.data, dict) or any(i.code == "E102" for i in document.issues):
        raise InputError(document.issues)  # what could not be read would be reported again as missing
    spell_out(document)
    apply_overrides(document, overrides)
    return document


def checked(document: Document, path: Path, overrides: Sequence[str]) -> Recipe:
    """The recipe that a document is. Raises InputError with all that is wrong."""
    spell_out(document)
    head, wrong = head_of(document)
    steps = _steps(document)
    targets = () if "targets" in wrong else _targets(document, head)
    _cross_checks(document, head, wrong, steps, targets)
    if document.issues:
        other_version = [i for i in document.issues if i.code == "E108"]
        raise InputError(sorted(other_version or document.issues, key=lambda i: (i.place.line or 0) if i.place else 0))
    caps = [
        GateSpec(metric="memory.peak", max_mb=t.memory_mb, target=t.name) for t in targets if t.memory_mb is not None
    ]
    head = head.model_copy(update={"gates": [*head.gates, *caps]})
    if head.seeds:
        head = head.model_copy(update={"seed": head.seeds[0]})  # what reads `seed` alone is told the first
    return Recipe(path.resolve(), head, tuple(s for s in steps if s), targets, document, tuple(overrides))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except FileNotFoundError:
        name = path.with_suffix("").as_posix()
        hint = "`edgeopt recipes ls` shows those that come with edgeopt"
        if shipped := next((known for known in recipe_files() if f"/{name}".endswith(f"/{known}")), None):
            hint = f"`edgeopt recipes copy {shipped} my.yaml`, then apply that"
        raise bad_input("E101", f"recipe {path} does not exist", help=hint) from None
    except OSError as error:
        raise bad_input("E101", f"recipe {path} cannot be read: {error.strerror}") from None
    if stem_and_suffix(path)[1] in {*SUFFIXES} - {".json"}:  # JSON is YAML, too
        raise bad_input(
            "E101",
            f"{path} is data, not a recipe",
            place=Place.of(path),
            help=f"write a recipe for it: `edgeopt init {path}`",
        )
    if len(raw) > _LARGEST:
        raise bad_input(
            "E101",
            f"{path} is larger than 1 MB, too large for a recipe",
            place=Place.of(path),
            help="give the YAML file, not the data",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise bad_input(
            "E101", "the recipe is not UTF-8", place=Place.of(path, line), help="save it as UTF-8"
        ) from None


def head_of(document: Document) -> tuple[RecipeHead, set[str]]:
    """The recipe but for its steps, and which of its keys are wrong: those hold a stand-in or their default."""
    data = dict(document.data)
    steps = data.get("steps", [])
    if not isinstance(steps, list):
        help = mends.entries(steps, "use") if isinstance(steps, dict) else "write each step as `- use: …`"
        message = "'steps' must be a list, because steps run in order"
        document.issues.append(Issue("E106", message, document.place(("steps",)), help))
    data["steps"] = []
    try:
        return RecipeHead.model_validate(data), set()
    except ValidationError as error:
        document.issues += from_pydantic(error, RecipeHead, document)
        wrong = {str(detail["loc"][0]) for detail in error.errors()}
        right = {k: v for k, v in data.items() if k not in wrong}
        stand_in = {k: v for k, v in _stand_in().items() if not (k == "task" and right.get("tasks"))}
        return RecipeHead.model_validate({**stand_in, **right}), wrong | ({"task"} if "tasks" in wrong else set())


def _stand_in() -> dict[str, Any]:
    """Required parts in the place of wrong ones, so that the others can be checked in the same go."""
    task = {"type": next(iter(task_types())), "dataset": {"path": "x"}, "text": "x"}
    return {"edgeopt": 1, "name": "x", "model": {"id": "x"}, "task": task}


def _steps(document: Document) -> list[StepSpec | None]:
    """Checked steps; None stands for one whose parameters are wrong, so that places stay right."""
    raw = document.data.get("steps")
    if not isinstance(raw, list):
        return []
    seen: dict[str, int] = {}
    out: list[StepSpec | None] = []
    for i, entry in enumerate(raw):
        out.append(_step(document, i, entry, seen))
    return out


def _step(document: Document, i: int, entry: object, seen: dict[str, int]) -> StepSpec | None:
    at = ("steps", i)
    place = document.values.get(at)
    if not isinstance(entry, dict):
        help = mends.step(entry, registry.names(), _closest_transform) or "write `- use: …`, and keys below it"
        document.issues.append(Issue("E106", f"step {i + 1} must be a mapping with `use`", place, help))
        return None
    use = entry.get("use")
    if not isinstance(use, str):
        guess = closest("use", entry) if "use" not in entry else None
        help = (
            f"did you mean 'use' where it says '{guess}'?"
            if guess
            else (
                mends.step(entry, registry.names(), _closest_transform)
                or f"add `use:` with one of {', '.join(registry.names())}"
            )
        )
        document.issues.append(Issue("E105", f"step {i + 1} does not say which transform it uses", place, help))
        return None
    if use not in registry.names():
        help = meant(use, registry.names(), "transforms")
        document.issues.append(Issue("E107", f"there is no transform '{use}'", document.place((*at, "use")), help))
        return None
    if (fault := registry.TRANSFORMS.fault(use)) is not None:
        document.issues.append(fault.at(document.place((*at, "use"))))
        return None
    step_id = _step_id(document, i, entry, use, seen)
    transform = registry.get(use)
    given = {k: v for k, v in entry.items() if k not in ("id", "use")}
    try:
        params = transform.Params.model_validate(given)
    except ValidationError as error:
        document.issues += from_pydantic(error, transform.Params, document, at)
        return None
    return StepSpec(step_id, use, transform, params, place) if step_id else None


def _closest_transform(word: str) -> str | None:
    return closest(word, registry.names())


def _step_id(document: Document, i: int, entry: dict[str, Any], use: str, seen: dict[str, int]) -> str | None:
    import re

    at = ("steps", i, "id")
    step_id = entry.get("id", default_id(use))
    if not isinstance(step_id, str) or not re.fullmatch(NAME, step_id):
        help = f"write '{guess}'" if (guess := as_name(str(step_id))) else None
        document.issues.append(
            Issue(
                "E106",
                f"step id {step_id!r}: must be letters, digits, '.', '_' and '-', and start with a letter or digit",
                document.place(at),
                help,
            )
        )
        return None
    if step_id in _RESERVED:
        document.issues.append(
            Issue("E110", f"the step id '{step_id}' is reserved", document.place(at), "choose another id")
        )
        return None
    if step_id in seen:
        first = document.place(("steps", seen[step_id]))
        where = f"on line {first.line}" if first.line else f"at {first}"
        document.issues.append(
            Issue(
                "E110",
                f"two steps have the id '{step_id}' (first {where})",
                document.place(at),
                "give each step an id of its own",
            )
        )
        return None
    seen[step_id] = i
    return step_id


def _targets(document: Document, head: RecipeHead) -> tuple[Target, ...]:
    known = target_files()
    out: list[Target] = []
    for i, entry in enumerate(head.targets):
        if isinstance(entry, Target):
            out.append(entry)
        elif entry in known:
            out.append(shipped_target(known[entry]))
        else:
            help = meant(entry, known, "targets")
            document.issues.append(Issue("E111", f"there is no target '{entry}'", document.place(("targets", i)), help))
    names = [t.name for t in out]
    for name in sorted({n for n in names if names.count(n) > 1}):
        document.issues.append(Issue("E110", f"two targets are named '{name}'", document.place(("targets",))))
    return tuple(out)


def _trainings(head: RecipeHead, steps: Sequence[StepSpec | None]) -> Iterator[tuple[Path_, Training]]:
    if head.baseline.finetune is not None:
        yield ("baseline", "finetune"), head.baseline.finetune
    for i, step in enumerate(steps):
        for field, params in step.transform.trainings(step.params) if step else ():
            yield (("steps", i, field) if field else ("steps", i)), params


def sliceable(task: TaskSpec) -> tuple[str, ...]:
    """What `slice` of a gate may be."""
    if not task.sliceable:
        return ()
    return ("worst", *(g for g in GROUPINGS if g != "label" or task_type(task.type).has_classes), *(task.slices or ()))


def _check_exports(document: Document, head: RecipeHead) -> None:
    known = exporter_names()
    seen: set[tuple[bool, str]] = set()
    for at, name in format_places(head, auto=True):
        if ("formats" in at, name) in seen:
            document.issues.append(
                Issue("E110", f"two exports have the format '{name}'", document.place(at), "keep one of the two")
            )
        elif name not in known and name != AUTO:
            help = meant(name, [*known, AUTO] if known else (), "exporters", none="none is installed")
            document.issues.append(Issue("E112", f"there is no exporter '{name}'", document.place(at), help))
        elif name != AUTO and (fault := EXPORTERS.fault(name)) is not None:
            document.issues.append(fault.at(document.place(at)))
        seen.add(("formats" in at, name))
    for i, export in enumerate(head.export):
        auto = export.format == AUTO
        if auto and i > 0:
            document.issues.append(
                Issue(
                    "E106",
                    "'auto' must be the first export",
                    document.place(("export", i)),
                    "move it to the top: the first export is the candidate",
                )
            )
        if export.embeddings and (i or not task_type(head.task.type).embeds):
            kind = f"a model of {called(head.task.type)} has no embeddings to store"
            what = "only the first export takes 'embeddings'" if i else kind
            document.issues.append(Issue("E106", what, document.place(("export", i, "embeddings")), "remove the key"))
        for key, given in (
            ("options", auto and bool(export.options)),
            ("formats", not auto and export.formats is not None),
        ):
            if given:
                help = "name the format itself to give it options" if auto else "`formats` belongs to `format: auto`"
                document.issues.append(
                    Issue(
                        "E106", f"export '{export.format}' takes no '{key}'", document.place(("export", i, key)), help
                    )
                )


def format_places(head: RecipeHead, *, auto: bool = False) -> Iterator[tuple[Path_, str]]:
    """Every name of an exporter with its place; with `auto` also that word."""
    for i, export in enumerate(head.export):
        if auto or export.format != AUTO:
            yield ("export", i, "format"), export.format
        for n, name in enumerate(export.formats or ()):
            yield ("export", i, "formats", n), name


def _gated_task(document: Document, gate: GateSpec, at: Path_, head: RecipeHead) -> list[Issue]:
    """What is wrong with the task of a gate on a task's metric, or with that metric."""
    names = [*(head.tasks or ())]
    if gate.task is None and names:
        message = f"the gate on {gate.metric} does not say of which task"
        help = f"add `task:` with one of {', '.join(names)}"
        return [Issue("E112", message, document.place(at), help)]
    if gate.task is not None and gate.task not in names:
        help = meant(gate.task, names, "tasks") if names else "remove the key: it belongs to a recipe with `tasks`"
        return [Issue("E112", f"there is no task '{gate.task}'", document.place((*at, "task")), help)]
    task, where = (head.tasks[gate.task], f"tasks.{gate.task}") if head.tasks and gate.task else (head.task, "task")
    if gate.metric in task.metric_names:
        return []
    return [
        Issue(
            "E112",
            f"the task does not measure '{gate.metric}'",
            document.place((*at, "metric")),
            f"add it to {where}.metrics, which has {', '.join(task.metric_names)}",
        )
    ]


def _cross_checks(
    document: Document, head: RecipeHead, wrong: set[str], steps: Sequence[StepSpec | None], targets: Sequence[Target]
) -> None:
    """Add what parts that are right each by itself have wrong together; a part that is wrong is left out."""
    if head.seeds and "seed" in head.model_fields_set:
        flag = document.place(("seed",)).line is None  # --set seed=… beside a recipe's seeds
        place = document.place(("seed",) if flag else ("seeds",))
        document.issues.append(
            Issue(
                "E106",
                "both 'seed' and 'seeds' are given",
                place,
                "keep one of the two; `--set seeds=null` removes the seeds",
            )
        )
    _check_exports(document, head)
    by_name = {t.name: t for t in targets}
    for i, gate in enumerate(head.gates):
        at = ("gates", i)
        if "task" not in wrong and gate.metric not in MEASURED:
            document.issues += _gated_task(document, gate, at, head)
        known = sliceable(head.task)
        if "task" not in wrong and gate.slice is not None and gate.slice not in known:
            document.issues.append(
                Issue(
                    "E112",
                    f"there are no slices '{gate.slice}' of this task",
                    document.place((*at, "slice")),
                    f"slices: {', '.join(known)}; columns are named in task.slices" if known else "it has none",
                )
            )
        if (
            "targets" not in wrong
            and len(targets) == len(head.targets)
            and gate.target is not None
            and gate.target not in by_name
        ):
            document.issues.append(
                Issue(
                    "E111",
                    f"the gate's target '{gate.target}' is not among the recipe's `targets`",
                    document.place((*at, "target")),
                    f"{meant(gate.target, by_name, 'targets')}; add it to `targets`, or name one of them",
                )
            )
        target = by_name.get(gate.target) if gate.target else (targets[0] if targets else None)
        if gate.sequence is not None and target and gate.sequence not in target.sequence:
            document.issues.append(
                Issue(
                    "E111",
                    f"target '{target.name}' is not measured at sequence {gate.sequence}",
                    document.place((*at, "sequence")),
                    f"its sequences: {', '.join(map(str, target.sequence))}",
                )
            )
        if gate.of_device and target and target.device is None:
            instead = "max_ratio: 0.5" if gate.max_ms else "min_speedup: 1.5"
            document.issues.append(
                Issue(
                    "E111",
                    f"'{gate.bound[0]}' needs a target that names its device, and '{target.name}' names none",
                    document.place((*at, gate.bound[0])),
                    f"give `{instead}` instead, which holds on any machine; or write out a target with `device:`, "
                    "part of the processor's name",
                )
            )
    if "task" not in wrong:
        document.issues += training_issues(document, _trainings(head, steps), head.task, head.task.class_names)
    for i, step in enumerate(steps):
        if step is None or "task" in wrong:
            continue
        for path, message, help in step.transform.check(step.params, head.task):
            document.issues.append(
                Issue("E106", f"step '{step.id}': {message}", document.place(("steps", i, *path)), help)
            )
