"""What a Python program calls, and all that the command line is built on.

    EdgeoptError
    ├── InputError      recipe, value, data file, model or run folder that the caller can mend
    └── StepError       a step ran and failed, or did not do what it declared

Nothing here ends the process or prints to stdout. An error has one or more `issues`: code, message, place and help. The
place in a recipe that is given as a mapping is `<dict>:steps.0.use`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from edgeopt.results.model import verdict_of
from edgeopt.run.arguments import checked
from edgeopt.run.opened import Run
from edgeopt.support.alone import alone
from edgeopt.support.errors import EdgeoptError, InputError, StepError, bad_input
from edgeopt.support.paths import is_there
from edgeopt.support.progress import Progress, Told, Update, telling

if TYPE_CHECKING:
    from edgeopt.plan import Plan, PlannedStep
    from edgeopt.plan.matrix import SharedStep
    from edgeopt.recipe.expand import Grid
    from edgeopt.recipe.given import Given
    from edgeopt.recipe.load import Recipe
    from edgeopt.report.compare.diff import Diff
    from edgeopt.report.compare.runs import Comparison
    from edgeopt.results.model import Gate, Verdict
    from edgeopt.run.matrix import CellResult
    from edgeopt.store.store import Store

    #: A file, a mapping that holds what a file would, or what `load` gave.
    Source: TypeAlias = "Where | Mapping[str, object] | Recipe | Grid"

__all__ = [
    "Cells",
    "EdgeoptError",
    "Gated",
    "InputError",
    "Planned",
    "Run",
    "StepError",
    "apply",
    "apply_cells",
    "compare",
    "diff",
    "gate",
    "load",
    "plan",
    "validate",
]

Where = str | os.PathLike[str]
#: What `--set` takes: values by key path, or a text `key.path=value` or several.
Values = Mapping[str, object] | str | Sequence[str]
#: Whether a bar and lines on stderr show how far it is; or a function that is told.
Shown = bool | Callable[[Update], object]


@dataclass(frozen=True)
class Planned:
    """What `apply` would do.

    recipe: checked, its defaults filled in. cells: of each cell of a matrix a plan for each of its seeds; a recipe
    without a matrix is the one cell, named ''.
    """

    recipe: Recipe | Grid
    cells: Mapping[str, Sequence[Plan]]

    @property
    def plans(self) -> Sequence[Plan]:
        """The plans of the first cell, or of the recipe that has no matrix: one a seed."""
        return next(iter(self.cells.values()))

    @property
    def steps(self) -> Sequence[PlannedStep]:
        """Every step in the order of the building, with `chain`, `id`, `use`, `status`, `why` and `key`.

        They are of the first seed, and of a matrix each that any cell has, once. status: cached, new or stale.
        """
        return [shared.step for shared in self.shared] if self.shared else self.plans[0].steps

    @cached_property
    def shared(self) -> Sequence[SharedStep]:
        """Each step of a matrix that is built once, with the cells that have it; nothing of a recipe without one."""
        from edgeopt.plan.matrix import shared_steps
        from edgeopt.recipe.expand import Grid

        return shared_steps(self.recipe, list(self.cells.values())) if isinstance(self.recipe, Grid) else []


@dataclass(frozen=True)
class Gated:
    """Gates that `gate` decided, each with its verdict and reason.

    name: of the recipe. warnings: what stands beside the verdict. model: the file that was gated, and what it was
    compared with.
    """

    name: str
    gates: Sequence[Gate]
    warnings: Sequence[str]
    notes: Sequence[str]
    model: str

    @property
    def verdict(self) -> Verdict:
        """`fail` where a gate failed, else `inconclusive` where one is open, else `pass`."""
        return verdict_of(list(self.gates))


@dataclass(frozen=True)
class Cells:
    """What came out of a matrix.

    folder: where the cells' runs and their comparison are. results: of each cell its run, or the error.
    """

    folder: Path
    results: Sequence[CellResult]

    @property
    def runs(self) -> dict[str, Run]:
        """The runs of the cells that are finished, by name."""
        return {r.cell.name: r.run for r in self.results if r.run is not None}

    @property
    def errors(self) -> dict[str, EdgeoptError]:
        """By name, why a cell has no run."""
        return {r.cell.name: r.error for r in self.results if r.error is not None}

    @property
    def comparison(self) -> Comparison:
        """The finished cells side by side."""
        from edgeopt.run.matrix import comparison_of

        return comparison_of(self.results)


@checked
def load(
    recipe: Where | Mapping[str, object], *, set: Values = (), cell: str | None = None, folder: Where | None = None
) -> Recipe | Grid:
    """Read a recipe and check its words; neither data nor model are looked at.

    >>> recipe = load("recipe.yaml", set={"steps.prune.amount": 0.5})
    >>> recipe.head.name, [step.id for step in recipe.steps], recipe.steps[-1].params.amount
    ('tiny', ['tune', 'prune'], 0.5)

    recipe: a file, or a mapping that holds what a file would. set: values by key path, a step by its id; or texts
    `key.path=value`. cell: of a matrix this one, as the recipe that it is; without it the result is a `Grid`, whose
    `cells` have each its `name` and its `recipe`. folder: what relative paths in a mapping are relative to, by default
    the working directory.

    >>> grid = load("recipe.yaml", set={"matrix": {"axes": {"steps.prune.amount": [0.3, 0.6]}}})
    >>> [(cell.name, cell.recipe.steps[-1].params.amount) for cell in grid.cells]
    [('amount-0.3', 0.3), ('amount-0.6', 0.6)]

    Raises InputError with everything that is wrong, each at its place:

    >>> try:
    ...     load({"edgeopt": 1, "name": "x", "model": "m", "task": {}, "steps": [{"use": "prun.magnitude"}]})
    ... except InputError as error:
    ...     print(error.issues[-1].place, error.issues[-1].help)
    <dict>:steps.0.use did you mean 'prune.magnitude'?
    """
    return _loaded(recipe, set, cell, folder)


@checked
def validate(recipe: Source, *, set: Values = (), cell: str | None = None, folder: Where | None = None) -> Planned:
    """Check a recipe, the order of its steps, and the data files and model folder that it names.

    Computes and downloads nothing.

    >>> found = validate("recipe.yaml")
    >>> found.plans[0].data.summary()
    '64 train and 32 validation rows'

    What it takes is as for `load`, which it also takes the result of. What is found of rows and model is in `plans`; no
    store is looked into. Raises InputError with everything that is wrong at once.
    """
    from edgeopt.plan import check
    from edgeopt.plan.matrix import check_cells
    from edgeopt.recipe.expand import Grid

    loaded = _loaded(recipe, set, cell, folder)
    if isinstance(loaded, Grid):
        return Planned(loaded, {c.name: (found,) for c, found in zip(loaded.cells, check_cells(loaded), strict=True)})
    return Planned(loaded, {"": (check(loaded),)})


@checked
def plan(
    recipe: Source,
    *,
    set: Values = (),
    cell: str | None = None,
    folder: Where | None = None,
    store: Where | None = None,
) -> Planned:
    """The steps of a recipe in order, with those that edgeopt adds, and for each whether it is built already.

    Computes nothing.

    >>> [(step.chain, step.id, step.status) for step in plan("recipe.yaml", store="store").steps][-2:]
    [('candidate', 'prune', 'cached'), ('candidate', 'onnx', 'cached')]
    >>> plan("recipe.yaml", set={"steps.prune.amount": 0.5}, store="store").steps[-2].why
    'amount 0.3 → 0.5'

    What it takes is as for `validate`. store: where finished steps are kept, by default ~/.cache/edgeopt, or
    EDGEOPT_STORE. Raises InputError as `validate` does.
    """
    from edgeopt.plan import make_plans
    from edgeopt.plan.matrix import plan_cells
    from edgeopt.recipe.expand import Grid

    loaded, kept = _loaded(recipe, set, cell, folder), _store(store)
    if isinstance(loaded, Grid):
        return Planned(loaded, {c.name: found for c, found in zip(loaded.cells, plan_cells(loaded, kept), strict=True)})
    return Planned(loaded, {"": make_plans(loaded, kept)})


@checked
def apply(
    recipe: Source,
    *,
    out: Where | None = None,
    set: Values = (),
    cell: str | None = None,
    folder: Where | None = None,
    store: Where | None = None,
    locked: bool | Where = False,
    remeasure: bool = False,
    emissions: bool = False,
    track: str | None = None,
    progress: Shown = True,
) -> Run:
    """Run a recipe: build what is not built yet, export, measure against the FP32 baseline, decide the gates.

    >>> run = apply("recipe.yaml", out="runs/tiny", store="store", progress=False)
    >>> run.verdict, run.kept
    ('pass', True)

    Call it again to resume: finished steps are taken from the store, and a run that is finished and unchanged is given
    back as it is, with `kept` true.

    recipe, set, cell, folder: as for `load`. out: the folder of the run, by default runs/NAME in the working directory.
    store: where finished steps are kept. locked: refuse to differ from the lock of an earlier run, OUT/recipe.lock or
    the one given. remeasure: measure again what is finished. emissions: also measure energy. track: the tracker that is
    told of the finished run, `mlflow` or `wandb`. progress: True shows a bar in a notebook and on a terminal, and lines
    on stderr elsewhere; a function is called with an `Update(text, done, total, note)`.

    A gate that fails is no error: it is `run.verdict`. Raises InputError before anything is computed, E120 for a recipe
    with a matrix (`apply_cells` takes those), and StepError where a step fails. Under torchrun every process calls it
    and gets the run. Of several threads one builds at a time, and the others wait.
    """
    from edgeopt.recipe.expand import Grid
    from edgeopt.results.sealed import LOCK
    from edgeopt.run.apply import run
    from edgeopt.run.lock import read_lock
    from edgeopt.run.processes import Group
    from edgeopt.track.tracking import tracking

    with _working(progress) as shown:
        loaded = _loaded(recipe, set, cell, folder)
        if isinstance(loaded, Grid):
            raise bad_input(
                "E120",
                "one recipe is needed here, but this one has a matrix",
                help="name one cell, or use apply_cells",
            )
        loaded = loaded.metered() if emissions else loaded
        folder_of_run = Path(out or Path("runs") / loaded.head.name).resolve()
        lock = _lock(locked, folder_of_run / LOCK)
        if lock is not None:
            read_lock(lock)
        group = Group()
        if not group.is_main:
            group.serve()
            return Run(folder_of_run)
        with alone(shown.say):
            tracked = tracking(track, shown.say)
            done = run(loaded, _store(store), folder_of_run, shown, group, locked=lock, remeasure=remeasure)
            tracked.run(done)
        group.stop()  # after an error the launcher ends the other processes, which may be in the middle of a step
        return done


@checked
def apply_cells(
    recipe: Source,
    *,
    out: Where | None = None,
    set: Values = (),
    folder: Where | None = None,
    store: Where | None = None,
    locked: bool | Where = False,
    remeasure: bool = False,
    emissions: bool = False,
    track: str | None = None,
    progress: Shown = True,
) -> Cells:
    """Run every cell of a recipe with a matrix, each into OUT/cells/NAME, and put them side by side in OUT.

    >>> axes = {"axes": {"steps.prune.amount": [0.3, 0.6]}}
    >>> cells = apply_cells("recipe.yaml", set={"matrix": axes}, out="runs/cells", store="store", progress=False)
    >>> [(name, run.verdict) for name, run in cells.runs.items()], cells.errors
    ([('amount-0.3', 'pass'), ('amount-0.6', 'pass')], {})

    A cell that is finished and unchanged is left alone, and one that fails does not stop the others: its error is in
    `errors`. locked: the folder of an earlier run of the matrix, from whose locks the cells' may not differ; True: OUT.
    All else is as for `apply`. Raises InputError where nothing could be tried: E120 on several processes, and for a
    recipe without a matrix.
    """
    from edgeopt.recipe.expand import Grid
    from edgeopt.run.matrix import run_cells
    from edgeopt.run.processes import Group
    from edgeopt.track.tracking import tracking

    with _working(progress) as shown:
        loaded = _loaded(recipe, set, None, folder)
        if not isinstance(loaded, Grid):
            raise bad_input("E120", "the recipe has no matrix", help="use apply")
        loaded = loaded.metered() if emissions else loaded
        if Group.launched() > 1:
            help = (
                "apply each cell with --cell NAME first, then the matrix with one process, which finds the "
                "cells finished in OUT/cells"
            )
            raise bad_input("E120", "a recipe with a matrix runs in one process", help=help)
        to = Path(out or Path("runs") / loaded.name).resolve()
        with alone(shown.say):
            kept, tracked, locks = _store(store), tracking(track, shown.say), _lock(locked, to)
            return Cells(to, run_cells(loaded, kept, to, shown, tracked, locks=locks, remeasure=remeasure))


@checked
def gate(
    path: Run | Where,
    *,
    recipe: Source | None = None,
    set: Values = (),
    folder: Where | None = None,
    against: Run | Where | None = None,
    max_seconds: float = 10.0,
    progress: Shown = True,
) -> Gated:
    """Decide gates on a run, on what it measured; or on a finished model, which is measured here.

    Neither needs torch.

    >>> found = gate("runs/tiny", progress=False)
    >>> found.verdict, [(gate.metric, gate.verdict) for gate in found.gates]
    ('pass', [('size', 'pass')])

    path: a run, or a finished model: a folder with tokenizer.json and an ONNX graph, or the graph. recipe: whose gates
    are decided and on whose rows, as for `load`; by default those that the run was made with. set: values in that
    recipe. against: what a model is compared with, another model or a file of `edgeopt baseline`. max_seconds: the
    limit of each latency of a model.

    A gate that fails is no error: it is the verdict. Raises InputError where gates cannot be decided on what is given.
    """
    from edgeopt.gates.artifact import find_artifact, is_run
    from edgeopt.gates.request import request_by, request_of
    from edgeopt.results.sealed import open_run

    with _working(progress) as shown:
        asked = None if recipe is None else request_of(_one(recipe, set, folder))
        loose = _overrides(set) if asked is None else ()  # which request_by refuses
        where = _path(path)
        if is_run(where) and against is None:
            from edgeopt.gates.of_run import regate

            with shown.during("the run's files are checked", after=1):
                run = open_run(where)
            own = request_by(None, (), run)
            asked = asked or (request_by(None, loose, run) if loose else own)
            found = regate(run, asked, own)
        else:
            from edgeopt.gates.of_model import find_against, gate_artifact

            artifact = find_artifact(where)
            asked = asked or request_by(None, loose, artifact.run)
            other = find_against(None if against is None else _path(against))
            with alone(shown.say, builds=False):
                found = gate_artifact(asked, artifact, other, shown, max_seconds)
        idle = (
            [] if found.gates else ["There are no gates, so nothing is required of the model and a pass means nothing."]
        )
        return Gated(asked.name, found.gates, [*idle, *found.warnings], found.notes, found.model)


@checked
def compare(*runs: Run | Where, baseline: bool = True, progress: Shown = True) -> Comparison:
    """Put finished runs side by side: metrics, size, speed, and what training cost. Computes nothing.

    >>> found = compare("runs/tiny", "runs/other", progress=False)
    >>> [(row.name, row.role) for row in found.rows]
    [('full fine-tune, FP32', 'baseline'), ('tiny', 'candidate'), ('other', 'candidate')]

    baseline: rows for the runs' FP32 baselines, one that they share once. Which figures cannot be compared is in
    `warnings`. Raises InputError for what is no run.
    """
    from edgeopt.report.compare.runs import compare as compared
    from edgeopt.results.sealed import open_run

    if not runs:
        raise bad_input("E100", "compare needs runs, but none were given", help='compare("runs/one", "runs/other")')
    distinct = list({path.resolve(): path for path in map(_path, runs)}.values())
    with _working(progress) as shown, shown.during(f"the files of {len(distinct)} runs are checked", after=1.0):
        return compared([open_run(path)[:2] for path in distinct], baseline=baseline)


@checked
def diff(first: Run | Where, second: Run | Where, *, progress: Shown = True) -> Diff:
    """What changed from one finished run to another, and what that did. Nothing is measured anew.

    >>> found = diff("runs/tiny", "runs/other", progress=False)
    >>> [str(change) for change in found.recipe]
    ['name: "tiny" → "other"', 'steps.prune.amount: 0.3 → 0.6']

    In `recipe`, `inputs`, `environment` and `steps` is what changed; in `figures`, with paired bounds, and in `gates`
    what came of it. Raises InputError for what is no run.
    """
    from edgeopt.report.compare.diff import diff as differences

    with _working(progress) as shown, shown.during("the files of both runs are checked", after=1.0):
        return differences(_path(first), _path(second))


@contextmanager
def _working(progress: Shown) -> Iterator[Progress]:
    from edgeopt.support.quiet import hushed, quiet_libraries

    quiet_libraries()
    shown = Told(progress) if callable(progress) else Progress(show=progress)
    with telling(show=shown.show), hushed():
        yield shown


def _loaded(recipe: Source, set: Values, cell: str | None, folder: Where | None) -> Recipe | Grid:
    from edgeopt.recipe.expand import Grid
    from edgeopt.recipe.expand import load as expanded
    from edgeopt.recipe.load import Recipe

    if not isinstance(recipe, Recipe | Grid):
        return expanded(_read_from(recipe, folder), _overrides(set), cell)
    if set or cell is not None or folder is not None:
        raise bad_input("E100", "the recipe is loaded already", help="give set, cell and folder to load")
    return recipe


def _one(recipe: Source, set: Values, folder: Where | None) -> Recipe:
    from edgeopt.recipe.load import Recipe, load_recipe

    if not isinstance(recipe, str | os.PathLike | Mapping):
        recipe = _loaded(recipe, set, None, folder)
        if isinstance(recipe, Recipe):
            return recipe
        raise bad_input(
            "E120",
            "one recipe is needed here, and this one has a matrix",
            help="load it with a cell, or without the matrix",
        )
    return load_recipe(_read_from(recipe, folder), _overrides(set))


def _read_from(recipe: Where | Mapping[str, object], folder: Where | None) -> Path | Given:
    from edgeopt.recipe.given import Given

    if isinstance(recipe, Mapping):
        base = Path(folder or ".")
        if not is_there(base, Path.is_dir):
            raise bad_input("E100", f"the argument folder must be an existing folder, but {base} is not")
        return Given(recipe, base)
    if folder is not None:
        raise bad_input(
            "E100",
            "folder= was given for a recipe that is a file",
            help="paths in a file are relative to that file: leave folder= out",
        )
    return Path(recipe)


def _overrides(set: Values) -> Sequence[str]:
    from edgeopt.recipe.given import as_overrides

    return as_overrides(set) if isinstance(set, Mapping) else [set] if isinstance(set, str) else set


def _lock(locked: bool | Where, default: Path) -> Path | None:
    return None if locked is False else default if locked is True else Path(locked).resolve()


def _store(path: Where | None) -> Store:
    from edgeopt.store.store import Store

    return Store(Path(path)) if path else Store.default()


def _path(given: Run | Where) -> Path:
    return given.folder if isinstance(given, Run) else Path(given)
