"""Bundles: what is in one, that it serves without edgeopt, that the same run gives the same bytes, who signed it."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from bundles import MODEL, WORDS, logits_of, make_run, reseal
from helpers import edgeopt, seal_run
from safetensors.numpy import save_file

from edgeopt.bundle import make
from edgeopt.bundle.archive import write_zip
from edgeopt.bundle.requirements import TESTED
from edgeopt.bundle.texts import tolerance_of, vector_tolerance
from edgeopt.bundle.verify import DEVICE
from edgeopt.export import graph_files
from edgeopt.export.graph_files import structure_of

VERSIONS = Path(__file__).parents[3] / "benchmarks" / "results" / "bundle_versions.json"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    return make_run(
        tmp_path_factory.mktemp("made"),
        tiny_data,
        gates=[
            {"metric": "latency.p50", "max_ms": 50.0},
            {"metric": "latency.p50", "min_speedup": 2.0},
            {"metric": "accuracy", "max_drop": 0.1},
        ],
    )


@pytest.fixture(scope="module")
def bundle(run: Path) -> Path:
    done = edgeopt("bundle", run, "--count", 8, "--out", run.parent / "bundle")
    assert done.code == 0, done.err
    return run.parent / "bundle"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "key"
    assert edgeopt("bundle", "keygen", path).code == 0
    return path


def test_a_bundle_has_everything_and_says_what_it_is(run: Path, bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    files = {
        p.relative_to(bundle).as_posix(): p for p in bundle.rglob("*") if p.is_file() and p.name != "manifest.json"
    }
    assert set(files) == {
        "run.py",
        "device.py",
        "guard.py",
        "requirements.txt",
        "selftest.json",
        "session.json",
        "tokenizer.json",
        MODEL,
    }
    assert manifest["files"] == {
        n: {"sha256": hashlib.sha256(p.read_bytes()).hexdigest(), "size": p.stat().st_size} for n, p in files.items()
    }
    assert manifest["lock"] == hashlib.sha256((run / "recipe.lock").read_bytes()).hexdigest()
    assert (manifest["model"], manifest["labels"], manifest["license"]) == (MODEL, ["bad", "good"], None)
    assert [(g["metric"], g["max_ms"]) for g in manifest["gates"]] == [("latency.p50", 50.0)], (
        "those that need a baseline or labels are not for a device"
    )
    assert set(json.loads((bundle / "session.json").read_text())) == {MODEL}, (
        "of the files that are in the bundle alone"
    )


def test_weights_beside_the_graph_are_part_of_the_bundle(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_files, "INSIDE", 0)
    monkeypatch.setattr(graph_files, "_SMALL", 100)
    run = make_run(tmp_path, tiny_data)
    assert (run / "model" / f"{MODEL}_data").stat().st_size == 4 * 2 * len(WORDS)
    for out in (tmp_path / "bundle", tmp_path / "bundle.zip"):
        assert edgeopt("bundle", run, "--count", 8, "--out", out).code == 0
        assert edgeopt("bundle", "verify", out).code == 0
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["files"][f"{MODEL}_data"]["size"] == 4 * 2 * len(WORDS)
    data = bytearray((tmp_path / "bundle" / f"{MODEL}_data").read_bytes())
    data[0] ^= 1
    (tmp_path / "bundle" / f"{MODEL}_data").write_bytes(data)
    done = edgeopt("bundle", "verify", tmp_path / "bundle")
    assert done.code == 2 and "error[E142]" in done.err
    (run / "model" / f"{MODEL}_data").unlink()  # and a run without its weights is no run to bundle
    done = edgeopt("bundle", run, "--out", tmp_path / "another")
    assert done.code == 2 and "error[E150]" in done.err and not (tmp_path / "another").exists()


def test_a_graph_that_reads_elsewhere_is_refused_though_the_manifest_agrees(
    tmp_path: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_files, "INSIDE", 0)
    monkeypatch.setattr(graph_files, "_SMALL", 100)
    out = tmp_path / "bundle"
    assert edgeopt("bundle", make_run(tmp_path, tiny_data), "--count", 8, "--out", out).code == 0
    graph = structure_of(out / MODEL)
    next(
        e for t in graph.graph.initializer for e in t.external_data if e.key == "location"
    ).value = "../../run/model/tokenizer.json"
    (out / MODEL).write_bytes(graph.SerializeToString())
    reseal(out)
    done = edgeopt("bundle", "verify", out)
    assert done.code == 2 and "error[E142]" in done.err and "not a file in its folder" in done.err


def test_a_zip_is_pythons_own(bundle: Path, tmp_path: Path) -> None:
    """The writer of our own gives the same bytes as Python's, which adds extensions from 2 GB on."""
    theirs = io.BytesIO()
    with zipfile.ZipFile(theirs, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(
            (p for p in bundle.rglob("*") if p.is_file()), key=lambda p: p.relative_to(bundle).as_posix()
        ):
            entry = zipfile.ZipInfo(path.relative_to(bundle).as_posix(), (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, path.read_bytes())
    write_zip(bundle, tmp_path / "ours.zip")
    assert (tmp_path / "ours.zip").read_bytes() == theirs.getvalue()


def test_the_self_test_has_rows_of_the_report_split_and_their_logits(bundle: Path, tiny_data: Path) -> None:
    given = json.loads((bundle / "selftest.json").read_text())
    rows = {json.loads(line)["text"] for line in (tiny_data / "validation.jsonl").read_text().splitlines()}
    assert len(given["texts"]) == 8 and {t for (t,) in given["texts"]} <= rows
    lengths = sorted(len(r) for r in rows)
    assert (
        min(len(t) for (t,) in given["texts"]) == lengths[0] and max(len(t) for (t,) in given["texts"]) == lengths[-1]
    )
    np.testing.assert_allclose(given["logits"], [logits_of(bundle, *t) for t in given["texts"]], atol=1e-5)


def test_the_tolerance_does_not_depend_on_the_texts(run: Path, bundle: Path, tmp_path: Path) -> None:
    """Neither on how many there are nor on which: it is of probes of random tokens."""
    (tmp_path / "own.txt").write_text("good1 word1\n")
    make.make_bundle(run, tmp_path / "own", make.Wanted(texts=tmp_path / "own.txt"))
    make.make_bundle(run, tmp_path / "one", make.Wanted(count=1))
    found = {
        name: json.loads((folder / "selftest.json").read_text())["tolerance"]
        for name, folder in {"eight": bundle, "own": tmp_path / "own", "one": tmp_path / "one"}.items()
    }
    assert len(set(found.values())) == 1, found


@pytest.mark.parametrize(
    ("precision", "apart", "expect"),
    [("fp32", 0.0, 0.002), ("int8", 0.0, 0.2), ("int8", 0.1, 0.4), ("fp32", 0.001, 0.004)],
)
def test_the_tolerance_is_of_levels_and_of_the_scale(precision: Any, apart: float, expect: float) -> None:
    """Logits of the scale 2, whose levels differ by `apart` in the root mean square.

    One large difference is not what decides.
    """
    served = np.tile([[2.0, -2.0]], (32, 1)).astype(np.float32)
    off = np.zeros((32, 2), np.float32)
    off[:8, 0] = 2 * apart
    ways = {"ORT_ENABLE_BASIC": served + off}
    assert tolerance_of(
        lambda way: ways.get(way.get("graph_optimization_level", ""), served), {}, precision
    ) == pytest.approx(expect, rel=0.01)


@pytest.mark.parametrize(
    ("precision", "apart", "expect"), [("fp32", 0.0, 0.01), ("int8", 0.0, 0.2), ("int8", 0.2, 0.3), ("int8", 0.4, 0.6)]
)
def test_the_tolerance_of_embeddings_is_a_share_of_their_length(precision: Any, apart: float, expect: float) -> None:
    served = np.tile([[2.0, 0.0]], (32, 1)).astype(np.float32)
    ways = {"ORT_ENABLE_BASIC": served + np.float32([0, 2 * apart])}
    assert vector_tolerance(
        lambda way: ways.get(way.get("graph_optimization_level", ""), served), {}, precision
    ) == pytest.approx(expect, rel=0.01)


def test_another_label_fails_the_self_test_unless_the_two_were_near(bundle: Path, tmp_path: Path) -> None:
    given = json.loads((bundle / "selftest.json").read_text())
    logits, text = min(zip(given["logits"], given["texts"], strict=True), key=lambda each: abs(each[0][0] - each[0][1]))
    apart, middle, sign = abs(logits[0] - logits[1]), sum(logits) / 2, 1 if logits[0] < logits[1] else -1
    tolerance = 1.2 * apart

    def expecting(margin: float) -> Path:
        """The bundle, but expecting the other label by that margin.

        Its logits are each within the tolerance of what they are.
        """
        assert (apart + margin) / 2 < tolerance
        folder = tmp_path / f"{margin}"
        shutil.copytree(bundle, folder)
        wanted = [middle + sign * margin / 2, middle - sign * margin / 2]
        (folder / "selftest.json").write_text(json.dumps({"tolerance": tolerance, "texts": [text], "logits": [wanted]}))
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(
            json.dumps({**manifest, "packages": {**manifest["packages"], "onnxruntime": "1.2.3"}})
        )
        reseal(folder)
        return folder

    assert edgeopt("bundle", "verify", expecting(0.9 * tolerance)).code == 0
    done = edgeopt("bundle", "verify", expecting(1.1 * tolerance))
    assert done.code == 2 and "error[E143]" in done.err and "gets another label" in done.err
    assert f"onnxruntime is {ort.__version__} and was 1.2.3 when the run was made" in done.err


def test_a_query_of_one_text_is_never_two(bundle: Path) -> None:
    """A model that reads one text answers a pair as well: its tokenizer takes one."""
    code = (
        f"import sys; sys.path.insert(0, {str(bundle)!r}); from run import Model; m = Model(); m.answer('good1'); "
        "m.answer('good1', 'bad1')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "ValueError: this model reads 1 text at a time, not 2" in done.stderr


def ask(bundle: Path, code: str) -> Any:
    """What an expression gives of the bundle's model `m`, in a process that has the bundle's own modules alone."""
    program = (
        f"import json, sys; sys.path.insert(0, {str(bundle)!r}); from run import Model; m = Model(); "
        f"print(json.dumps({code}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_list_is_answered_in_its_order_as_one_by_one(bundle: Path) -> None:
    """Of other lengths and other orders; a batch is padded to its longest, and the last one is not full."""
    texts = [" ".join(["good1", "bad2", "word3"][i % 3] for i in range(n)) for n in (9, 1, 14, 3, 2, 30, 5)]
    found = ask(
        bundle, f"[m.answers({texts}, s) for s in (1, 2, 32)] + [[m.answer(t) for t in {texts}], m.answers([])]"
    )
    *batched, one_by_one, none = found
    assert none == [] and one_by_one == batched[0]
    for answers in batched:
        assert [label for label, _ in answers] == [label for label, _ in one_by_one]
        assert [p for _, p in answers] == pytest.approx([p for _, p in one_by_one], abs=1e-6)
    for text, logits in zip(texts, ask(bundle, f"[x.tolist() for x in m.all_logits({texts})]"), strict=True):
        assert logits == pytest.approx(logits_of(bundle, text).tolist(), abs=1e-5)


def test_a_list_of_pairs_is_answered_and_a_list_of_anything_else_refused(tmp_path: Path, tiny_data: Path) -> None:
    run = make_run(tmp_path, tiny_data, text=["text", "pair"])
    assert edgeopt("bundle", run, "--count", 8, "--out", tmp_path / "b").code == 0
    pairs = [("good1 word2", "bad1"), ["bad3", "good4 word5 word6 word7"]]
    both, one = ask(tmp_path / "b", f"[m.answers({pairs}), [m.answer(*p) for p in {pairs}]]")
    assert [label for label, _ in both] == [label for label, _ in one]
    refusing = "import sys; sys.path.insert(0, {!r}); from run import Model; Model().answers({!r})"
    for wrong, said in (
        (["good1"], "reads 2 texts at a time, not 1"),
        ([("a", "b", "c")], "not 3"),
        ("good1", "list of queries"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", refusing.format(str(tmp_path / "b"), wrong)], capture_output=True, text=True
        )
        assert done.returncode == 1 and "ValueError" in done.stderr and said in done.stderr


def test_requirements_name_what_was_tested_and_what_it_was_made_with(bundle: Path) -> None:
    lines = (bundle / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("onnxruntime>=1.23.0,<=") and line.endswith(f"# {ort.__version__}") for line in lines)
    found = {
        name: {row["packages"][name] for row in json.loads(VERSIONS.read_text())["rows"] if row["passed"]}
        for name in TESTED
    }
    for name, (first, last) in TESTED.items():
        assert {first, last} <= found[name], f"{name}: only versions with which a self-test passed are named"


def test_run_py_serves_with_onnxruntime_and_tokenizers_alone(bundle: Path) -> None:
    absent = "dict.fromkeys(['torch', 'transformers', 'edgeopt', 'onnx'])"  # importing them fails
    here = f"sys.argv = sys.argv[1:]; sys.path[0] = {str(bundle)!r}"
    guard = f"import sys, runpy; sys.modules.update({absent}); {here}; runpy.run_path(sys.argv[0], run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", guard, bundle / "run.py", "good1 word3"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    label, probability = done.stdout.split()
    logits = logits_of(bundle, "good1 word3")
    shares = np.exp(logits) / np.exp(logits).sum()
    assert label == ["bad", "good"][int(logits.argmax())] and float(probability) == pytest.approx(
        shares.max(), abs=1e-4
    )
    wrong = subprocess.run([sys.executable, bundle / "run.py", "one", "two"], capture_output=True, text=True)
    assert wrong.returncode == 1 and "reads 1 text at a time" in wrong.stderr


def test_run_py_is_short() -> None:
    source = (DEVICE / "run.py").read_text()
    assert len([s for s in ast.walk(ast.parse(source)) if isinstance(s, ast.stmt) and not isinstance(s, ast.Expr)]) < 80


@pytest.mark.parametrize("args", [[], ["frobnicate"], ["selftest", "a", "b"]])
def test_device_says_how_it_is_called(args: list[str]) -> None:
    done = subprocess.run([sys.executable, str(DEVICE / "device.py"), *args], capture_output=True, text=True)
    assert (
        done.returncode == 2
        and done.stdout == ""
        and "python device.py selftest|profile [FOLDER]" in done.stderr
        and "Traceback" not in done.stderr
    )


@pytest.mark.parametrize("name", ["run.py", "device.py", "guard.py"])
def test_device_code_is_of_python_3_10(name: str) -> None:
    ast.parse((DEVICE / name).read_text(), feature_version=(3, 10))


def test_the_same_run_gives_the_same_zip_and_the_folder_the_same_manifest(
    run: Path, bundle: Path, tmp_path: Path
) -> None:
    for name in ("one.zip", "other.zip"):
        assert edgeopt("bundle", run, "--count", 8, "--out", tmp_path / name).code == 0
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.read("manifest.json") == (bundle / "manifest.json").read_bytes()
        assert archive.testzip() is None


def test_verify_runs_the_self_test_of_a_folder_and_of_a_zip(run: Path, bundle: Path, tmp_path: Path) -> None:
    assert edgeopt("bundle", run, "--count", 8, "--out", tmp_path / "b.zip").code == 0
    for path in (bundle, tmp_path / "b.zip"):
        done = edgeopt("bundle", "verify", path, "--json")
        assert done.code == 0, done.err
        assert (
            done.json["selftest"]["texts"] == 8
            and done.json["selftest"]["max_abs_diff"] <= done.json["selftest"]["tolerance"]
        )
        assert done.json["signed"] is None


def test_verify_runs_no_code_of_the_bundle(bundle: Path, tmp_path: Path) -> None:
    """run.py and device.py of a bundle whose manifest was made anew: the bytes are right, and they are not run."""
    evil = tmp_path / "evil"
    shutil.copytree(bundle, evil)
    for name in ("run.py", "device.py"):
        (evil / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    reseal(evil)
    assert edgeopt("bundle", "verify", evil).code == 0
    assert not (tmp_path / "ran").exists()


def test_a_model_that_answers_otherwise_is_refused(bundle: Path, tmp_path: Path, tiny_data: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(bundle, other)
    shutil.copyfile(make_run(tmp_path, tiny_data, seed=1) / "model" / MODEL, other / MODEL)
    reseal(other)
    done = edgeopt("bundle", "verify", other)
    assert done.code == 2 and "error[E143]" in done.err and "self-test failed" in done.err


def test_pairs_and_scores(tmp_path: Path, tiny_data: Path) -> None:
    run = make_run(tmp_path, tiny_data, width=1, type="text-regression", text=["text", "pair"], label="score")
    assert edgeopt("bundle", run, "--count", 4).code == 0
    assert edgeopt("bundle", "verify", run / "bundle.zip").code == 0
    with zipfile.ZipFile(run / "bundle.zip") as archive:
        archive.extractall(tmp_path / "out")
    done = subprocess.run(
        [sys.executable, tmp_path / "out" / "run.py", "good1", "word2"], capture_output=True, text=True
    )
    assert float(done.stdout) == pytest.approx(float(logits_of(tmp_path / "out", "good1", "word2")[0]), abs=1e-5)


def test_a_reranker_scores_a_query_and_a_passage(tmp_path: Path, tiny_data: Path) -> None:
    task = {"type": "reranking", "text": ["text", "pair"], "label": "score"}
    run = make_run(tmp_path, tiny_data, width=1, **task)
    make.make_bundle(run, tmp_path / "b", make.Wanted(count=4))
    assert edgeopt("bundle", "verify", tmp_path / "b").code == 0
    score, none = ask(tmp_path / "b", "m.answer('good1', 'word2')")
    assert none is None and score == pytest.approx(float(logits_of(tmp_path / "b", "good1", "word2")[0]), abs=1e-5)
    (row,) = predicted(tmp_path / "b", tmp_path, {"text": "good1", "pair": "word2"})
    assert row["prediction"] == pytest.approx(score, abs=1e-5)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """The bundle of an embedding model with prompts, of vectors of 4 numbers, beside its run."""
    made = tmp_path_factory.mktemp("embedder")
    run = make_run(made, tiny_data, width=4, type="embedding", text=["text", "pair"], label="score")
    (run / "model" / "embeddings.json").write_text('{"dimensions": 4}')
    seal_run(run)
    make.make_bundle(run, made / "bundle", make.Wanted(count=8))
    return made / "bundle"


def test_an_embedding_is_the_answer_behind_its_prompt(embedder: Path, tmp_path: Path) -> None:
    """The same by run.py in Python, on its command line, and by `edgeopt predict`; as the graph gives it."""
    assert edgeopt("bundle", "verify", embedder).code == 0
    query, passage = (logits_of(embedder, f"{word} good1 bad2").tolist() for word in ("word1", "word2"))
    assert query != passage
    one, other, many = ask(
        embedder, "[m.answer('good1 bad2'), m.answer('good1 bad2', passage=True), m.answers(['x', 'good1 bad2'])]"
    )
    assert one[1] is None and one[0] == pytest.approx(query, abs=1e-5) and many[1][0] == pytest.approx(query, abs=1e-5)
    assert other[0] == pytest.approx(passage, abs=1e-5)
    done = subprocess.run(
        [sys.executable, embedder / "run.py", "--passage", "good1 bad2"], capture_output=True, text=True
    )
    assert json.loads(done.stdout) == pytest.approx(passage, abs=1e-5), done.stderr
    for column, vector in (("text", query), ("pair", passage)):
        (row,) = predicted(embedder, tmp_path, {column: "good1 bad2"}, "--text", column)
        assert row["embedding"] == pytest.approx(vector, abs=1e-5)


def predicted(bundle: Path, folder: Path, row: dict[str, str], *options: object) -> list[Any]:
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
    done = edgeopt("predict", bundle, folder / "rows.jsonl", *options)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_the_manifest_of_an_embedding_and_its_files(embedder: Path) -> None:
    manifest = json.loads((embedder / "manifest.json").read_text())
    read = {"type": "embedding", "texts": 1, "columns": ["text", "pair"], "max_length": 16}
    told = {"output": "sentence_embedding", "vector": "embedding", "numbers": 4}
    assert manifest["task"] == {**read, **told} and manifest["labels"] == []
    assert {"config.json", "embeddings.json"} <= set(manifest["files"]), "its prompts, and how its numbers are stored"
    bill = json.loads(embedder.with_name("bundle.cdx.json").read_text())
    card = bill["metadata"]["component"]["modelCard"]["modelParameters"]
    assert (card["task"], card["outputs"]) == ("embedding", [{"format": "embedding"}])
    given = json.loads((embedder / "selftest.json").read_text())
    assert 0.2 <= given["tolerance"] <= 0.5 and {len(t) for t in given["texts"]} == {1}
    assert {name: np.shape(rows) for name, rows in given["prompts"].items()} == {"passage": (8, 4), "none": (8, 4)}


@pytest.mark.parametrize("change", ["graph", "prompt", "numbers", "tolerance", "prompts"])
def test_an_embedding_that_is_another_is_refused(embedder: Path, tmp_path: Path, tiny_data: Path, change: str) -> None:
    other = tmp_path / "other"
    shutil.copytree(embedder, other)
    code = "E143"
    if change == "graph":
        made = make_run(tmp_path, tiny_data, width=4, seed=1, type="embedding", text="text")
        shutil.copyfile(made / "model" / MODEL, other / MODEL)
    elif change == "prompt":
        config = json.loads((other / "config.json").read_text())
        config["edgeopt_embedding"]["query"] = "good3 good4 "
        (other / "config.json").write_text(json.dumps(config))
    else:  # too few numbers, or a tolerance by which any vector would pass
        given, code = json.loads((other / "selftest.json").read_text()), "E142"
        shorter = {"logits": [row[:2] for row in given["logits"]]}
        more = {"tolerance": 0.6}
        fewer = {"prompts": {"passage": given["logits"][:2]}}
        changed = {"numbers": shorter, "tolerance": more, "prompts": fewer}[change]
        (other / "selftest.json").write_text(json.dumps({**given, **changed}))
    reseal(other)
    assert f"error[{code}]" in edgeopt("bundle", "verify", other).err


def test_a_prompt_that_is_no_text_is_one_error(embedder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(embedder, other)
    config = json.loads((other / "config.json").read_text())
    config["edgeopt_embedding"]["query"] = 5
    (other / "config.json").write_text(json.dumps(config))
    reseal(other)
    (tmp_path / "rows.jsonl").write_text('{"text": "good1"}\n')
    done = edgeopt("predict", other, tmp_path / "rows.jsonl", "--text", "text")
    assert done.code == 2 and "error[E315]" in done.err
    assert "error[E143]" in edgeopt("bundle", "verify", other).err


@pytest.mark.parametrize(
    ("text", "label", "refused"), [(["text", "pair"], "score", True), ("text", None, False)], ids=["pairs", "texts"]
)
def test_cosines_of_pairs_are_those_that_were_measured(
    tmp_path: Path, tiny_data: Path, text: Any, label: str | None, refused: bool
) -> None:
    """A prompt that the run did not have is found where the run kept cosines; of single texts it kept none."""
    run = make_run(tmp_path, tiny_data, width=4, type="embedding", text=text, label=label)
    config = json.loads((run / "model" / "config.json").read_text())
    config["edgeopt_embedding"]["passage"] = "bad1 bad2 bad3 "
    (run / "model" / "config.json").write_text(json.dumps(config))
    seal_run(run)
    done = edgeopt("bundle", run, "--count", 8, "--out", tmp_path / "b")
    assert ("is not the model that the run measured" in done.err) == refused, done.err
    assert done.code == (2 if refused else 0)


def test_own_texts(run: Path, tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("good1 word1\n\nbad2\n")
    assert (
        edgeopt("bundle", run, "--texts", tmp_path / "own.txt", "--tolerance", 0.25, "--out", tmp_path / "b").code == 0
    )
    given = json.loads((tmp_path / "b" / "selftest.json").read_text())
    assert (given["texts"], given["tolerance"]) == ([["good1 word1"], ["bad2"]], 0.25)
    (tmp_path / "pairs.jsonl").write_text('["good1", "word1"]\n')
    done = edgeopt("bundle", run, "--texts", tmp_path / "pairs.jsonl", "--out", tmp_path / "c")
    assert (
        done.code == 2 and "error[E144]" in done.err and "pairs.jsonl:1" in done.err and not (tmp_path / "c").exists()
    )


def test_what_cannot_be_bundled(tmp_path: Path, tiny_data: Path) -> None:
    run = make_run(tmp_path, tiny_data)
    good = {n: (run / n).read_bytes() for n in ("recipe.lock", f"model/{MODEL}", "predictions.jsonl")}

    def refuses(code: str, *say: str, seal: bool = True) -> None:
        if seal:
            seal_run(run)
        done = edgeopt("bundle", run, "--out", tmp_path / "b")
        assert done.code == 2 and f"error[{code}]" in done.err and all(s in done.err for s in say), done.err
        assert not (tmp_path / "b").exists()
        for name, data in good.items():
            (run / name).write_bytes(data)
        seal_run(run)

    (tmp_path / "another").mkdir()
    (run / "model" / MODEL).write_bytes(
        (make_run(tmp_path / "another", tiny_data, seed=1) / "model" / MODEL).read_bytes()
    )
    refuses("E144", "not the model that the run measured")
    (run / "model" / MODEL).write_bytes(good[f"model/{MODEL}"].replace(b"Gather", b"Gathor"))
    refuses("E144", "cannot be opened")
    (run / "model" / MODEL).write_bytes(good[f"model/{MODEL}"] + b" ")
    refuses("E150", "the run ", f"model/{MODEL} has ", " bytes, and had ", seal=False)
    lock = json.loads(good["recipe.lock"])
    lock["recipe"]["resolved"]["task"].update(type="multiple-choice", choices="choices")
    (run / "recipe.lock").write_text(json.dumps(lock))
    refuses("E144", "multiple-choice")
    lock = json.loads(good["recipe.lock"])
    lock["recipe"]["resolved"]["task"]["dataset"]["path"] = str(tmp_path / "gone" / "rows")
    (run / "recipe.lock").write_text(json.dumps(lock))
    refuses("E151", "the rows that", f"dataset folder {tmp_path / 'gone' / 'rows'} does not exist", "--texts")
    (run / "recipe.lock").write_text('{"lock": 2}')
    refuses("E115", "damaged")


def test_out_is_never_something_else(run: Path, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.zip").write_text("my notes")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes").write_text("mine")
    for out in ("mine.zip", "folder"):
        done = edgeopt("bundle", run, "--count", 2, "--out", tmp_path / out)
        assert done.code == 2 and "error[E114]" in done.err
    assert (tmp_path / "mine.zip").read_text() == "my notes" and (tmp_path / "folder" / "notes").read_text() == "mine"
    shutil.copytree(bundle, tmp_path / "bundle")
    assert edgeopt("bundle", run, "--count", 2, "--out", tmp_path / "bundle").code == 0, "an earlier bundle is replaced"
    assert len(json.loads((tmp_path / "bundle" / "selftest.json").read_text())["texts"]) == 2
    assert {p.name for p in tmp_path.iterdir()} == {"mine.zip", "folder", "bundle", "bundle.cdx.json"}


@pytest.mark.parametrize(
    ("files", "expect"),
    [
        ({"README.md": "---\ntags: [x]\nlicense: apache-2.0\n---\n# m\n"}, {"id": "apache-2.0", "file": None}),
        ({"README.md": "no front matter\nlicense: mit\n", "LICENSE": "the text"}, {"id": None, "file": "LICENSE"}),
        ({}, None),
    ],
)
def test_the_license_is_that_of_the_model_folder(
    files: dict[str, str], expect: object, tmp_path: Path, tiny_data: Path
) -> None:
    (tmp_path / "model").mkdir()
    save_file({"w": np.zeros(2, np.float32)}, tmp_path / "model" / "model.safetensors")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model" / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]")
    for name, text in files.items():
        (tmp_path / "model" / name).write_text(text)
    run = make_run(tmp_path, tiny_data, model=tmp_path / "model")
    done = edgeopt("bundle", run, "--count", 1, "--out", tmp_path / "b")
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["license"] == expect
    assert ("license of the model is unknown" in done.err) == (expect is None)
    if "LICENSE" in files:
        assert (tmp_path / "b" / "LICENSE").read_text() == "the text"
        (tmp_path / "model" / "config.json").write_text((tmp_path / "model" / "config.json").read_text() + "\n")
        assert make_and_read(run, tmp_path / "c") is None, "that folder holds another model now"
        assert edgeopt("bundle", run, "--count", 1, "--license", "mit", "--out", tmp_path / "d").err == ""


def make_and_read(run: Path, out: Path) -> object:
    make.make_bundle(run, out, make.Wanted(count=1))
    return json.loads((out / "manifest.json").read_text())["license"]


def test_keys_and_signatures(run: Path, bundle: Path, keys: Path, tmp_path: Path) -> None:
    public = keys.with_name("key.pub")
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600 and public.read_text().startswith("-----BEGIN PUBLIC KEY-----")
    assert edgeopt("bundle", run, "--count", 2, "--sign", keys, "--out", tmp_path / "b.zip").code == 0
    done = edgeopt("bundle", "verify", tmp_path / "b.zip", "--key", public, "--json")
    assert done.code == 0 and done.json["signed"] is True
    assert edgeopt("bundle", "verify", tmp_path / "b.zip", "--json").json["signed"] is False
    assert "error[E141]" in edgeopt("bundle", "verify", bundle, "--key", public).err, (
        "an unsigned one, where a key is asked for"
    )
    again = edgeopt("bundle", "keygen", keys)
    assert again.code == 2 and "error[E141]" in again.err and "never overwritten" in again.err
    open_key = tmp_path / "open"
    open_key.write_bytes(keys.read_bytes())
    open_key.chmod(0o644)
    done = edgeopt("bundle", run, "--sign", open_key, "--out", tmp_path / "c.zip")
    assert done.code == 2 and "chmod 600" in done.err and not (tmp_path / "c.zip").exists()


def test_without_cryptography_signing_says_what_to_install(
    run: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives", None)
    done = edgeopt("bundle", run, "--count", 1, "--sign", keys, "--out", tmp_path / "b")
    assert done.code == 2 and "pip install '.[sign]'" in done.err and not (tmp_path / "b").exists()


def test_openssl_agrees(run: Path, keys: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    assert edgeopt("bundle", run, "--count", 1, "--sign", keys, "--out", tmp_path / "b").code == 0
    verify = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        keys.with_name("key.pub"),
        "-rawin",
        "-sigfile",
        tmp_path / "b" / "manifest.sig",
    ]
    assert subprocess.run([*verify, "-in", tmp_path / "b" / "manifest.json"], capture_output=True).returncode == 0
    assert subprocess.run([*verify, "-in", tmp_path / "b" / "session.json"], capture_output=True).returncode != 0


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--tolerance", "nan", "is no number"),
        ("--license", "no/such/LICENSE", "neither a file nor an identifier"),
        ("--license", ".", "neither a file nor an identifier"),
        ("--license", " ", "neither a file nor an identifier"),
        ("--texts", "/dev/zero", "is larger than 16 MB"),
        ("--sign", "/dev/zero", "E141"),
    ],
)
def test_what_is_no_answer_to_a_flag(run: Path, tmp_path: Path, flag: str, value: str, said: str) -> None:
    """Found from outside: a bundle with such a tolerance could be verified nowhere, and /dev/zero filled the memory."""
    done = edgeopt("bundle", run, flag, value, "--out", tmp_path / "b")
    assert done.code == 2 and said in done.err and not (tmp_path / "b").exists()
