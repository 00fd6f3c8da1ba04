"""A finished model by its path, opened to answer rows: that of a run, of a bundle, or a folder with an ONNX graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.bundle.manifest import MANIFEST
from edgeopt.bundle.verify import Bundle, verified
from edgeopt.export.graph_files import files_of, size_of
from edgeopt.gates.artifact import Artifact, find_artifact, is_run, options_of
from edgeopt.gates.request import request_by
from edgeopt.measure.declared import check_declared
from edgeopt.results.sealed import REPORT, open_run
from edgeopt.run.predict import Asked, Predictor, asked_of_run, onnx_asked
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import bad_input
from edgeopt.support.paths import is_there
from edgeopt.tasks import Task, task_of


@dataclass(frozen=True)
class Opened:
    """A model that answers rows.

    shown: its file, for a reader. size: bytes of a graph that no run vouches for, which may ask for so much memory and
    no more.
    """

    shown: str
    task: Task
    predictor: Predictor
    size: int | None = None


@contextmanager
def opened(path: Path, recipe: Path | None = None, text: Sequence[str] = ()) -> Iterator[Opened]:
    """The model at a path, while the block runs: a run, a bundle, a model's folder or a graph.

    recipe: says the task of a model that lies in no run. text: the columns of the texts, in place of those that the
    model was trained on. Raises InputError E115 and E150 for a run that is not whole, E140 to E142 for a bundle, E131
    and E134 for a folder, E100 for columns that the task does not take.
    """
    if _is_bundle(path):
        _refuse(recipe, "a bundle")
        with verified(path) as bundle:
            task = _renamed(_task_of_bundle(bundle), text)
            yield _opened(
                bundle.manifest.name, _of_bundle(bundle, task), size_of(bundle.folder / bundle.manifest.model)
            )
    elif is_run(path) or path.name == REPORT:
        _refuse(recipe, "a run")
        run = open_run(path)
        asked = asked_of_run(run)
        yield _opened(run.report.candidate.artifact, asked._replace(task=_renamed(asked.task, text)))
    else:
        artifact = find_artifact(path)
        if artifact.run is not None:
            _refuse(recipe, "a model that lies in a run")
        task = _renamed(_task_of_artifact(artifact, recipe), text)
        yield _opened(artifact.shown, _of_artifact(artifact, task), size_of(artifact.graph))


def _opened(shown: str, asked: Asked, size: int | None = None) -> Opened:
    return Opened(shown, asked.task, Predictor(asked), size)


def _refuse(recipe: Path | None, what: str) -> None:
    if recipe is not None:
        raise bad_input("E100", f"--recipe is for a model that lies in no run: {what} brings its task")


def _is_bundle(path: Path) -> bool:
    """Whether a path is meant as a bundle: what there is to check is checked when it is opened."""
    return path.suffix == ".zip" or is_there(path / MANIFEST, Path.is_file)


def _task_of_bundle(bundle: Bundle) -> Task:
    """The task as the manifest has it; where its rows came from does not matter here."""
    about = bundle.manifest
    spec: dict[str, Any] = {"type": about.task.type, "dataset": {"path": "."}, "max_length": about.task.max_length}
    columns = about.task.columns or ["text", "pair"][: about.task.texts]  # bundles of earlier versions do not say
    return task_of(TaskSpec.model_validate({**spec, "text": columns}), about.labels)


def _of_bundle(bundle: Bundle, task: Task) -> Asked:
    model = bundle.manifest.model
    return onnx_asked(bundle.folder, bundle.folder / model, task, options_of(bundle.folder, model))


def _task_of_artifact(artifact: Artifact, recipe: Path | None) -> Task:
    if artifact.run is None and recipe is None:
        raise bad_input(
            "E134",
            f"{artifact.shown} lies in no run, and does not say which columns it reads and how",
            help="give --recipe FILE, the recipe of its task",
        )
    spec = request_by(recipe, (), artifact.run).task
    names = artifact.run.report.task.labels if artifact.run else spec.labels or artifact.classes(spec)
    task = task_of(spec)
    return task_of(spec, [] if artifact.run is None and (task.has_choices or not task.has_classes) else names)


def _of_artifact(artifact: Artifact, task: Task) -> Asked:
    check_declared(artifact.graph)
    files_of(artifact.graph)
    return onnx_asked(artifact.folder, artifact.graph, task, artifact.options)


def _renamed(task: Task, text: Sequence[str]) -> Task:
    """The task over other columns. Raises InputError E100 where it does not read as many, or its own alone."""
    if not text:
        return task
    own = task.spec.columns[: 1 if isinstance(task.spec.text, str) else len(task.spec.text)]
    if task.embeds:  # of two texts each is read by itself
        own = task.query_columns
    if len(text) != len(own) or not set(own) <= set(task.query_columns):
        shown = ", ".join(task.query_columns)
        raise bad_input(
            "E100", f"--text names {', '.join(text)}, and this model reads {shown}", help="give --text as often as that"
        )
    spec = task.spec.model_copy(update={"text": text[0] if len(text) == 1 else list(text)})
    return task.over(spec)
