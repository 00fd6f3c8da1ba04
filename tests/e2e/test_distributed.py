"""accelerate and torchrun on two processes, with gloo: the same command, the work shared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.running import recipe_for

LAUNCHERS = {
    "torchrun": ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29511"],
    # without --multi_gpu accelerate starts one process on a machine that has no GPU
    "accelerate": ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
                   "--main_process_port", "29512", "--mixed_precision", "no", "--dynamo_backend", "no"],
}  # fmt: skip


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_processes_share_the_training(tmp_path: Path, tiny_model: Path, tiny_data: Path, launcher: str) -> None:
    steps = [{"id": "ft", "use": "finetune", "epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "keep_best": True}, {"id": "int8", "use": "quantize.dynamic"}]
    recipe = recipe_for(tmp_path, tiny_model, tiny_data, steps=steps, baseline={"finetune": {"epochs": 1, "batch_size": 8}})
    command = [sys.executable, *LAUNCHERS[launcher], "-m", "edgeopt", "apply", str(recipe), "--out", str(tmp_path / "run"), "--store", str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1] == str(tmp_path / "run" / "report.html")
    assert done.stdout.count("report.html") == 1  # process 1 says nothing
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    step = next(s for s in report["steps"] if s["id"] == "ft")
    rows = step["figures"]["train_rows"]
    assert step["figures"]["optimizer_steps"] == 2 * -(-rows // 16)  # each step takes 8 rows on each of two processes
    manifest = json.loads((tmp_path / "store" / "states" / step["key"] / "state.json").read_text())
    assert manifest["parts"]["processes"] == 2
    assert report["baseline"]["metrics"]["accuracy"] > 0
