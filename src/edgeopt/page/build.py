"""RUN to a folder of static files: the shipped graph, its tokenizer, and a page that runs them with onnxruntime-web.

There is no bundler: libraries and sources are copied as they are, and all that differs between pages is in page.json
and in names and fields of index.html. Everything runs on the page's own thread, because a worker would not be under
the policy that a `<meta>` sets. The tokenizer's truncation and windows are written again in encode.js, as no library
of npm has them. ONNX Runtime's options are its defaults: those of session.json were measured elsewhere.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from edgeopt.export.graph_files import copy_graph, files_of, size_of
from edgeopt.models.files import GRAPH
from edgeopt.page.libraries import ASSETS, install, packages
from edgeopt.results.model import Report
from edgeopt.results.sealed import Run, is_inside, open_run
from edgeopt.spec.recipe import task_in
from edgeopt.support.errors import bad_input
from edgeopt.support.files import file_digest
from edgeopt.support.publishing import Record, publish, taken, writable
from edgeopt.tasks import task_type, task_types

INDEX, ABOUT = "index.html", "page.json"
_SCRIPTS = ("start.js", "page.js", "model.js", "encode.js", "page.css", "icon.svg")


def write_page(run: Path, out: Path) -> None:
    """Write the page of a run into `out`, which appears whole or stays as it was.

    Raises InputError E115 for what is not a run, E150 for one that is not as it was written, E161 for a model that a
    page cannot ask, E114 for a folder that is not a page's, and what `install` raises.
    """
    found = open_run(run)
    report, (graph, tokenizer), columns = found.report, _files(found.folder, found.report), _columns(found)
    writable(out, (INDEX, ABOUT))
    with taken(out, PAGE) as folder:
        install(folder / "lib")
        copy_graph(graph, folder / GRAPH)
        model = [path.name for path in files_of(folder / GRAPH)]
        shutil.copyfile(tokenizer, folder / "tokenizer.json")
        for name in _SCRIPTS:
            shutil.copyfile(ASSETS / name, folder / name)
        about = _about(
            report, model, sum((folder / name).stat().st_size for name in ("lib/ort.wasm", *model, "tokenizer.json"))
        )
        (folder / INDEX).write_text(_index(report, columns, size_of(folder / GRAPH)), encoding="utf-8")
        about["files"] = {
            p.relative_to(folder).as_posix(): file_digest(p) for p in sorted(folder.rglob("*")) if p.is_file()
        }
        (folder / ABOUT).write_text(json.dumps(about, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        publish(folder, out, PAGE)


def _own_files(page: Path) -> dict[str, str]:
    """SHA-256 by name of the files of a page, as its page.json has them."""
    try:
        listed = json.loads((page / ABOUT).read_text(encoding="utf-8"))["files"]
        return {
            **{str(name): str(digest) for name, digest in listed.items() if is_inside(str(name))},
            ABOUT: file_digest(page / ABOUT),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


PAGE = Record(ABOUT, (INDEX,), _own_files)


def _files(run: Path, report: Report) -> tuple[Path, Path]:
    """The graph, and the tokenizer at the top of the export's folder, wherever in it the exporter puts the graph."""
    kind, path = report.task.type, run / report.candidate.artifact
    if not task_type(kind).typed:
        shown = " and ".join(name for name, each in task_types().items() if each.typed)
        raise bad_input(
            "E161",
            f"a page shows one label or score for what is typed, and the task of {run} is {kind}",
            help=f"pages are for {shown}; README.md beside the model has lines for the others",
        )
    if path.suffix != ".onnx":
        raise bad_input(
            "E161",
            f"a page runs ONNX, and the first export of {run} is {path.name}",
            help="put `{format: onnx}` first in `export`",
        )
    tokenizer = run / Path(report.candidate.artifact).parts[0] / "tokenizer.json"
    if not path.is_file() or not tokenizer.is_file():
        raise bad_input(
            "E115",
            f"the run {run} is damaged: {path.name} or its tokenizer.json is not there",
            help="apply the recipe again",
        )
    return path, tokenizer


def _columns(run: Run) -> tuple[str, ...]:
    """Names of the one or two texts that the model reads."""
    try:
        return task_in(run.lock["recipe"]["resolved"]).columns
    except (ValueError, KeyError, TypeError) as error:
        raise bad_input(
            "E115",
            f"the run {run.folder} is damaged: {' '.join(str(error).split())[:200]}",
            help="apply the recipe again",
        ) from None


def _about(report: Report, model: list[str], size: int) -> dict[str, Any]:
    """What the scripts know of the model."""
    task = report.task
    return {
        "graph": model[0],
        "weights": model[1:],
        "bytes": size,
        "labels": task.labels,
        "regression": task_type(task.type).scores,
        "max_length": task.max_length,
        "stride": task.window_stride,
    }


def _index(report: Report, columns: tuple[str, ...], size: int) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    regression = task_type(report.task.type).scores
    page = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    versions = ", ".join(f"{name.rpartition('/')[2]} {version}" for name, version, _ in packages())
    return page.get_template("index.html.j2").render(
        name=report.recipe.name,
        about=f"A model of {size / 1e6:.1f} MB ({report.candidate.precision}) that runs in this browser.",
        columns=columns,
        regression=regression,
        footer=f"Made by edgeopt {report.edgeopt}, with {versions}."
        + (" Confidence is the softmax of the logits." if not regression else ""),
    )
