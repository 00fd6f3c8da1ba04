"""The main job on a tiny model: everything a run leaves, checked without edgeopt's own measuring code."""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import quick
from e2e.running import TRAINING, Applied, recipe_for
from helpers import edgeopt, write_rows
from sklearn.metrics import accuracy_score, f1_score
from tokenizers import Tokenizer

from edgeopt.export.session import open_session
from edgeopt.results.model import Report

STEPS = [
    {
        "id": "adapt",
        "use": "adapter.lora",
        "r": 4,
        "epochs": 1,
        "learning_rate": 1e-3,
        "batch_size": 8,
        "target_modules": "all-linear",
    },
    {"id": "merge", "use": "merge"},
    {"id": "heal", "use": "finetune", **TRAINING},
    {
        "id": "prune",
        "use": "prune.magnitude",
        "amount": 0.3,
        "scope": "layer",
        "recover": {"epochs": 1, "batch_size": 8},
    },
    {"id": "int8", "use": "quantize.static", "calibration": {"samples": 16}},
]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_data: Path) -> Path:
    return recipe_for(
        tmp_path_factory.mktemp("recipe"),
        tiny_model,
        tiny_data,
        steps=STEPS,
        export=[{"format": "onnx", "options": {"optimized": True}}],
    )


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Applied:
    work = tmp_path_factory.mktemp("applied")
    with quick.latency(real=True):
        done = edgeopt("apply", recipe, "--out", work / "run", "--store", work / "store")
    assert done.code == 0, done.err
    return Applied(recipe, work / "run", work / "store", done)


def again(
    applied: Applied, *more: object, recipe: Path | None = None, out: Path | None = None
) -> tuple[int, dict[str, bool], str]:
    """Apply once more: (exit code, {candidate step: was it cached}, stderr)."""
    folder = out or applied.out
    done = edgeopt("apply", recipe or applied.recipe, "--out", folder, "--store", applied.store, *more)
    path = folder / "report.json"
    steps = json.loads(path.read_text())["steps"] if path.exists() else []
    return done.code, {s["id"]: s["cached"] for s in steps if s["chain"] == "candidate"}, done.err


def test_the_run_folder_is_whole(applied: Applied) -> None:
    names = {p.relative_to(applied.out).as_posix() for p in applied.out.rglob("*") if p.is_file()}
    assert {
        "report.json",
        "report.md",
        "report.html",
        "predictions.jsonl",
        "recipe.lock",
        "log.txt",
        "latency.json",
        "model/config.json",
        "model/tokenizer.json",
        "model/README.md",
        "model/session.json",
        "model/onnx/model.onnx",
        "model/onnx/model_quantized.onnx",
        "model/onnx/model_optimized.onnx",
    } <= names
    assert applied.done.out.strip().splitlines()[-1] == str(applied.out / "report.html")
    assert not [p for p in applied.out.parent.iterdir() if p.name.startswith(".")]


def test_an_independent_script_gets_the_reported_metric_to_the_digit(applied: Applied, tiny_data: Path) -> None:
    tokenizer = Tokenizer.from_file(str(applied.out / "model" / "tokenizer.json"))
    tokenizer.enable_truncation(32)
    session = ort.InferenceSession(applied.out / "model" / "onnx" / "model_quantized.onnx")
    wanted = {i.name for i in session.get_inputs()}
    rows = [json.loads(line) for line in (tiny_data / "validation.jsonl").read_text().splitlines()]
    predicted = []
    for row in rows:
        e = tokenizer.encode(row["text"])
        feed = {"input_ids": e.ids, "attention_mask": e.attention_mask, "token_type_ids": e.type_ids}
        predicted.append(int(session.run(None, {k: np.array([v]) for k, v in feed.items() if k in wanted})[0].argmax()))
    report = json.loads((applied.out / "report.json").read_text())
    names = report["task"]["labels"]
    truth = [names.index(str(r["label"])) for r in rows]
    assert report["candidate"]["metrics"] == {
        "accuracy": accuracy_score(truth, predicted),
        "f1": f1_score(truth, predicted),
    }
    logged = [json.loads(line) for line in (applied.out / "predictions.jsonl").read_text().splitlines()]
    assert [int(np.argmax(r["candidate"])) for r in logged] == predicted
    assert [r["label"] for r in logged] == truth


def test_the_model_learned(applied: Applied) -> None:
    report = json.loads((applied.out / "report.json").read_text())
    assert report["baseline"]["metrics"]["accuracy"] > 0.9
    assert report["candidate"]["metrics"]["accuracy"] > 0.8


def test_report_json_holds_what_it_promises(applied: Applied) -> None:
    raw = json.loads((applied.out / "report.json").read_text())
    report = Report.model_validate(raw)
    assert report.verdict == "pass"
    assert {"metrics", "size_bytes", "parameters", "nonzero"} <= raw["baseline"].keys() & raw["candidate"].keys()
    assert report.candidate.size_bytes == (applied.out / "model" / "onnx" / "model_quantized.onnx").stat().st_size
    assert report.candidate.nonzero < report.candidate.parameters == report.baseline.parameters
    assert {m.subject for m in report.latency} == {"candidate", "baseline", "baseline-torch"}
    assert all(m.p50_ms <= m.p90_ms and m.p99_ms is None and m.queries >= 64 and m.threads == 1 for m in report.latency)
    assert all(0 <= p.max_abs_diff <= p.tolerance for p in report.parity)
    assert [s.id for s in report.steps if s.chain == "candidate"] == [
        "load",
        "adapt",
        "merge",
        "heal",
        "prune",
        "onnx",
        "int8",
    ]
    assert next(s for s in report.steps if s.id == "prune").figures["sparsity"] == pytest.approx(0.3, abs=0.01)
    assert next(s for s in report.steps if s.id == "int8").figures["sparsity"] >= 0.295


def test_zeros_survive_to_the_shipped_graph(applied: Applied) -> None:
    graph = onnx.load(str(applied.out / "model" / "onnx" / "model_quantized.onnx")).graph
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    dequantized = {
        n.output[0]: constants[n.input[0]]
        for n in graph.node
        if n.op_type == "DequantizeLinear" and n.input[0] in constants
    }
    weights = [
        dequantized[n.input[1]]
        for n in graph.node
        if n.op_type == "Gemm" and "/layer." in n.name and n.input[1] in dequantized
    ]
    assert len(weights) == 2 * 6
    assert all(w.dtype == np.int8 for w in weights)
    zeros = sum(int((w == 0).sum()) for w in weights) / sum(w.size for w in weights)
    assert zeros >= 0.29


def test_both_graphs_answer_alike_with_their_session_options_and_only_the_optimized_one_is_fused(
    applied: Applied,
) -> None:
    model = applied.out / "model"
    options = json.loads((model / "session.json").read_text())
    assert set(options) == {"onnx/model_quantized.onnx", "onnx/model_optimized.onnx"}
    assert options["onnx/model_optimized.onnx"]["graph_optimization_level"] == "ORT_DISABLE_ALL"
    ids = np.arange(5, 15).reshape(2, 5)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    answers = []
    for name, chosen in options.items():
        session = open_session(model / name, chosen)
        answers.append(
            session.run(None, {k: v for k, v in feed.items() if k in {i.name for i in session.get_inputs()}})[0]
        )
    np.testing.assert_array_equal(*answers)
    kinds = [
        {n.op_type for n in onnx.load(model / name).graph.node}
        for name in ("onnx/model_quantized.onnx", "onnx/model_optimized.onnx")
    ]
    assert "QGemm" in kinds[1] - kinds[0]


def test_the_report_says_what_the_options_bring_and_how_long_starts_take(applied: Applied) -> None:
    report = Report.model_validate_json((applied.out / "report.json").read_text())
    assert [(s.subject, s.target) for s in report.sessions] == [("baseline", "brief"), ("candidate", "brief")]
    shipped = json.loads((applied.out / "model" / "session.json").read_text())
    assert report.sessions[1].options == shipped["onnx/model_quantized.onnx"]
    assert all((s.ratio is None) == (s.options == {"intra_op_num_threads": 1}) for s in report.sessions)
    assert report.optimized is not None
    for each in (report.baseline.starts, report.candidate.starts, report.optimized.starts):
        assert each is not None and len(each.ms) == len(each.peak_bytes) >= 3
    assert report.candidate.starts is not None
    assert report.candidate.cold_start_ms == np.median(report.candidate.starts.ms)
    text = (applied.out / "report.md").read_text()
    assert "## Session options" in text and "model/onnx/model_optimized.onnx is only for the processor" in text


def test_gates_on_starts_have_bounds(applied: Applied) -> None:
    gates = "[{metric: start.cold, max_ratio: 1000}, {metric: memory.peak, max_ratio: 1000, confidence: 0.9}]"
    decided = edgeopt("gate", applied.out, "--recipe", applied.recipe, "--set", f"gates={gates}", "--json").json[
        "gates"
    ]
    assert all(g["verdict"] == "pass" and g["low"] <= g["value"] <= g["high"] for g in decided)
    assert decided[0]["low"] < decided[0]["high"]


def test_typed_again_it_is_finished_and_nothing_is_done(applied: Applied, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in applied.out.rglob("*")}
    with patch("edgeopt.run.apply.execute_seeds", side_effect=AssertionError("something was built")):
        done = edgeopt("apply", applied.recipe, "--out", applied.out, "--store", tmp_path / "another store", "--json")
    assert (done.code, done.json["verdict"], done.json["kept"]) == (
        0,
        "pass",
        True,
    ) and "finished before and unchanged" in done.err
    assert {p: p.stat().st_mtime_ns for p in applied.out.rglob("*") if p != applied.out} == {
        p: t for p, t in before.items() if p != applied.out
    }


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (["--set", "diagnostics.flips=3"], "diagnostics.flips: 10 → 3"),
        (["--remeasure"], ""),
        (["--set", "gates=[{metric: size, max_mb: 7}]"], "recipe.resolved.gates"),
        (
            ["--set", "targets=[{name: brief, queries: 65, max_seconds: 8, sequence: [16]}]"],
            "targets.brief.queries: 64 → 65",
        ),
    ],
)
def test_what_changed_is_measured_again_and_says_why(applied: Applied, change: list[str], why: str) -> None:
    with patch("edgeopt.run.apply.execute_seeds", side_effect=RuntimeError("it began")):
        done = edgeopt("apply", applied.recipe, "--out", applied.out, "--store", applied.store, *change)
    assert "it began" in done.err and why in done.err and ("run again: " in done.err) == bool(why)
    assert edgeopt("gate", applied.out).code == 0, "the run is as it was"


def test_a_run_of_another_machine_is_not_finished_here(applied: Applied) -> None:
    with (
        patch("edgeopt.run.apply.execute_seeds", side_effect=RuntimeError),
        patch("edgeopt.support.host.cpu_name", lambda: "Another CPU"),
    ):
        done = edgeopt("apply", applied.recipe, "--out", applied.out, "--store", applied.store)
    assert "run again: another machine: cpu " in done.err and "≠ Another CPU" in done.err


def test_remeasured_it_reuses_every_step_and_leaves_what_lies_beside(applied: Applied) -> None:
    (applied.out / "notes.txt").write_text("mine")
    created = json.loads((applied.out / "report.json").read_text())["created"]
    time.sleep(1)  # reports say when they were made to the second
    code, cached, _ = again(applied, "--remeasure")
    assert code == 0
    assert all(cached.values()), cached
    assert (applied.out / "notes.txt").read_text() == "mine" and json.loads((applied.out / "report.json").read_text())[
        "created"
    ] > created
    assert edgeopt("gate", applied.out).code == 0
    (applied.out / "notes.txt").unlink()


def test_editing_the_last_step_reuses_the_earlier_ones(applied: Applied, tmp_path: Path) -> None:
    plan = edgeopt(
        "plan", applied.recipe, "--store", applied.store, "--set", "steps.int8.calibration.samples=24", "--json"
    )
    steps = {s["id"]: s for s in json.loads(plan.out)["steps"] if s["chain"] == "candidate"}
    assert steps["int8"]["status"] == "stale"
    assert "calibration.samples 16 → 24" in steps["int8"]["why"]
    code, cached, _ = again(applied, "--set", "steps.int8.calibration.samples=24", out=tmp_path / "run")
    assert code == 0
    assert [k for k, v in cached.items() if not v] == ["int8"]
    assert json.loads((tmp_path / "run" / "report.json").read_text())["recipe"]["overrides"] == [
        "steps.int8.calibration.samples=24"
    ]


def test_comments_and_order_of_keys_do_not_make_a_step_stale(applied: Applied, tmp_path: Path) -> None:
    other = applied.recipe.parent / "commented.yaml"
    lines = applied.recipe.read_text().splitlines()
    other.write_text("# a comment\n" + "\n".join(lines[1:] + lines[:1]) + "\n")
    plan = edgeopt("plan", other, "--store", applied.store, "--json")
    assert {s["status"] for s in json.loads(plan.out)["steps"]} == {"cached"}


def test_a_damaged_state_is_found_and_rebuilt(applied: Applied, tmp_path: Path) -> None:
    shutil.copytree(applied.store, tmp_path / "store")
    copy = Applied(applied.recipe, tmp_path / "run", tmp_path / "store", applied.done)
    plan = json.loads(edgeopt("plan", copy.recipe, "--store", copy.store, "--json").out)["steps"]
    key = next(s["key"] for s in plan if s["id"] == "prune")
    path = copy.store / "states" / key / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)
    after = {
        s["id"]: s
        for s in json.loads(edgeopt("plan", copy.recipe, "--store", copy.store, "--json").out)["steps"]
        if s["chain"] == "candidate"
    }
    assert (after["prune"]["status"], after["prune"]["why"]) == (
        "stale",
        "its state is damaged: model.safetensors is not as it was written",
    )
    code, cached, _ = again(copy)
    assert code == 0
    assert [k for k, v in cached.items() if not v] == ["prune"]  # rebuilt to the same bytes, so what follows still fits


def test_locked_accepts_the_same_and_refuses_drift(applied: Applied, tmp_path: Path) -> None:
    lock = applied.out / "recipe.lock"
    code, _, err = again(applied, "--lock", lock, "--locked", out=tmp_path / "same")
    assert code == 0, err
    code, _, err = again(applied, "--locked", "--lock", lock, "--set", "steps.prune.amount=0.4", out=tmp_path / "other")
    assert code == 2
    assert "E117" in err
    assert "amount: 0.3 → 0.4" in err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("gate", "code", "verdict"),
    [
        ("{metric: size, max_ratio: 0.99}", 0, "pass"),
        ("{metric: size, max_mb: 0.001}", 1, "fail"),
        ("{metric: accuracy, max_drop: 0.0}", 4, "inconclusive"),
        ("{metric: accuracy, min: 1.0}", 1, "fail"),
        ("{metric: latency.p99, max_ratio: 1000}", 4, "inconclusive"),
        ("{metric: latency.p50, min_speedup: 1.0e-3, against: torch}", 0, "pass"),
        ("{metric: latency.p50, max_ratio: 1.0e-6}", 1, "fail"),
        ("{metric: memory.peak, max_mb: 100000}", 0, "pass"),
        ("{metric: start.cold, max_ratio: 1.0e-6}", 1, "fail"),
    ],
)
def test_gates_on_a_finished_run(applied: Applied, gate: str, code: int, verdict: str) -> None:
    done = edgeopt("gate", applied.out, "--recipe", applied.recipe, "--set", f"gates=[{gate}]", "--json")
    decided = json.loads(done.out)
    assert (done.code, decided["verdict"]) == (code, verdict), decided


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            ["targets=[{name: phone, sequence: [16]}]", "gates=[{metric: latency.p50, max_ratio: 1000}]"],
            "measure target 'phone', but brief",
        ),
        (
            [
                "targets=[{name: phone, sequence: [16]}, {name: brief}]",
                "gates=[{metric: latency.p50, max_ratio: 1000}]",
            ],
            "measure target 'phone', but brief",
        ),
        (
            ["targets=[{name: brief, threads: 2, sequence: [16]}]", "gates=[{metric: latency.p50, max_ratio: 1000}]"],
            "'brief' with threads 2 (it has 1)",
        ),
        (["targets=[{name: brief, sequence: [32]}]", "gates=[{metric: latency.p50, max_ratio: 1000}]"], "sequence 32"),
        (["task.max_length=16", "gates=[{metric: accuracy, max_drop: 0.5}]"], "task.max_length: 32 → 16"),
        (["task.dataset.path=FEW", "gates=[{metric: accuracy, max_drop: 0.5}]"], "rows: the fingerprint of"),
        (["task.dataset.path=FEW", "gates=[{metric: size, max_ratio: 1}]"], ""),
        (["task.dataset.path=COPY", "gates=[{metric: accuracy, max_drop: 0.5}]"], ""),
    ],
)
def test_gates_of_another_recipe_are_decided_on_what_that_means_or_not_at_all(
    applied: Applied, tiny_data: Path, tmp_path: Path, changes: list[str], said: str
) -> None:
    few, copy = write_rows(tmp_path / "few", train=4, validation=8), shutil.copytree(tiny_data, tmp_path / "copy")
    flags = [part for c in changes for part in ("--set", c.replace("FEW", str(few)).replace("COPY", str(copy)))]
    done = edgeopt("gate", applied.out, "--recipe", applied.recipe, *flags)
    assert (done.code, "error[E118]" in done.err) == ((2, True) if said else (0, False)), done.err
    assert said in done.err


def test_a_failed_gate_leaves_artifact_and_report(applied: Applied, tmp_path: Path) -> None:
    code, _, _ = again(applied, "--set", "gates=[{metric: size, max_mb: 0.001}]", out=tmp_path / "run")
    assert code == 1
    assert (tmp_path / "run" / "model" / "onnx" / "model_quantized.onnx").is_file()
    assert json.loads((tmp_path / "run" / "report.json").read_text())["gates"][0]["verdict"] == "fail"


def test_cache_lists_and_collects(applied: Applied, tmp_path: Path) -> None:
    shutil.copytree(applied.store, tmp_path / "store")
    listed = json.loads(edgeopt("cache", "ls", "--store", tmp_path / "store", "--json").out)
    assert {s["use"] for s in listed} >= {
        "load",
        "finetune",
        "adapter.lora",
        "merge",
        "prune.magnitude",
        "lower.onnx",
        "quantize.static",
    }
    (tmp_path / "store" / "building" / f"{listed[0]['key']}.left").mkdir()
    assert edgeopt("cache", "gc", "--store", tmp_path / "store").code == 0
    assert not list((tmp_path / "store" / "building").iterdir())
    assert len(json.loads(edgeopt("cache", "ls", "--store", tmp_path / "store", "--json").out)) == len(listed)
    assert edgeopt("cache", "gc", "--all", "--store", tmp_path / "store").code == 0
    assert json.loads(edgeopt("cache", "ls", "--store", tmp_path / "store", "--json").out) == []


def test_a_step_of_a_run_becomes_a_folder_that_transformers_loads(applied: Applied, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    out = tmp_path / "model"
    done = edgeopt("cache", "export", applied.out, "heal", "--out", out, "--store", applied.store)
    assert (done.code, done.err) == (0, "")
    _, info = AutoModelForSequenceClassification.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"] and AutoTokenizer.from_pretrained(out)("good1")["input_ids"]
    for step, said in (("nothing", "has no step 'nothing'"), ("adapt", "has an unmerged adapter")):
        done = edgeopt("cache", "export", applied.out, step, "--out", tmp_path / "other", "--store", applied.store)
        assert done.code == 2 and said in done.err
    done = edgeopt("cache", "export", applied.out, "heal", "--out", tmp_path / "other", "--store", tmp_path / "none")
    assert done.code == 2 and "does not have what step 'heal' left" in done.err


def test_a_step_that_changes_nothing_fails(applied: Applied, tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    steps = [{"id": "ft", "use": "finetune", "max_steps": 3}, {"id": "none", "use": "prune.magnitude", "amount": 1e-9}]
    recipe = recipe_for(tmp_path, tiny_model, tiny_data, steps=steps)
    done = edgeopt("apply", recipe, "--out", tmp_path / "run", "--store", applied.store)
    assert done.code == 3
    assert "error[E402]: step 'none'" in done.err
    assert not (tmp_path / "run").exists()


def test_the_run_is_bundled_and_its_bundle_gives_the_logits_of_the_run(applied: Applied, tmp_path: Path) -> None:
    assert edgeopt("bundle", applied.out, "--count", 6, "--out", tmp_path / "b.zip").code == 0
    done = edgeopt("bundle", "verify", tmp_path / "b.zip", "--json")
    assert done.code == 0 and done.json["selftest"]["texts"] == 6, done.err
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        given = json.loads(archive.read("selftest.json"))
        assert (
            archive.read("onnx/model_quantized.onnx")
            == (applied.out / "model" / "onnx" / "model_quantized.onnx").read_bytes()
        )
    measured = [
        row["candidate"] for row in map(json.loads, (applied.out / "predictions.jsonl").read_text().splitlines())
    ]
    assert all(np.abs(np.array(measured) - logits).max(1).min() <= given["tolerance"] for logits in given["logits"])
