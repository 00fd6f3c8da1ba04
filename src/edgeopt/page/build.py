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
from edgeopt.page.passages import TEXTS, VECTORS, write_passages
from edgeopt.results.model import Report
from edgeopt.results.sealed import Run, is_inside, open_run
from edgeopt.spec.recipe import task_in
from edgeopt.support.errors import bad_input
from edgeopt.support.files import file_digest
from edgeopt.support.publishing import Record, publish, taken, writable
from edgeopt.tasks import Task, called, task_of, task_type, task_types

INDEX, ABOUT = "index.html", "page.json"
_SCRIPTS = ("start.js", "page.js", "model.js", "encode.js", "page.css", "icon.svg")
_SEARCH = "search.js"


def write_page(run: Path, out: Path, passages: Path | None = None, column: str | None = None) -> None:
    """Write the page of a run into `out`, which appears whole or stays as it was.

    passages: a file of what the page of an embedding model searches; column: theirs, where it is not the recipe's.
    Raises InputError E115 for what is not a run, E150 for one that is not as it was written, E161 for a model that a
    page cannot ask, E114 for a folder that is not a page's, and what `write_passages` and `install` raise.
    """
    found = open_run(run)
    report, (graph, tokenizer), task = found.report, _files(found.folder, found.report), _task(found)
    _check_passages(task, passages)
    writable(out, (INDEX, ABOUT))
    with taken(out, PAGE) as folder:
        search = passages and write_passages(found, passages, column, folder)
        install(folder / "lib")
        copy_graph(graph, folder / GRAPH)
        model = [path.name for path in files_of(folder / GRAPH)]
        shutil.copyfile(tokenizer, folder / "tokenizer.json")
        for name in (*_SCRIPTS, *([_SEARCH] if search else [])):
            shutil.copyfile(ASSETS / name, folder / name)
        loaded = ("lib/ort.wasm", *model, "tokenizer.json", *((TEXTS, VECTORS) if search else ()))
        about = _about(report, task, model, sum((folder / name).stat().st_size for name in loaded))
        if search:
            about["search"] = search
        many = search["count"] if search else 0
        (folder / INDEX).write_text(_index(report, task, size_of(folder / GRAPH), many), encoding="utf-8")
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
    if not _shown(task_type(kind)):
        shown = ", ".join(name for name, each in task_types().items() if _shown(each))
        raise bad_input(
            "E161",
            f"a page shows a label, a score or passages for what is typed, and the task of {run} is {called(kind)}",
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


def _shown(kind: type[Task]) -> bool:
    """Whether a page shows what models of the kind say of a text that is typed."""
    return kind.typed or kind.embeds


def _check_passages(task: Task, passages: Path | None) -> None:
    """Raises InputError E161 where there is nothing to search, or something that is not searched."""
    if task.embeds and passages is None:
        raise bad_input(
            "E161",
            "the page of an embedding model searches passages, and none are named",
            help="add --passages FILE, such as passages.jsonl, and --text COLUMN where their column is another",
        )
    if passages is not None and not task.embeds:
        what = f"--passages is for a model that embeds texts, and the task is {task.spec.type}"
        raise bad_input("E161", what, help="leave --passages out")


def _task(run: Run) -> Task:
    """The task of a run, as its lock has it."""
    try:
        return task_of(task_in(run.lock["recipe"]["resolved"]), run.report.task.labels)
    except (ValueError, KeyError, TypeError) as error:
        raise bad_input(
            "E115",
            f"the run {run.folder} is damaged: {' '.join(str(error).split())[:200]}",
            help="apply the recipe again",
        ) from None


def _about(report: Report, asked: Task, model: list[str], size: int) -> dict[str, Any]:
    """What the scripts know of the model."""
    task = report.task
    return {
        "output": asked.graph_outputs[0],
        "graph": model[0],
        "weights": model[1:],
        "bytes": size,
        "labels": task.labels,
        "regression": task_type(task.type).scores,
        "max_length": task.max_length,
        "stride": task.window_stride,
    }


def _index(report: Report, task: Task, size: int, passages: int) -> str:
    """index.html. passages: how many are searched; 0 of a page that has none."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

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
        about=f"A model of {size / 1e6:.1f} MB ({report.candidate.precision}) that runs in this browser"
        + (f", and searches {passages:,} passages." if passages else "."),
        columns=("Query",) if passages else task.query_columns,
        regression=task.scores,
        search=bool(passages),
        footer=f"Made by edgeopt {report.edgeopt}, with {versions}."
        + (" Confidence is the softmax of the logits." if task.has_classes else "")
        + (" The figure beside a passage is its cosine to the query." if passages else ""),
    )
