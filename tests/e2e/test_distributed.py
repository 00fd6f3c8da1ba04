"""accelerate and torchrun on two processes, with gloo: the same command, the work shared."""

from __future__ import annotations

import copy
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
from e2e.running import apply_command, recipe_for
from helpers import Copied, Result, tiny_task, write_rows
from safetensors.numpy import load_file


def free_port() -> str:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


LAUNCHERS = {
    "torchrun": ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port()],
    # without --multi_gpu accelerate starts one process on a machine that has no GPU
    "accelerate": [
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--main_process_port",
        free_port(),
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
    ],
}


#: `edgeopt` as a script.
SCRIPT = "from edgeopt.cli import main\nmain()\n"


def apply(recipe: Path, folder: Path, launcher: list[str]) -> Result:
    command = apply_command(recipe, folder, launcher=launcher)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Result(done.returncode, done.stdout, done.stderr)


def apply_in_copies(recipe: Path, folder: Path, torchrun: list[str]) -> Result:
    """By torchrun in a copied process, which starts copies: three imports of torch would take half a minute."""
    from torch.distributed.run import main

    (folder / "launched.py").write_text(SCRIPT)
    _, *command = apply_command(
        recipe,
        folder,
        launcher=torchrun[2:],
        program=["--run-path", "--start-method", "fork", str(folder / "launched.py")],
    )
    done = Copied(*command, program=main).result()
    assert done.code == 0, done.err[-3000:]
    return done


# torchrun stands for both in the default tests: accelerate's launch takes half a minute
@pytest.mark.parametrize(
    "launcher", [pytest.param(name, marks=[pytest.mark.slow] if name == "accelerate" else []) for name in LAUNCHERS]
)
def test_two_processes_share_the_training(tmp_path: Path, tiny_model: Path, launcher: str) -> None:
    data = write_rows(tmp_path / "data", train=72, validation=24)
    steps = [
        {
            "id": "ft",
            "use": "finetune",
            "epochs": 2,
            "batch_size": 8,
            "learning_rate": 1e-3,
            "keep_best": True,
            "distill": {"losses": {"labels": 1.0, "hidden": 1.0, "values": 1.0}},
        },
        {"id": "int8", "use": "quantize.dynamic"},
    ]
    recipe = recipe_for(
        tmp_path,
        tiny_model,
        data,
        steps=steps,
        baseline={"finetune": {"epochs": 1, "batch_size": 8}},
    )
    done = (apply_in_copies if launcher == "torchrun" else apply)(recipe, tmp_path, LAUNCHERS[launcher])
    assert done.out.strip().splitlines()[-1] == str(tmp_path / "run" / "report.html")
    assert done.out.count("report.html") == 1  # process 1 says nothing
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    step = next(s for s in report["steps"] if s["id"] == "ft")
    rows = step["figures"]["train_rows"]
    assert step["figures"]["optimizer_steps"] == 2 * -(-rows // 16)  # each step takes 8 rows on each of two processes
    manifest = json.loads((tmp_path / "store" / "states" / step["key"] / "state.json").read_text())
    assert manifest["parts"]["processes"] == 2
    assert report["baseline"]["metrics"]["accuracy"] > 0
    assert step["figures"]["teacher"]["cached_bytes"] > 0


@pytest.mark.slow  # two launches of two processes: minutes where two cores run other tests besides
def test_two_processes_learn_what_one_learns_from_batches_twice_as_large(
    tmp_path: Path, tiny_model: Path, tiny_data: Path
) -> None:
    """The head is the same in the end, with each kind of loss.

    They are the model's own loss (the baseline), with class weights, and with those and a teacher, some of whose rows
    have no labels, on several datasets.
    """
    model = shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((model / "config.json").read_text())  # what is dropped out depends on the process
    (model / "config.json").write_text(
        json.dumps({**config, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0})
    )
    second = write_rows(tmp_path / "second", train=40, validation=1)
    heads, losses = [], []
    for batch, launcher in ((16, []), (8, LAUNCHERS["torchrun"])):
        training = {"max_steps": 4, "batch_size": batch, "learning_rate": 1e-3, "precision": "fp32"}
        weighted = {
            **training,
            "class_weights": {"1": 5},
            "gradient_accumulation": 2,
            "sampling": {"method": "uniform"},
        }
        task = tiny_task(tiny_data, max_length=32, train_with=[{"dataset": {"path": str(second)}}])
        taught = {"losses": {"labels": 1.0}, "unlabelled": {"dataset": {"path": str(second)}}}
        # YAML's aliases are not read
        chain = [
            {"use": "finetune", **weighted},
            {"use": "distill", **copy.deepcopy(weighted), **taught},
        ]
        recipe = recipe_for(tmp_path, model, tiny_data, task=task, baseline={"finetune": training}, steps=chain)
        folder = tmp_path / str(batch)
        apply(recipe, folder, launcher)
        steps = [
            s
            for s in json.loads((folder / "run" / "report.json").read_text())["steps"]
            if s["use"] in ("finetune", "distill")
        ]
        heads.append(
            np.stack(
                [
                    load_file(folder / "store" / "states" / s["key"] / "model.safetensors")["classifier.weight"]
                    for s in steps
                ]
            )
        )
        losses.append([s["figures"]["train_loss"] for s in steps])
    np.testing.assert_allclose(heads[1], heads[0], atol=1e-4)
    assert losses[1] == pytest.approx(losses[0], rel=0.2), "the figure is the first process's own"
