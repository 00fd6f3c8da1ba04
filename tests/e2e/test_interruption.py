"""Ctrl-C, a full disk, two runs at once: nothing half-written, nothing lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from pathlib import Path

import pytest
from e2e.running import recipe_for
from e2e.test_kill import digest, survives
from helpers import Copied, edgeopt, tiny_task, write_rows

from edgeopt.models import load
from edgeopt.training import loop

#: Draws from two datasets in shares that change from epoch to epoch, under a loss of ours.
ANNEALED = {
    "sampling": {"method": "annealed", "steps_per_epoch": 4},
    "class_weights": {"1": 2},
    "gradient_accumulation": 2,
}


@pytest.fixture
def recipe(tmp_path: Path, tiny_model: Path, tiny_data: Path, request: pytest.FixtureRequest) -> Path:
    """With a parameter: further keys of the training, which then draws from a second dataset.

    The baseline's training is too short to be cut at a step that these tests name.
    """
    more = getattr(request, "param", {})
    steps = [
        {
            "id": "ft",
            "use": "finetune",
            "epochs": 6 if more else 2,
            "learning_rate": 1e-3,
            "batch_size": 4,
            "seed": 7,
            **more,
        },
        {"id": "int8", "use": "quantize.dynamic"},
    ]
    second = write_rows(tmp_path / "second", train=20, validation=1) if more else None
    task = tiny_task(tiny_data, max_length=32, train_with=[{"dataset": {"path": str(second)}}] if second else None)
    baseline = {"finetune": {"max_steps": 2, "batch_size": 4}}
    return recipe_for(tmp_path, tiny_model, tiny_data, steps=steps, task=task, baseline=baseline)


@pytest.fixture
def undisturbed(recipe: Path, tmp_path: Path) -> str:
    done = edgeopt("apply", recipe, "--out", tmp_path / "whole" / "run", "--store", tmp_path / "whole" / "store")
    assert done.code == 0, done.err
    return digest(tmp_path / "whole")


@pytest.mark.parametrize(
    ("recipe", "at"),
    # two in the default tests: each is two runs, half a minute
    [
        ({}, 17),
        pytest.param({}, 40, marks=pytest.mark.slow),
        pytest.param(ANNEALED, 17, marks=pytest.mark.slow),
        (ANNEALED, 20),
    ],
    indirect=["recipe"],
)
def test_training_cut_in_the_middle_goes_on_to_the_same_bytes(
    recipe: Path, tmp_path: Path, undisturbed: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted at optimizer step `at`: within an epoch and, annealed, also at an end of one (4 steps make one)."""
    from edgeopt.training.callbacks import ShowProgress

    whole = ShowProgress.on_step_end

    def cut(self: ShowProgress, args: object, state: object, control: object, **more: object) -> None:
        whole(self, args, state, control, **more)  # type: ignore[arg-type]
        if state.global_step == at:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    arguments = ("apply", recipe, "--out", tmp_path / "cut" / "run", "--store", tmp_path / "cut" / "store")
    with monkeypatch.context() as patched:  # the others have no checkpoint until this has ended
        patched.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        patched.setattr(ShowProgress, "on_step_end", cut)
        done = edgeopt(*arguments)
    assert done.code == 130
    assert "error[E130]" in done.err
    assert not (tmp_path / "cut" / "run").exists()
    assert not list((tmp_path / "cut" / "store" / "building").iterdir())
    assert list((tmp_path / "cut" / "store" / "work").rglob("complete")), "there is a checkpoint to go on from"
    done = edgeopt(*arguments)
    assert done.code == 0, done.err
    assert digest(tmp_path / "cut") == undisturbed


# three starts and a run: minutes; test_kill_in_the_middle of test_matrix_run.py kills one in every run of the tests
@pytest.mark.slow
def test_kill_nine_three_times(recipe: Path, tmp_path: Path) -> None:
    survives(recipe, [], tmp_path, kills=3, seed=1)


def test_ctrl_c_ends_with_130_and_leaves_nothing_half_written(recipe: Path, tmp_path: Path) -> None:
    process = Copied("apply", recipe, "--out", tmp_path / "run", "--store", tmp_path / "store")
    while not list((tmp_path / "store").glob("building/*")):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    done = process.result()
    assert done.code == 130, done
    assert "Traceback" not in done.err
    assert done.err.count("error[") == 1
    assert done.out == ""
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "store" / "building").iterdir())


@pytest.mark.parametrize("message", ["errno", "words"])
def test_a_full_disk_is_said_and_leaves_nothing(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    def full(*_: object) -> None:
        if message == "errno":
            raise OSError(errno.ENOSPC, "No space left on device")
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(load, "save_model", full)
    done = edgeopt("apply", recipe, "--out", tmp_path / "run", "--store", tmp_path / "store")
    assert done.code == 3
    assert "error[E405]: the disk is full" in done.err
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "store" / "building").iterdir())
    assert not list((tmp_path / "store" / "states").iterdir())


def test_two_runs_at_once_on_one_store(recipe: Path, tmp_path: Path) -> None:
    # two of them into one folder, too
    names = ("a", "b", "b")
    processes = [Copied("apply", recipe, "--out", tmp_path / name, "--store", tmp_path / "store") for name in names]
    ended = [process.result() for process in processes]
    assert [done.code for done in ended] == [0, 0, 0], ended
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("a", "b")]
    keys = [[(s["key"], s["digest"]) for s in r["steps"]] for r in reports]
    assert keys[0] == keys[1]
    assert len(list((tmp_path / "store" / "states").iterdir())) == len(set(keys[0]))
    assert not list((tmp_path / "store" / "building").iterdir())
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith((".a", ".b"))) == []
