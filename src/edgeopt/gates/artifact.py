"""A finished model as it is shipped: a folder with an ONNX graph, its tokenizer and configuration, and session.json.

The files are tokenizer.json and config.json as transformers writes them; session.json is edgeopt's own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.data import Split
from edgeopt.device import guard
from edgeopt.export.graph_files import digest_of, files_of, size_of
from edgeopt.export.session import OUTPUTS, QUIET, Options, onnx_query, open_session
from edgeopt.measure.declared import check_declared
from edgeopt.measure.memory import bounded
from edgeopt.models.output_names import as_in_rows, named_outputs
from edgeopt.results.sealed import LOCK, REPORT, Run, check_none_below, open_run
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import InputError, bad_input
from edgeopt.support.files import file_digest
from edgeopt.support.paths import is_there
from edgeopt.support.reading import Reader
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.answered import checked
from edgeopt.tasks.encode import Encoder

TOKENIZER, SESSION = "tokenizer.json", "session.json"
#: Where a graph may lie: an exported folder's, int8 first, as that is what is shipped; then a state's.
_GRAPHS = ("onnx/model_quantized.onnx", "onnx/model.onnx", "model_quantized.onnx", "model.onnx")
_READER = Reader("file beside the model", "E131", "export the model again", not_finite=True)
_HELP = (
    "give a run, its `model` folder, another folder with tokenizer.json and an ONNX graph, or the graph itself; a run "
    "is the folder that `edgeopt apply --out` wrote"
)


@dataclass(frozen=True)
class Artifact:
    """A finished model, found in the files.

    folder: where tokenizer.json is; graph: the ONNX file; run: that which made it, where it lies in one's folder.
    options: what session.json says of the graph, None where it says nothing. labels: class names of config.json, as
    rows have them.
    """

    folder: Path
    graph: Path
    run: Run | None
    options: Options | None
    labels: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The graph's path from its folder's name on, for a reader."""
        return f"{self.folder.name}/{self.graph.relative_to(self.folder).as_posix()}"

    def digests(self) -> dict[str, str]:
        """SHA-256 of the graph and of the tokenizer."""
        return {"graph": digest_of(self.graph), "tokenizer": file_digest(self.folder / TOKENIZER)}

    def classes(self, task: TaskSpec) -> tuple[str, ...]:
        """Names of the outputs as rows have them; without id2label their numbers, as many as the graph has logits.

        Empty where the task has none, or the graph does not say. Raises InputError E211 and E411 as `check` does.
        """
        kind = task_of(task)
        if self.labels or not kind.names_outputs or kind.has_choices:
            return self.labels
        check_declared(self.graph)
        files_of(self.graph)
        try:
            with bounded(size_of(self.graph)):
                *axes, last = next(o.shape for o in open_session(self.graph).get_outputs() if o.name in OUTPUTS)
        except Exception:  # what `check` tells of
            return ()
        return tuple(map(str, range(last))) if isinstance(last, int) and len(axes) == len(kind.output_axes) else ()

    def check(self, task: Task, rows: Split, batch: int = 1) -> None:
        """Ask the graph a query, the first row's, and where it is to be timed on several at once, two.

        batch: how many at most. Raises InputError E211 and E411 for a graph that is not whole, E131 for one that the
        runtime does not open or that does not answer as the task's models do, E316 where its outputs are not the task's
        classes, E212 where it does not answer, and E311 for the tokenizer.
        """
        check_declared(self.graph)
        files_of(self.graph)
        encoder = Encoder(self.folder, task.spec.max_length)
        first = task.encode(encoder, rows.texts[:1]).ids[:1]
        with bounded(size_of(self.graph), task.spec.max_length):
            query = checked(onnx_query(self.graph, QUIET, limited=True, named=task.graph_outputs[0]), self.graph, task)
            for several in range(1, min(batch, 2) + 1):
                query(encoder.pad(first * several))


def is_run(path: Path) -> bool:
    """Whether a path is the folder of a run."""
    return is_there(path / REPORT, Path.is_file)


def find_artifact(path: Path) -> Artifact:
    """The artifact at a path: a run's folder, its `model`, another such folder, or a graph in one.

    Raises InputError E131, and E115 or E150 where it lies in the folder of a run that is not whole.
    """
    if is_run(path):
        path = path / "model"
    if is_there(path, Path.is_file):
        folder = next((p for p in list(path.absolute().parents)[:2] if (p / TOKENIZER).is_file()), None)
        if folder is None or path.suffix != ".onnx":
            raise bad_input("E131", f"{path} is not a graph with {TOKENIZER} beside it or one folder above", help=_HELP)
        return _artifact(folder, path.absolute())
    if not is_there(path / TOKENIZER, Path.is_file):
        check_none_below(path)
        raise bad_input(
            "E131",
            f"{path} is neither a run nor a finished model: it has no {REPORT} and no {TOKENIZER}"
            if is_there(path, Path.exists)
            else f"{path} does not exist",
            help=_help_of(path.absolute()),
        )
    folder = path.absolute()
    graph = next((folder / name for name in [*_measured(folder), *_GRAPHS] if (folder / name).is_file()), None)
    if graph is None:
        raise bad_input("E131", f"{path} has no ONNX graph: {' or '.join(_GRAPHS[:2])}", help=_help_of(folder))
    return _artifact(folder, graph)


def _help_of(folder: Path) -> str:
    """How to mend a folder that has no graph.

    Where it lies in a run whose candidate is no ONNX, only the run has its evidence, and the help says so.
    """
    try:
        shown = str(_READER.json(folder.parent / REPORT)["candidate"]["artifact"])
    except (InputError, KeyError, TypeError):
        return _HELP
    if shown.endswith(".onnx"):
        return _HELP
    run = folder.parent
    return (
        f"the candidate of this run is {shown}, which is no ONNX graph: its gates are decided by "
        f"`edgeopt gate {run}`, on what the run measured; for a model that can be gated alone add onnx to the "
        "recipe's export"
    )


def _artifact(folder: Path, graph: Path) -> Artifact:
    run = open_run(folder.parent) if (folder.parent / LOCK).is_file() or _is_of_run(folder) else None
    labels = as_in_rows(named_outputs(_json(folder / "config.json")))
    return Artifact(folder, graph, run, options_of(folder, graph.relative_to(folder).as_posix()), labels)


def options_of(folder: Path, file: str) -> dict[str, Any] | None:
    """What session.json in a model's folder says of a file; None where it says nothing.

    Raises InputError E210 where it would set what edgeopt never sets, E131 where it is damaged.
    """
    found = _json(folder / SESSION)
    if file not in found:
        return None
    if wrong := guard.problem(found[file]):
        raise bad_input(
            "E210",
            f"{folder / SESSION} is refused: {wrong}",
            help="remove it to open the model with the runtime's default options, or export again",
        )
    options: dict[str, Any] = found[file]
    return options


def _is_of_run(folder: Path) -> bool:
    """Whether the report beside a folder is of a run that wrote into it, though there is no lock."""
    try:
        artifact = _READER.json(folder.parent / REPORT)["candidate"]["artifact"]
        return str(artifact).startswith(f"{folder.name}/")
    except (InputError, KeyError, TypeError):
        return False


def _measured(folder: Path) -> list[str]:
    """The graphs that session.json names, the measured one first."""
    names = _json(folder / SESSION)
    return [
        name
        for name in names
        if name.endswith(".onnx") and "\0" not in name and (folder / name).resolve().is_relative_to(folder.resolve())
    ]


def _json(path: Path) -> dict[str, Any]:
    """What a JSON file beside the graph holds; nothing where there is none.

    Raises InputError E131 where it is damaged.
    """
    return _READER.model(path, dict[str, Any]) if os.path.lexists(path) else {}
