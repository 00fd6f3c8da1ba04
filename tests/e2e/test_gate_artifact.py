"""Gates on a finished model alone, and the baselines that it is compared with, against what the run itself measured."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import quick
import yaml
from e2e.running import BRIEF, TRAINING, Applied, recipe_for
from helpers import edgeopt, edgeopt_process, tiny_task, write_rows

from edgeopt.gates.baseline_file import read_baseline, write_baseline
from edgeopt.measure import latency
from edgeopt.measure.latency import SITTINGS
from edgeopt.support.host import cpu_name

GATES = [
    {"metric": "accuracy", "max_drop": 0.2},
    {"metric": "f1", "max_drop": 0.2},
    {"metric": "size", "max_ratio": 0.9},
    {"metric": "latency.p50", "min_speedup": 0.01},
]
#: Enough to be better than always the same class: a drop from a model that is not passes no gate.
LEARNS = TRAINING
#: Measured no longer than needed for some sittings: what is asserted holds for few queries too.
TARGET = {**BRIEF, "max_seconds": 4}
#: That target, named after this machine's processor, as bounds in milliseconds ask for.
HERE = ("--set", f"targets={json.dumps([{**TARGET, 'device': cpu_name()}])}")
#: Those that have the same value wherever they are measured.
SURE = ("accuracy", "f1", "size")


@dataclass(frozen=True)
class Made:
    """A run, and of its recipe the baseline as a file and as a model."""

    run: Applied
    file: Path
    fp32: Path

    def gate(self, *more: object, against: Path | None = None, recipe: Path | None = None) -> Any:
        return edgeopt(
            "gate",
            self.run.out / "model",
            "--recipe",
            recipe or self.run.recipe,
            "--against",
            against or self.file,
            "--json",
            *more,
        )


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """For gates of which no more is asked than what they say about times, or nothing."""
    monkeypatch.setattr(latency, "run_worker", quick.answer)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_data: Path) -> Made:
    work = tmp_path_factory.mktemp("gated")
    recipe = recipe_for(
        work,
        tiny_model,
        tiny_data,
        steps=[{"id": "tune", "use": "finetune", **LEARNS}, {"id": "int8", "use": "quantize.dynamic"}],
        baseline={"finetune": LEARNS},
        gates=GATES,
        targets=[TARGET],
    )
    done = edgeopt("apply", recipe, "--out", work / "run", "--store", work / "store", "--junit", work / "apply.xml")
    assert done.code in (0, 1, 4), done.err
    built = edgeopt(
        "baseline", recipe, "--out", work / "baseline.json", "--model", work / "fp32", "--store", work / "store"
    )
    assert built.code == 0, built.err
    assert "…" not in built.err.split("latency")[0].partition("baseline.load")[2]  # every step was there already
    return Made(Applied(recipe, work / "run", work / "store", done), work / "baseline.json", work / "fp32")


def decided(gates: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    return {
        g["metric"]: (g["verdict"], g["value"], g["low"], g["high"], g["line"]) for g in gates if g["metric"] in SURE
    }


@pytest.mark.parametrize("against", ["file", "fp32"])
def test_a_model_alone_has_the_verdicts_of_its_run(made: Made, against: str) -> None:
    report = json.loads((made.run.out / "report.json").read_text())
    done = made.gate(against=getattr(made, against))
    assert done.code in (0, 1, 4), done.err
    assert decided(done.json["gates"]) == decided(report["gates"])
    timed = done.json["gates"][-1]
    assert (timed["target"], timed["sequence"]) == ("brief", 16)
    busy = ("drifted", "p50 needs 64")  # a machine that does something else besides
    assert timed["verdict"] == "pass" or any(words in timed["reason"] for words in busy)
    assert ("side by side" in timed["reason"]) == (against == "file")


def test_times_of_another_tokenizers_tokens_are_not_compared(made: Made, tmp_path: Path) -> None:
    """A tokenizer that ends each text four times makes the weights slower, and they would be timed on other tokens."""
    other = shutil.copytree(made.run.out / "model", tmp_path / "other")
    path = other / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    (cls, first), (sep, last) = tokenizer["post_processor"]["cls"], tokenizer["post_processor"]["sep"]
    template = [
        {"SpecialToken": {"id": cls, "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        *[{"SpecialToken": {"id": sep, "type_id": 0}}] * 4,
    ]
    tokens = {name: {"id": name, "ids": [number], "tokens": [name]} for name, number in ((cls, first), (sep, last))}
    path.write_text(
        json.dumps(
            {
                **tokenizer,
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": template,
                    "pair": template,
                    "special_tokens": tokens,
                },
            }
        )
    )
    arguments = ("gate", other, "--recipe", made.run.recipe, "--against", made.fp32, "--json")
    done = edgeopt(*arguments)
    assert done.code == 2 and "E208" in done.out and "first of row 1" in done.out
    done = edgeopt(*arguments, "--set", "gates=[{metric: accuracy, max_drop: 0.9}]")
    assert done.code != 2 and "E208" not in done.out, "what is not timed has its own tokens"


def test_a_model_that_is_compared_with_itself_does_not_pass(made: Made, tmp_path: Path) -> None:
    import xml.etree.ElementTree as ET

    absolute, compares = "{metric: size, max_mb: 1000}", "{metric: accuracy, max_drop: 0.9}"
    for baseline in (made.fp32, made.file):
        arguments = (
            "gate",
            made.fp32,
            "--recipe",
            made.run.recipe,
            "--against",
            baseline,
            "--junit",
            tmp_path / "g.xml",
        )
        done = edgeopt(*arguments, "--set", f"gates=[{absolute}, {compares}]")
        assert done.code == 4 and "the baseline is the same model as the candidate" in done.out, done
        assert done.out.startswith("model: fp32/onnx/model.onnx against "), done.out
        told = ET.parse(tmp_path / "g.xml").getroot().find(".//property")
        assert told is not None and (told.get("value") or "").startswith("fp32/onnx/model.onnx against ")
        done = edgeopt(*arguments, "--set", f"gates=[{absolute}]", "--json")
        assert (done.code, done.json["warnings"]) == (0, []), done
    named = edgeopt("gate", made.run.out, "--json").json["model"]
    assert named == json.loads((made.run.out / "report.json").read_text())["candidate"]["artifact"]


@pytest.mark.usefixtures("made_up")
def test_the_recipe_of_the_run_is_the_default(made: Made) -> None:
    for path in (made.run.out / "model", made.run.out, made.run.out / "model/onnx/model_quantized.onnx"):
        done = edgeopt("gate", path, "--against", made.file, "--json")
        assert decided(done.json["gates"]).keys() == set(SURE), done.err


REFUSING = """
import sys
absent = "torch transformers datasets peft accelerate safetensors sklearn scipy pyarrow".split()
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
"""


def without_torch(folder: Path, *args: object) -> Any:
    """The command in a process, whose children are alike, that cannot import what trains."""
    import os

    (folder / "sitecustomize.py").write_text(REFUSING)
    return edgeopt_process(*args, PYTHONPATH=os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


def test_no_torch_is_needed(made: Made, tmp_path: Path) -> None:
    gates = (
        "gates=[{metric: accuracy, max_drop: 0.2}, {metric: f1, max_drop: 0.2}, {metric: latency.p50, max_ms: 1000}, "
        "{metric: memory.peak, max_mb: 5000}]"
    )
    done = without_torch(
        tmp_path,
        "gate",
        made.run.out / "model",
        "--recipe",
        made.run.recipe,
        *HERE,
        "--set",
        gates,
        "--against",
        made.fp32,
        "--json",
    )
    assert done.code in (0, 1, 4), done.err
    assert all(g["value"] > 0 for g in done.json["gates"][2:])
    refused = without_torch(
        tmp_path, "baseline", made.run.recipe, "--out", tmp_path / "b.json", "--store", tmp_path / "store"
    )
    assert refused.code == 2 and "E206" in refused.err and not (tmp_path / "b.json").exists()


def test_a_baseline_is_what_the_run_measured_and_is_signed_by_its_digest(made: Made) -> None:
    text = made.file.read_text(encoding="utf-8")
    content = json.loads(text)
    digest = content.pop("sha256")
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    assert hashlib.sha256(canonical.encode()).hexdigest() == digest
    report = json.loads((made.run.out / "report.json").read_text())
    rows = [json.loads(line) for line in (made.run.out / "predictions.jsonl").read_text().splitlines()]
    assert content["outputs"] == [r["baseline"] for r in rows]
    assert content["subject"]["metrics"] == report["baseline"]["metrics"]
    assert content["task"]["fingerprint"] == report["task"]["fingerprint"]
    assert content["torch"]["device"] == "cpu" and content["torch"]["max_abs_diff"] < 1e-4
    assert {m["subject"] for m in content["latency"]} == {"baseline", "baseline-torch", "twin"}
    assert all(len(m["sittings"]) == SITTINGS and sum(m["sittings"]) == len(m["samples"]) for m in content["latency"])
    assert content["graph"] == hashlib.sha256((made.fp32 / "onnx/model.onnx").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace('"value', '"valve', 1) + " ",
        lambda t: t.replace("0.", "1.", 1),
        lambda t: t + "\n",
        lambda t: "[1]",
    ],
)
def test_a_changed_byte_is_noticed(made: Made, tmp_path: Path, change: Any) -> None:
    (tmp_path / "b.json").write_text(change(made.file.read_text()))
    done = made.gate(against=tmp_path / "b.json")
    assert (done.code, done.json["errors"][0]["code"]) == (2, "E132")


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("task.max_length=8", "encoding"),
        ("task.dataset.max_rows.validation=50", "rows"),
        ("task.label=score", "classes"),
        ("seed=7", "training"),
        ("baseline.finetune.max_steps=7", "training"),
    ],
)
def test_a_baseline_of_something_else_is_refused(made: Made, setting: str, what: str) -> None:
    more = (
        ["--set", "task.type=text-regression", "--set", "gates=[{metric: pearson, max_drop: 0.1}]"]
        if what == "classes"
        else []
    )
    done = made.gate("--set", setting, *more)
    assert (done.code, done.json["errors"][0]["code"]) == (2, "E133"), done
    assert what in done.json["errors"][0]["message"]


def test_a_baseline_of_another_tokenizer_or_model_is_refused(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.run.out / "model", tmp_path / "model")
    tokenizer = json.loads((tmp_path / "model/tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["unheard"] = len(tokenizer["model"]["vocab"])
    (tmp_path / "model/tokenizer.json").write_text(json.dumps(tokenizer))
    done = edgeopt("gate", tmp_path / "model", "--recipe", made.run.recipe, "--against", made.file)
    assert done.code == 2 and "error[E133]: the baseline is of another tokenizer\n" in done.err
    done = made.gate("--set", "model.id=somebody/another")
    assert done.json["errors"][0]["message"] == "the baseline is of another model"


@pytest.mark.usefixtures("made_up")
def test_latencies_of_two_machines_have_no_ratio(made: Made, tmp_path: Path) -> None:
    found = read_baseline(made.file)
    elsewhere = found.model_copy(update={"environment": {**found.environment, "cpu": "another processor"}})
    write_baseline(elsewhere, tmp_path / "b.json")
    bounds = (
        "accuracy, max_drop: 0.9",
        "latency.p50, min_speedup: 0.01",
        "start.cold, max_ratio: 1000",
        "latency.p50, max_ms: 1000",
    )
    gates = "gates=[" + ", ".join(f"{{metric: {bound}}}" for bound in bounds) + "]"
    done = made.gate(*HERE, "--set", gates, against=tmp_path / "b.json")
    assert done.code == 4, done
    assert [g["verdict"] for g in done.json["gates"]][:3] == ["pass", "inconclusive", "inconclusive"]
    assert done.json["gates"][3]["value"] > 0, "what this machine takes is decided"
    assert (
        "cpu another processor ≠" in done.json["gates"][1]["reason"] and "--against" in done.json["gates"][1]["reason"]
    )


@pytest.mark.usefixtures("made_up")
def test_what_was_measured_at_one_time_alone_has_no_ratio_of_times(made: Made, tmp_path: Path) -> None:
    """A file of an earlier version; and cold starts, of which there is no twin."""
    found = read_baseline(made.file)
    once = [{**m, "sittings": ()} for m in found.latency if m["subject"] != "twin"]
    write_baseline(found.model_copy(update={"twin": None, "latency": once}), tmp_path / "b.json")
    gates = "gates=[{metric: latency.p50, min_speedup: 0.01}, {metric: start.cold, max_ratio: 1000}]"
    done = made.gate("--set", gates, against=tmp_path / "b.json")
    assert [g["verdict"] for g in done.json["gates"]] == ["inconclusive", "inconclusive"]
    assert all("--against the folder of the FP32 model" in g["reason"] for g in done.json["gates"])


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["{model}", "--recipe", "{recipe}"], "E134"),
        (["{fp32}", "--against", "{file}"], "E134"),
        (["{fp32}", "--set", "seed=1"], "E109"),
        (["{work}", "--recipe", "{recipe}"], "E115"),  # it holds the run
        (["{model}/config.json", "--recipe", "{recipe}"], "E131"),
        (["{model}", "--recipe", "{recipe}", "--against", "{work}/absent.json"], "E131"),
        (["{model}", "--recipe", "{recipe}", "--against", "{recipe}"], "E132"),
        (
            [
                "{model}",
                "--recipe",
                "{recipe}",
                "--against",
                "{fp32}",
                "--set",
                "gates=[{metric: latency.p50, min_speedup: 2, against: torch}]",
            ],
            "E118",
        ),
        (["{model}", "--recipe", "{recipe}", "--against", "{file}", "--set", "targets=[cpu-2-thread]"], "E118"),
        (["{model}", "--recipe", "{recipe}", "--against", "{file}", "--junit", "{recipe}/x.xml"], "E114"),
    ],
)
def test_what_cannot_be_decided_is_said_before_anything_is_measured(made: Made, args: list[str], code: str) -> None:
    words = {
        "model": made.run.out / "model",
        "recipe": made.run.recipe,
        "fp32": made.fp32,
        "file": made.file,
        "work": made.file.parent,
    }
    for name, path in words.items():
        args = [a.replace(f"{{{name}}}", str(path)) for a in args]
    done = edgeopt("gate", *args, "--json")
    assert (done.code, {e["code"] for e in done.json["errors"]}) == (2, {code}), done
    assert "latency on" not in done.err


def test_a_graph_that_does_not_open_or_fit(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.fp32, tmp_path / "model")
    (tmp_path / "model/onnx/model.onnx").write_bytes(b"no graph")
    done = edgeopt("gate", tmp_path / "model", "--recipe", made.run.recipe, "--against", made.fp32)
    assert done.code == 2 and "E211" in done.err and "it is not a complete ONNX file" in done.err
    done = made.gate("--set", "task.labels=['0', '1', '2']", against=made.fp32)
    assert done.json["errors"][0]["code"] == "E316"


def test_without_a_baseline_absolute_bounds_are_decided(made: Made) -> None:
    gates = (
        "gates=[{metric: accuracy, min: 0.01}, {metric: size, max_mb: 0.000001}, {metric: latency.p50, max_ms: 1000}]"
    )
    done = edgeopt("gate", made.run.out / "model", "--recipe", made.run.recipe, *HERE, "--set", gates, "--json")
    assert (done.code, [g["verdict"] for g in done.json["gates"]][:2]) == (1, ["pass", "fail"])
    assert done.json["gates"][2]["value"] > 0


def test_the_train_split_need_not_be_there(made: Made, tmp_path: Path, tiny_data: Path) -> None:
    (tmp_path / "rows").mkdir()
    shutil.copyfile(tiny_data / "validation.jsonl", tmp_path / "rows/validation.jsonl")
    done = made.gate(
        "--set", f"task.dataset.path={tmp_path / 'rows'}", "--set", "gates=[{metric: accuracy, max_drop: 0.2}]"
    )
    assert done.code in (0, 1, 4), done


@pytest.mark.usefixtures("made_up")
def test_a_finished_model_may_be_the_baseline(made: Made, tmp_path: Path, tiny_model: Path) -> None:
    """The baseline is made without torch, of classes with names."""
    data = write_rows(tmp_path / "named", train=4, validation=16)
    for path in data.iterdir():
        path.write_text(
            path.read_text().replace('"label": 0', '"label": "bad"').replace('"label": 1', '"label": "good"')
        )
    shutil.copytree(made.fp32, tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    (tmp_path / "model/config.json").write_text(json.dumps({**config, "id2label": {"0": "bad", "1": "good"}}))
    recipe = recipe_for(
        tmp_path, tiny_model, data, task=tiny_task(data, max_length=32), gates=[{"metric": "accuracy", "max_drop": 0.5}]
    )
    written = edgeopt("baseline", tmp_path / "model", "--recipe", recipe, "--out", tmp_path / "b.json", "--json")
    assert written.code == 0, written
    assert read_baseline(tmp_path / "b.json").task.labels == ["bad", "good"]
    done = edgeopt("gate", tmp_path / "model", "--recipe", recipe, "--against", tmp_path / "b.json", "--json")
    assert done.json["gates"][0]["value"] == 0.0, done


def test_apply_and_gate_tell_a_ci_server(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import xml.etree.ElementTree as ET

    suite = ET.parse(made.file.parent / "apply.xml").getroot().find("testsuite")
    assert suite is not None and (suite.get("name"), suite.get("tests")) == ("tiny", "4")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(made.run.recipe.parent))
    (tmp_path / "summary.md").write_text("before\n\n")
    recipe = made.run.recipe.with_name("failing.yaml")
    head = yaml.safe_load(made.run.recipe.read_text())
    recipe.write_text(
        yaml.safe_dump(
            {**head, "gates": [{"metric": "accuracy", "max_drop": 0.9}, {"metric": "size", "max_mb": 1e-6}]},
            sort_keys=False,
        )
    )
    done = edgeopt("gate", made.run.out, "--recipe", recipe, "--junit", tmp_path / "new/gates.xml", "--github")
    assert done.code == 1
    lines = recipe.read_text().splitlines()
    (annotation,) = [line for line in done.err.splitlines() if line.startswith("::")]
    where = (
        f"::error file=failing.yaml,line={1 + lines.index('- metric: size')},title=fail%3A tiny%3A size max_mb 1e-06::"
    )
    assert annotation.startswith(where), annotation
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith("before\n\n## edgeopt: tiny: fail\n") and "size max_mb 1e-06" in summary
    assert [len(c) for c in ET.parse(tmp_path / "new/gates.xml").getroot()[0].iter("testcase")] == [1, 1]
