"""`kill -9` of a pre-training on two processes, at any moment: the same command ends with the same bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from e2e.test_distributed import free_port
from helpers import Copied

#: How many kills; EDGEOPT_TEST_KILLS asks for another number.
KILLS = int(os.environ.get("EDGEOPT_TEST_KILLS", "10"))
#: What each process runs: the step alone, a checkpoint whenever the processes ask each other.
SCRIPT = """
import json
import sys
from pathlib import Path
from edgeopt.run.processes import Group
from edgeopt.step import registry
from edgeopt.testing.build import build, step
from edgeopt.training import loop

loop.CHECKPOINT_SECONDS = 0.0
model, data, store = map(Path, sys.argv[1:4])
group = Group()
if group.is_main:
    params = {"corpus": {"path": str(data)}, "max_steps": 80, "batch_size": 4, "gradient_accumulation": 2,
              "learning_rate": 1e-3, "precision": "fp32", "max_length": 16, **json.loads(sys.argv[4])}
    short = {"max_steps": 2, "batch_size": 4, "precision": "fp32", "learning_rate": 1e-3}
    steps = [("text", "pretrain.mlm", params), ("tune", "finetune", short)]
    done = build([step(registry.get(use), p, id) for id, use, p in steps], model=model, data=data, store=store)
    print("digest", next(d.state.digest for d in done.chains["candidate"] if d.step.id == "text"), flush=True)
    group.stop()
else:
    group.serve()
"""


def started(script: Path, model: Path, data: Path, store: Path, keys: str = "{}") -> Copied:
    """By torchrun, in a copy of a process that has loaded torch, which starts copies."""
    from torch.distributed.run import main

    launcher = ["--nproc_per_node", "2", "--master_port", free_port(), "--run-path", "--start-method", "fork"]
    return Copied(*launcher, script, model, data, store, keys, program=main)


def digest(process: Copied) -> str:
    done = process.result()
    assert done.code == 0, done.err[-3000:]
    return next(line for line in done.out.splitlines() if line.startswith("digest "))


def trains(process: Copied, store: Path) -> float:
    """Wait until the first checkpoint is being written; the moment."""
    while process.poll() is None and not list(store.glob("work/*/checkpoints/*")):
        time.sleep(0.01)
    return time.monotonic()


@pytest.mark.slow  # each kill starts two processes twice
def test_two_processes_killed_while_they_pre_train(
    tmp_path: Path, tiny_model: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    script = tmp_path / "pretrain.py"
    script.write_text(SCRIPT)
    whole = started(script, tiny_model, tiny_data, tmp_path / "whole")
    began = trains(whole, tmp_path / "whole")
    expected = digest(whole)
    seconds = time.monotonic() - began
    probe = json.dumps({"probe": {"every": 50, "max_steps": 2, "batch_size": 4}})
    assert digest(started(script, tiny_model, tiny_data, tmp_path / "probed", probe)) == expected
    draw = random.Random(0)
    for number in range(KILLS):
        store = tmp_path / f"killed-{number}"
        process = started(script, tiny_model, tiny_data, store)
        trains(process, store)
        time.sleep(seconds * (number + draw.random()) / KILLS)
        with suppress(ProcessLookupError):  # it had ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        left = sorted(p.name for p in store.glob("work/*/checkpoints/*"))
        again = digest(started(script, tiny_model, tiny_data, store))
        print(f"killed with {', '.join(left) or 'nothing left'} of {seconds:.1f} s: the same {again}", flush=True)
        assert again == expected
