"""The Python API. The command line is built on it.

    EdgeoptError
    ├── InputError      a recipe, value, data file, model or run folder that the caller can fix
    └── StepError       a step ran and failed, or did not do what it declared

Nothing here ends the process or prints to stdout. Every error has one or more `issues`, each with a code, a message, a
place and help. For a recipe that was passed as a mapping, a place looks like `<dict>:steps.0.use`.
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
    from edgeopt.plan.cost import Costs
    from edgeopt.plan.matrix import SharedStep
    from edgeopt.recipe.expand import Grid
    from edgeopt.recipe.given import Given
    from edgeopt.recipe.load import Recipe
    from edgeopt.report.compare.diff import Diff
    from edgeopt.report.compare.runs import Comparison
    from edgeopt.results.model import Gate, Verdict
    from edgeopt.run.matrix import CellResult
    from edgeopt.store.store import Store

    #: A recipe file, a mapping with the same content, or the result of `load`.
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
#: As for `--set`: a mapping from key paths to values, or one or more strings `key.path=value`.
Values = Mapping[str, object] | str | Sequence[str]
#: Whether to show progress on stderr, or a function to call with each `Update`.
Shown = bool | Callable[[Update], object]


@dataclass(frozen=True)
class Planned:
    """What `apply` would do.

    recipe: the checked recipe, with its defaults filled in. cells: maps the name of each cell of a matrix to its plans,
    one for each seed. A recipe without a matrix has a single cell, named ''. costs: what each training computes and
    holds, if `plan` was asked for it.
    """

    recipe: Recipe | Grid
    cells: Mapping[str, Sequence[Plan]]
    costs: Costs | None = None

    @property
    def plans(self) -> Sequence[Plan]:
        """The plans of the first cell, or of a recipe without a matrix. There is one plan for each seed."""
        return next(iter(self.cells.values()))

    @property
    def steps(self) -> Sequence[PlannedStep]:
        """Every step in the order in which it is built, with `chain`, `id`, `use`, `status`, `why` and `key`.

        These are the steps of the first seed. For a matrix they are the steps of all cells, and a step that several
        cells share is listed once. status: `cached`, `new` or `stale`.
        """
        return [shared.step for shared in self.shared] if self.shared else self.plans[0].steps

    @cached_property
    def shared(self) -> Sequence[SharedStep]:
        """Each distinct step of a matrix, with the cells that use it. Empty for a recipe without a matrix."""
        from edgeopt.plan.matrix import shared_steps
        from edgeopt.recipe.expand import Grid

        return shared_steps(self.recipe, list(self.cells.values())) if isinstance(self.recipe, Grid) else []


@dataclass(frozen=True)
class Gated:
    """The gates that `gate` decided, each with its verdict and reason.

    name: the recipe's name. warnings: what to know before trusting the verdict. model: which file was gated, and what
    it was compared with.
    """

    name: str
    gates: Sequence[Gate]
    warnings: Sequence[str]
    notes: Sequence[str]
    model: str

    @property
    def verdict(self) -> Verdict:
        """`fail` if any gate failed, else `inconclusive` if any gate is undecided, else `pass`."""
        return verdict_of(list(self.gates))


@dataclass(frozen=True)
class Cells:
    """The results of a matrix.

    folder: holds the runs of the cells and their comparison. results: for each cell, its run or its error.
    """

    folder: Path
    results: Sequence[CellResult]

    @property
    def runs(self) -> dict[str, Run]:
        """The runs of the finished cells, by cell name."""
        return {r.cell.name: r.run for r in self.results if r.run is not None}

    @property
    def errors(self) -> dict[str, EdgeoptError]:
        """The errors of the cells that have no run, by cell name."""
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
    """Read a recipe and check its keys and values. Does not look at the data or the model.

    >>> recipe = load("recipe.yaml", set={"steps.prune.amount": 0.5})
    >>> recipe.head.name, [step.id for step in recipe.steps], recipe.steps[-1].params.amount
    ('tiny', ['tune', 'prune'], 0.5)

    recipe: a recipe file, or a mapping with the same content. set: a mapping from key paths to values, or strings
    `key.path=value`. A key path names a step by its id. cell: the name of one cell of a matrix, which is loaded as a
    recipe of its own. Without it, a recipe with a matrix is loaded as a `Grid`, and each of its `cells` has a `name`
    and a `recipe`. folder: the folder for relative paths in a mapping. The default is the working directory.

    >>> grid = load("recipe.yaml", set={"matrix": {"axes": {"steps.prune.amount": [0.3, 0.6]}}})
    >>> [(cell.name, cell.recipe.steps[-1].params.amount) for cell in grid.cells]
    [('amount-0.3', 0.3), ('amount-0.6', 0.6)]

    Raises InputError, which lists every mistake with its place:

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

    Nothing is computed or downloaded.

    >>> found = validate("recipe.yaml")
    >>> found.plans[0].data.summary()
    '64 train and 32 validation rows'

    The arguments are those of `load`. recipe may also be the result of `load`. What was found out about the rows and
    the model is in `plans` of the result. The store is not read. Raises InputError, which lists every mistake at once.
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
    cost: bool = False,
) -> Planned:
    """List the steps of a recipe in order, including those that edgeopt adds, and say which are already built.

    Nothing is computed.

    >>> [(step.chain, step.id, step.status) for step in plan("recipe.yaml", store="store").steps][-2:]
    [('candidate', 'prune', 'cached'), ('candidate', 'onnx', 'cached')]
    >>> plan("recipe.yaml", set={"steps.prune.amount": 0.5}, store="store").steps[-2].why
    'amount 0.3 → 0.5'

    The other arguments are those of `validate`. store: the folder in which finished steps are kept. The default is
    EDGEOPT_STORE, or ~/.cache/edgeopt if that is not set. cost: also find what each training computes and holds, of a
    recipe without a matrix. Raises InputError as `validate` does.
    """
    from edgeopt.plan import make_plans
    from edgeopt.plan.cost import costs
    from edgeopt.plan.matrix import plan_cells
    from edgeopt.recipe.expand import Grid

    loaded, kept = _loaded(recipe, set, cell, folder), _store(store)
    if isinstance(loaded, Grid):
        if cost:
            raise bad_input(
                "E120",
                "costs are told of a single recipe, and this one has a matrix",
                help="name one, as in --cell NAME",
            )
        return Planned(loaded, {c.name: found for c, found in zip(loaded.cells, plan_cells(loaded, kept), strict=True)})
    plans = make_plans(loaded, kept)
    return Planned(loaded, {"": plans}, costs(plans[0], kept) if cost else None)


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
    """Run a recipe: build the steps, export, measure against the FP32 baseline, and decide the gates.

    >>> run = apply("recipe.yaml", out="runs/tiny", store="store", progress=False)
    >>> run.verdict, run.kept
    ('pass', True)

    Call it again to resume. Finished steps are taken from the store. If the run is finished and nothing has changed, it
    is returned as it is, and its `kept` is true.

    recipe, set, cell, folder: as for `load`. out: the folder of the run. The default is runs/NAME in the working
    directory. store: the folder in which finished steps are kept. locked: stop if anything differs from the lock of an
    earlier run. True means OUT/recipe.lock, and a path names another lock. remeasure: measure a finished run again.
    emissions: also measure energy. track: send the finished run to a tracker, `mlflow` or `wandb`. progress: True shows
    a bar in a notebook and on a terminal, and lines on stderr elsewhere. A function is called with an
    `Update(text, done, total, note)`.

    A failed gate is not an error. It shows in `run.verdict`. Raises InputError before anything is computed, and
    StepError if a step fails. A recipe with a matrix is InputError E120: use `apply_cells`. Under torchrun every
    process calls `apply` and gets the run. If several threads call it, one builds at a time and the others wait.
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
    """Run every cell of a recipe with a matrix into OUT/cells/NAME, and compare the cells in OUT.

    >>> axes = {"axes": {"steps.prune.amount": [0.3, 0.6]}}
    >>> cells = apply_cells("recipe.yaml", set={"matrix": axes}, out="runs/cells", store="store", progress=False)
    >>> [(name, run.verdict) for name, run in cells.runs.items()], cells.errors
    ([('amount-0.3', 'pass'), ('amount-0.6', 'pass')], {})

    A finished and unchanged cell is not run again. A cell that fails does not stop the others, and its error is in
    `errors`. locked: the folder of an earlier run of the matrix. No cell may differ from its lock there. True means
    OUT. The other arguments are those of `apply`. Raises InputError if no cell could be tried. With several processes,
    and for a recipe without a matrix, that is E120.
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
    """Decide gates on what a run measured, or measure a finished model here and decide gates on that.

    Neither needs torch.

    >>> found = gate("runs/tiny", progress=False)
    >>> found.verdict, [(gate.metric, gate.verdict) for gate in found.gates]
    ('pass', [('size', 'pass')])

    path: a run or a finished model. A finished model is an ONNX graph, or a folder with an ONNX graph and
    tokenizer.json. recipe: the recipe whose gates are decided on its rows, given as for `load`. The default is the
    recipe of the run. set: values in that recipe. against: what a model is compared with: another model, or a file
    written by `edgeopt baseline`. max_seconds: the time limit in seconds for each latency of a model.

    A failed gate is not an error. It shows in the verdict. Raises InputError if the gates cannot be decided on what was
    given.
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
    """Compare finished runs by metrics, size, speed and the cost of training. Nothing is computed.

    >>> found = compare("runs/tiny", "runs/other", progress=False)
    >>> [(row.name, row.role) for row in found.rows]
    [('full fine-tune, FP32', 'baseline'), ('tiny', 'candidate'), ('other', 'candidate')]

    baseline: whether the FP32 baselines get rows too. A baseline that several runs share gets one row. `warnings` of
    the result says which figures cannot be compared. Raises InputError if a folder is not a run.
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
    """Show what changed between two finished runs, and what effect it had. Nothing is measured again.

    >>> found = diff("runs/tiny", "runs/other", progress=False)
    >>> [str(change) for change in found.recipe]
    ['name: "tiny" → "other"', 'steps.prune.amount: 0.3 → 0.6']

    `recipe`, `inputs`, `environment` and `steps` of the result say what changed. `figures`, with paired bounds, and
    `gates` say what effect it had. Raises InputError if a folder is not a run.
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
