"""`edgeopt page` without npm and browser: what it refuses, and the files that it writes."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from helpers import Result, edgeopt, seal_run
from onnx import TensorProto, helper
from report_sample import sample_report

from edgeopt.export import graph_files
from edgeopt.export.graph_files import array_of, save_graph, structure_of
from edgeopt.page import build, libraries
from edgeopt.page.serve import server
from edgeopt.results.model import Report

#: A graph that computes nothing.
GRAPH = helper.make_model(helper.make_graph([], "g", [], [])).SerializeToString()


def write_run(folder: Path, report: Report, columns: list[str]) -> Path:
    """What a page is made of: report, lock, graph and tokenizer."""
    (folder / "model" / "onnx").mkdir(parents=True)
    (folder / "report.json").write_text(report.model_dump_json())
    task = {"type": report.task.type, "dataset": {"path": "data"}, "text": columns[0] if len(columns) == 1 else columns}
    if report.task.type == "multiple-choice":
        task["choices"] = "choices"
    (folder / report.candidate.artifact).write_bytes(GRAPH)
    (folder / "model" / "tokenizer.json").write_text("{}")
    return seal_run(folder, {"lock": 1, "recipe": {"resolved": {"task": task}}})


def report(**task: Any) -> Report:
    sample = sample_report()
    candidate = sample.candidate.model_copy(update={"artifact": "model/onnx/model_quantized.onnx"})
    return sample.model_copy(update={"candidate": candidate, "task": sample.task.model_copy(update=task)})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", report(), ["sentence1", "sentence2"])


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries' files without their content."""

    def install(target: Path) -> None:
        target.mkdir()
        for name in libraries.FILES:
            (target / name).write_bytes(b"library")

    monkeypatch.setattr(build, "install", install)


def refused(done: Result, code: int, *says: str) -> None:
    assert done.code == code, done
    assert all(part in done.err for part in says), done.err
    assert done.out == ""


@pytest.mark.usefixtures("fetched")
def test_the_page_is_whole_and_knows_its_model(run: Path) -> None:
    done = edgeopt("page", run)
    assert (done.code, done.out) == (0, f"{run / 'page' / 'index.html'}\n"), done.err
    page = run / "page"
    files = {p.relative_to(page).as_posix() for p in page.rglob("*") if p.is_file()}
    assert files == {
        "index.html",
        "page.json",
        "page.css",
        "icon.svg",
        "start.js",
        "page.js",
        "model.js",
        "encode.js",
        "model.onnx",
        "tokenizer.json",
        *(f"lib/{name}" for name in libraries.FILES),
    }
    about = json.loads((page / "page.json").read_text())
    assert about.pop("files") == {n: hashlib.sha256((page / n).read_bytes()).hexdigest() for n in files - {"page.json"}}
    assert about == {
        "graph": "model.onnx",
        "weights": [],
        "bytes": len(b"library" + GRAPH + b"{}"),
        "output": "logits",
        "labels": ["not_equivalent", "equivalent"],
        "regression": False,
        "max_length": 128,
        "stride": None,
    }
    html = (page / "index.html").read_text()
    assert html.count("<textarea") == 2 and ">sentence1<" in html and ">sentence2<" in html
    assert edgeopt("page", run).code == 0  # a page may be written again
    assert not [p.name for p in run.iterdir() if p.name.startswith(".")]


@pytest.mark.usefixtures("fetched")
def test_weights_beside_the_graph_are_on_the_page(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_files, "INSIDE", 0)
    graph = helper.make_graph([], "g", [], [], [helper.make_tensor("w", TensorProto.FLOAT, [300], [0.5] * 300)])
    save_graph(helper.make_model(graph), run / "model" / "onnx" / "model_quantized.onnx")
    seal_run(run)
    assert edgeopt("page", run).code == 0
    about = json.loads((run / "page" / "page.json").read_text())
    assert (about["graph"], about["weights"]) == ("model.onnx", ["model.onnx_data"])
    sizes = {
        name: (run / "page" / name).stat().st_size
        for name in ("model.onnx", "model.onnx_data", "lib/ort.wasm", "tokenizer.json")
    }
    assert sizes["model.onnx_data"] == 1200 and about["bytes"] == sum(sizes.values())
    (weights,) = structure_of(run / "page" / "model.onnx").graph.initializer
    assert array_of(weights, run / "page").tolist() == [0.5] * 300


@pytest.mark.usefixtures("fetched")
def test_an_embedding_model_needs_passages_and_no_other_takes_them(run: Path, tmp_path: Path) -> None:
    rows = tmp_path / "passages.txt"
    rows.write_text("a passage\n")
    refused(edgeopt("page", run, "--passages", rows), 2, "E161", "text-classification", "leave --passages out")
    embedder = write_run(tmp_path / "embedder", report(type="embedding", labels=[]), ["query", "passage"])
    refused(edgeopt("page", embedder), 2, "E161", "add --passages FILE")


@pytest.mark.usefixtures("fetched")
def test_a_plugins_graph_may_lie_anywhere_in_its_folder(tmp_path: Path) -> None:
    made = report()
    candidate = made.candidate.model_copy(update={"artifact": "model/network.onnx"})
    run = write_run(tmp_path / "run", made.model_copy(update={"candidate": candidate}), ["text"])
    done = edgeopt("page", run)
    assert done.code == 0 and (run / "page" / "model.onnx").read_bytes() == GRAPH, done.err


def test_names_are_escaped_and_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    made = report(labels=[evil, "b"])
    named = made.model_copy(update={"recipe": made.recipe.model_copy(update={"name": evil})})
    run = write_run(tmp_path / "run", named, [evil])
    assert edgeopt("page", run, "--out", tmp_path / "page").code == 0
    html = (tmp_path / "page" / "index.html").read_text()
    assert "<img" not in html and html.count("<script") == 1
    assert "default-src 'none'" in html and "unsafe-inline" not in html
    assert all(
        "http:" not in text and "https:" not in text for text in (html, (tmp_path / "page" / "page.css").read_text())
    )


@pytest.mark.usefixtures("fetched")
@pytest.mark.parametrize("kind", ["token-classification", "multiple-choice", "coreference", "summarization"])
def test_other_tasks_are_refused(tmp_path: Path, kind: str) -> None:
    run = write_run(tmp_path / "run", report(type=kind), ["text"])
    refused(edgeopt("page", run), 2, "E161", kind, "text-classification")
    assert not (run / "page").exists()


@pytest.mark.usefixtures("fetched")
def test_what_a_page_cannot_be_made_of_is_refused(run: Path, tmp_path: Path) -> None:
    refused(edgeopt("page", tmp_path), 2, "E115")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    refused(edgeopt("page", run, "--out", tmp_path / "mine"), 2, "E114")
    assert (tmp_path / "mine" / "index.html").read_text() == "mine"
    (run / "model" / "tokenizer.json").unlink()
    refused(edgeopt("page", run), 2, "E150", "model/tokenizer.json is missing")
    other = report().model_copy(
        update={"candidate": report().candidate.model_copy(update={"artifact": "model/model.tflite"})}
    )
    refused(edgeopt("page", write_run(tmp_path / "other", other, ["text"])), 2, "E161", "model.tflite", "format: onnx")


def test_without_npm_nothing_is_written(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    refused(edgeopt("page", run), 2, "E162", "Node.js")
    assert sorted(p.name for p in run.iterdir()) == ["model", "recipe.lock", "report.json"]


def test_what_npm_says_is_told(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\ntest -f package-lock.json && echo 'npm error EINTEGRITY' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setattr(libraries.shutil, "which", lambda _: str(npm))
    refused(edgeopt("page", run), 3, "E416", "EINTEGRITY")
    assert not (run / "page").exists()


def test_every_library_is_locked_with_its_digest() -> None:
    locked = json.loads((libraries.ASSETS / "package-lock.json").read_text())["packages"]
    assert all(entry["integrity"].startswith("sha512-") for name, entry in locked.items() if name)
    assert {source.partition("/dist/")[0].removesuffix("/LICENSE") for source in libraries.FILES.values()} == {
        name for name, _, _ in libraries.packages()
    }
    wanted = json.loads((libraries.ASSETS / "package.json").read_text())["dependencies"]
    assert wanted == {name: version for name, version, _ in libraries.packages()}


def test_it_is_served_isolated(tmp_path: Path) -> None:
    (tmp_path / "page.js").write_text("1")
    with server(tmp_path, 0) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        with urlopen(f"http://127.0.0.1:{listening.server_port}/page.js") as answer:
            headers = answer.headers
        taken = listening.server_port
        with pytest.raises(Exception, match="E163"):
            server(tmp_path, taken)
        listening.shutdown()
    assert headers["Content-Type"] == "text/javascript"
    assert (headers["Cross-Origin-Opener-Policy"], headers["Cross-Origin-Embedder-Policy"]) == (
        "same-origin",
        "require-corp",
    )
