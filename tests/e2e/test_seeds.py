"""Several seeds in one recipe, against runs of each seed alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from e2e.running import Applied, recipe_for
from helpers import edgeopt
from sklearn.metrics import f1_score

#: Too little training to learn the task, so that seeds differ.
SHORT = {"max_steps": 50, "batch_size": 8, "learning_rate": 2e-3, "precision": "fp32"}
STEPS = [{"id": "ft", "use": "finetune", **SHORT, "max_steps": 60}, {"id": "int8", "use": "quantize.dynamic"}]


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_data: Path) -> Applied:
    work = tmp_path_factory.mktemp("seeds")
    recipe = recipe_for(work, tiny_model, tiny_data, steps=STEPS, baseline={"finetune": SHORT}, seeds=[5, 6, 9])
    done = edgeopt("apply", recipe, "--out", work / "run", "--store", work / "store")
    assert done.code == 0, done.err
    return Applied(recipe, work / "run", work / "store", done)


def report_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "report.json").read_text()))


def lock_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "recipe.lock").read_text())["steps"])


def alone(recipe: Path, seed: int) -> Path:
    """A recipe with one of its seeds, beside it."""
    path = recipe.with_name(f"seed-{seed}.yaml")
    path.write_text(recipe.read_text().replace("seeds:\n- 5\n- 6\n- 9\n", f"seed: {seed}\n"))
    assert "seeds" not in path.read_text()
    return path


def test_each_seed_gives_what_a_run_of_it_alone_gives(applied: Applied, tmp_path: Path) -> None:
    seeds = report_of(applied.out)["seeds"]["results"]
    assert [s["seed"] for s in seeds] == [5, 6, 9]
    done = edgeopt("apply", alone(applied.recipe, 9), "--out", tmp_path / "run", "--store", tmp_path / "fresh")
    assert done.code == 0, done.err
    single = report_of(tmp_path / "run")
    for subject in ("baseline", "candidate"):
        assert seeds[2][subject] == {**single[subject]["metrics"], **single[subject]["extra"]}
    for name, entry in lock_of(tmp_path / "run").items():
        assert lock_of(applied.out)[f"seed-9.{name}"] == entry
    assert len({s["candidate"]["accuracy"] for s in seeds}) > 1, "the seeds should differ, or this test shows nothing"


def test_mean_and_deviation_follow_from_the_predictions_that_are_kept(applied: Applied) -> None:
    names = ["predictions.jsonl", "predictions-seed-6.jsonl", "predictions-seed-9.jsonl"]
    assert sorted(p.name for p in applied.out.glob("predictions*")) == sorted(names)
    scores: dict[str, list[float]] = {"baseline": [], "candidate": []}
    for name in names:
        rows = [json.loads(line) for line in (applied.out / name).read_text().splitlines()]
        for subject, values in scores.items():
            values.append(float(f1_score([r["label"] for r in rows], [int(np.argmax(r[subject])) for r in rows])))
    spread = next(s for s in report_of(applied.out)["seeds"]["spreads"] if s["metric"] == "f1")
    for subject, values in scores.items():
        assert spread[f"{subject}_mean"] == pytest.approx(np.mean(values))
        assert spread[f"{subject}_std"] == pytest.approx(np.std(values, ddof=1))
    difference = np.subtract(scores["candidate"], scores["baseline"])
    assert spread["difference_mean"] == pytest.approx(difference.mean())
    assert spread["difference_std"] == pytest.approx(difference.std(ddof=1))


def test_the_first_seed_is_the_one_that_is_shipped(applied: Applied, tmp_path: Path) -> None:
    report, lock = report_of(applied.out), lock_of(applied.out)
    assert {s["digest"] for s in report["steps"]} == {e["digest"] for n, e in lock.items() if n.startswith("seed-5.")}
    assert any("The model of seed 5" in note for note in report["notes"])
    shown = edgeopt("report", applied.out).out
    assert "mean ±" in shown


def test_another_seed_builds_only_its_own_steps(applied: Applied, tmp_path: Path) -> None:
    before = {p.name for p in (applied.store / "states").iterdir()}
    more = ("--store", applied.store, "--set", "seeds=[5,6,9,10]")
    plan = edgeopt("plan", applied.recipe, *more, "--json").json
    assert [(s["seed"], {x["status"] for x in s["steps"]}) for s in plan["seeds"]] == [
        (5, {"cached"}),
        (6, {"cached"}),
        (9, {"cached"}),
        (10, {"new"}),
    ]
    assert "seed 9: 7 of 7 steps cached" in (text := edgeopt("plan", applied.recipe, *more).out)
    assert "seed 10: 0 of 7 steps cached; first to build: baseline.load" in text
    done = edgeopt("apply", applied.recipe, *more, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    assert {p.name for p in (applied.store / "states").iterdir()} - before == {
        e["key"] for n, e in lock_of(tmp_path / "run").items() if "seed-10" in n
    }
    assert lock_of(tmp_path / "run").items() > lock_of(applied.out).items()


def test_a_changed_step_is_compared_with_the_same_seed_before(applied: Applied) -> None:
    plan = edgeopt("plan", applied.recipe, "--store", applied.store, "--set", "steps.ft.max_steps=61", "--json").json
    for seed in plan["seeds"]:
        step = next(s for s in seed["steps"] if s["id"] == "ft")
        assert (step["status"], step["why"]) == ("stale", "max_steps 60 → 61")


def test_locked_covers_every_seed(applied: Applied, tmp_path: Path) -> None:
    locked = ("apply", applied.recipe, "--store", applied.store, "--out", tmp_path / "run", "--lock")
    assert edgeopt(*locked, applied.out / "recipe.lock").code == 0
    changed = json.loads((applied.out / "recipe.lock").read_text())
    changed["steps"]["seed-9.candidate.ft"]["digest"] = "0" * 64
    (tmp_path / "other.lock").write_text(json.dumps(changed))
    done = edgeopt(*locked, tmp_path / "other.lock")
    assert done.code == 2
    assert "E117" in done.err and "seed-9.candidate.ft" in done.err


def test_cut_in_a_later_seed_it_goes_on_to_the_same_states(
    applied: Applied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeopt.training.callbacks import ShowProgress

    whole, trained = ShowProgress.on_step_end, []

    def cut(self: ShowProgress, args: Any, state: Any, control: Any, **more: Any) -> None:
        whole(self, args, state, control, **more)
        trained.append(state.global_step)
        if len(trained) == 130:  # 110 steps for each seed
            raise KeyboardInterrupt

    arguments = ("apply", applied.recipe, "--out", tmp_path / "run", "--store", tmp_path / "store")
    with monkeypatch.context() as patched:
        patched.setattr(ShowProgress, "on_step_end", cut)
        assert edgeopt(*arguments).code == 130
    assert not (tmp_path / "run").exists()
    done = edgeopt(*arguments)
    assert done.code == 0, done.err
    assert "seed-5.candidate.ft finetune cached" in " ".join(done.err.split())
    assert lock_of(tmp_path / "run") == lock_of(applied.out)


def test_a_step_that_fails_names_its_seed(applied: Applied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeopt.transforms.finetune import Finetune

    def fail(self: Finetune, state: Any, params: Any, context: Any) -> None:
        raise RuntimeError(f"with {context.seed}")

    monkeypatch.setattr(Finetune, "apply", fail)
    done = edgeopt(
        "apply", applied.recipe, "--out", tmp_path / "run", "--store", applied.store, "--set", "seeds=[5,6,77]"
    )
    assert done.code == 3
    assert "seed-77: step 'finetune' (finetune) failed: RuntimeError: with 77" in done.err


def test_what_no_seed_decides_is_built_once(applied: Applied, tmp_path: Path, tiny_data: Path) -> None:
    """From a model with a trained head: baseline and int8 graph are the same for every seed."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    state = applied.store / "states" / lock_of(applied.out)["seed-5.candidate.ft"]["key"]
    AutoModelForSequenceClassification.from_pretrained(state).save_pretrained(tmp_path / "trained")
    AutoTokenizer.from_pretrained(state).save_pretrained(tmp_path / "trained")
    recipe = recipe_for(tmp_path, tmp_path / "trained", tiny_data, baseline=None, steps=[STEPS[1]], seeds=[1, 2])
    done = edgeopt("apply", recipe, "--out", tmp_path / "run", "--store", tmp_path / "store")
    assert done.code == 0, done.err
    lock = lock_of(tmp_path / "run")
    for name in ("baseline.onnx", "candidate.onnx", "candidate.int8"):
        assert lock[f"seed-1.{name}"] == lock[f"seed-2.{name}"]
    assert all(s["difference_std"] == 0 for s in report_of(tmp_path / "run")["seeds"]["spreads"])
