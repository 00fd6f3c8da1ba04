"""Three tasks on one encoder, from recipe to report, gates, answers and the graph that is served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import edgeopt, tiny_recipe
from running import BRIEF
from scipy.stats import spearmanr

from edgeopt import Run


def train() -> dict[str, Any]:
    step = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3, "precision": "fp32", "keep_best": True}
    return {**step, "sampling": {"method": "round-robin"}}


def tasks(data: Path) -> dict[str, Any]:
    """A head of each kind, in the order that is not that of their names, which counts."""

    def task(type: str, **keys: Any) -> dict[str, Any]:
        return {"type": type, "dataset": {"path": str(data)}, "max_length": 16, **keys}

    return {
        "mood": task("text-classification", text="text", weight=2.0),
        "both": task("text-classification", text=["text", "pair"], head="bi-encoder", metrics=["accuracy"]),
        "alike": task("text-regression", text=["text", "pair"], label="score", head="cosine"),
    }


@pytest.fixture(scope="module")
def recipe(tiny_model: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_recipe(
        tmp_path_factory.mktemp("several"),
        model={"id": str(tiny_model)},
        task=None,
        tasks=tasks(tiny_data),
        baseline={"finetune": train()},
        steps=[
            {"use": "finetune", **train()},
            {"use": "adapter.lora", "r": 2, **train()},
            {"use": "merge"},
            {"use": "quantize.static"},
        ],
        targets=[BRIEF],
        gates=[
            {"metric": "accuracy", "task": "mood", "max_drop": 0.5, "confidence": 0.5},
            {"metric": "accuracy", "task": "both", "min": 0.01},
            {"metric": "spearman", "task": "alike", "min": -0.99},
            {"metric": "size", "max_ratio": 0.9},
        ],
    )


@pytest.fixture(scope="module")
def run(recipe: Path) -> Path:
    folder = recipe.parent
    done = edgeopt("apply", recipe, "--out", folder / "run", "--store", folder / "store", "--quiet")
    assert done.code in (0, 5), done.err
    return folder / "run"


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]


def test_figures_of_each_task_are_those_of_its_own_rows(run: Path, tiny_data: Path) -> None:
    report, rows = json.loads((run / "report.json").read_text()), rows_of(run)
    wanted = [json.loads(line) for line in (tiny_data / "validation.jsonl").read_text().splitlines()]
    assert [{**row["label"]} for row in rows] == [
        *({"alike": float(row["score"])} for row in wanted),
        *({"both": int(row["label"])} for row in wanted),
        *({"mood": int(row["label"])} for row in wanted),
    ]
    for side in ("baseline", "candidate"):
        metrics = report[side]["metrics"]
        for task in ("mood", "both"):
            own = [(row["label"][task], int(np.argmax(row[side][task]))) for row in rows if task in row["label"]]
            assert metrics[f"{task}.accuracy"] == pytest.approx(np.mean([a == b for a, b in own]))
        near = [(row["label"]["alike"], row[side]["alike"][0]) for row in rows if "alike" in row["label"]]
        assert metrics["alike.spearman"] == pytest.approx(spearmanr(*zip(*near, strict=True))[0])
    assert [part["name"] for part in report["task"]["parts"]] == ["alike", "both", "mood"]
    assert [gate["metric"] for gate in report["gates"]] == ["mood.accuracy", "both.accuracy", "alike.spearman", "size"]
    assert report["differences"][0]["metric"] == "alike.pearson"


def test_the_checkpoint_is_chosen_by_the_mean_of_the_tasks(run: Path) -> None:
    (step,) = [s for s in json.loads((run / "report.json").read_text())["steps"] if s["id"] == "finetune"][:1]
    curves = {name: dict(points) for name, points in step["figures"]["curves"].items()}
    at, found = step["figures"]["selection"]["step"], step["figures"]["selection"]
    first = [curves[f"eval_{name}"][at] for name in ("mood.accuracy", "both.accuracy", "alike.pearson")]
    assert found["metric"] == "mean" and found["value"] == pytest.approx(np.mean(first), abs=1e-4)
    drawn = {source["source"]: source["drawn"] for source in step["figures"]["sources"]}
    assert drawn["mood"] == drawn["both"] == drawn["alike"]


def test_gates_are_decided_again_from_what_the_run_left(run: Path) -> None:
    report = json.loads((run / "report.json").read_text())
    done = edgeopt("gate", run, "--json")
    assert [g["verdict"] for g in done.json["gates"]] == [g["verdict"] for g in report["gates"]]
    assert [g["value"] for g in done.json["gates"]] == pytest.approx([g["value"] for g in report["gates"]])


@pytest.mark.parametrize("change", ["task", "swap", "label"])
def test_no_verdict_is_made_of_rows_that_were_given_to_another_task(run: Path, change: str, tmp_path: Path) -> None:
    """What was written is changed, and the seal with it, so that only what is read back can tell."""
    import shutil

    from edgeopt.gates.evidence import read_evidence
    from edgeopt.gates.request import request_by
    from edgeopt.results.sealed import open_run
    from edgeopt.support.errors import InputError
    from edgeopt.tasks import task_of

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    opened = open_run(copy)
    rows = rows_of(run)
    first, other = rows[0], rows[-1]
    if change == "task":
        first["candidate"] = {"both": first["candidate"]["alike"]}
    elif change == "swap":
        first["baseline"], other["baseline"] = other["baseline"], first["baseline"]
    else:
        other["label"] = {"mood": 7}
    (copy / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = task_of(request_by(None, (), opened).task, opened.report.task.labels)
    with pytest.raises(InputError, match="does not fit the row's label"):
        read_evidence(opened, task)


def test_one_graph_has_an_output_for_each_head(run: Path) -> None:
    import onnxruntime as ort
    from tokenizers import Tokenizer

    graph = next((run / "model" / "onnx").glob("model_quantized.onnx"))
    session = ort.InferenceSession(graph)
    assert [o.name for o in session.get_outputs()] == ["logits", "logits_alike", "logits_both", "logits_mood"]
    tokenizer = Tokenizer.from_file(str(run / "model" / "tokenizer.json"))

    def ask(text: str) -> list[Any]:
        found = tokenizer.encode(text)
        feed = {"input_ids": found.ids, "attention_mask": found.attention_mask, "token_type_ids": found.type_ids}
        return session.run(None, {i.name: np.array([feed[i.name]]) for i in session.get_inputs()})  # type: ignore[no-any-return]

    (_, left, first, mood), (_, right, second, _) = ask("good1 word2"), ask("word3")
    asked = [
        {"task": "mood", "text": "good1 word2"},
        {"task": "both", "text": "good1 word2", "pair": "word3"},
        ["alike", "good1 word2", "word3"],
    ]
    answers = Run(run).predict(asked)
    assert np.allclose(answers[0].logits, mood[0], atol=1e-5)
    assert np.allclose(answers[1].logits, first[0, :2] + second[0, 2:], atol=1e-5)
    assert np.allclose(answers[2].logits, left[0] @ right[0], atol=1e-5)
    assert answers[0].label == str(int(np.argmax(mood[0]))) and answers[2].label == pytest.approx(answers[2].logits[0])


def test_what_serves_one_task_alone_says_so(run: Path, tmp_path: Path) -> None:
    assert "E161" in edgeopt("page", run, "--out", tmp_path / "page").err
    assert "E144" in edgeopt("bundle", run, "--out", tmp_path / "bundle.zip").err


@pytest.mark.parametrize("row", [{"text": "good1"}, {"task": "moods", "text": "good1"}, "good1", {"task": "both"}])
def test_a_row_says_whose_it_is(run: Path, row: object) -> None:
    from edgeopt.support.errors import InputError

    with pytest.raises(InputError, match=r"E30[34]"):
        Run(run).predict([row])


def test_compare_holds_each_task_beside_itself_alone(run: Path, tiny_model: Path, tiny_data: Path) -> None:
    """The figure is that of the same rows; a run of the same task on other rows says nothing."""
    folder, given = run.parent, tasks(tiny_data)["both"]
    alone = {k: v for k, v in given.items() if k != "head"}
    outs = []
    for name, rows in (("alone", None), ("fewer", 20)):
        task = {**alone, "dataset": {"path": str(tiny_data), "max_rows": {"validation": rows}}}
        short = {"max_steps": 4, "batch_size": 8, "precision": "fp32"}
        (folder / name).mkdir()
        recipe = tiny_recipe(
            folder / name,
            name=name,
            model={"id": str(tiny_model)},
            task=task,
            baseline={"finetune": dict(short)},
            steps=[{"use": "finetune", **short}],
            targets=[BRIEF],
        )
        outs.append(folder / f"run-{name}")
        done = edgeopt("apply", recipe, "--out", outs[-1], "--store", folder / "store", "--quiet")
        assert done.code == 0, done.err
    done = edgeopt("compare", run, *outs, "--format", "markdown")
    assert done.code == 0, done.err
    table = done.out.partition("## Each task beside itself alone")[2].partition("##")[0]
    lines = [line for line in table.splitlines() if "both" in line]
    assert len(lines) == 2 and all(" alone " in line for line in lines), table
    metrics = [json.loads((each / "report.json").read_text())["candidate"]["metrics"] for each in (run, outs[0])]
    wanted = (metrics[0]["both.accuracy"] - metrics[1]["accuracy"]) * 100
    assert f"{wanted:+.2f} points".replace("-", "−") in lines[1]
    found = edgeopt("compare", run, *outs, "--json").json["interference"]
    assert [(each["role"], each["beside"]) for each in found] == [("baseline", "alone"), ("candidate", "alone")]
    assert found[1]["bounds"]["value"] * 100 == pytest.approx(wanted)
