"""`kill -9` of a pre-training on two processes, at any moment: the same command ends with the same bytes.

And tokens that are replaced before it are those that are replaced during it.
"""

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
    steps = [("text", params.pop("use", "pretrain.mlm"), params), ("tune", "finetune", short)]
    done = build([step(registry.get(use), p, id) for id, use, p in steps], model=model, data=data, store=store)
    state = next(d.state for d in done.chains["candidate"] if d.step.id == "text")
    print("folder", state.folder)
    print("digest", state.digest, flush=True)
    group.stop()
else:
    group.serve()
"""


def started(script: Path, model: Path, data: Path, store: Path, keys: str = "{}") -> Copied:
    """By torchrun, in a copy of a process that has loaded torch, which starts copies."""
    from torch.distributed.run import main

    launcher = ["--nproc_per_node", "2", "--master_port", free_port(), "--run-path", "--start-method", "fork"]
    return Copied(*launcher, script, model, data, store, keys, program=main)


def digest(process: Copied, name: str = "digest") -> str:
    done = process.result()
    assert done.code == 0, done.err[-3000:]
    return next(line for line in done.out.splitlines() if line.startswith(f"{name} "))


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


@pytest.mark.slow
def test_tokens_replaced_before_a_training_on_two_processes(
    tmp_path: Path, tiny_electra: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    script = tmp_path / "pretrain.py"
    script.write_text(SCRIPT)

    def ended(store: str, name: str = "digest", **keys: object) -> str:
        return digest(started(script, tiny_electra, tiny_data, tmp_path / store, json.dumps(keys)), name)

    auxiliary = ended("auxiliary", "folder", max_steps=2).removeprefix("folder ")
    keys = {"use": "pretrain.rtd", "auxiliary": auxiliary, "max_steps": 6}  # before rows come a second time
    offline = json.dumps({**keys, "offline": True})
    cut = started(script, tiny_electra, tiny_data, tmp_path / "cut", offline)
    trains(cut, tmp_path / "cut")
    with suppress(ProcessLookupError):  # it had ended
        os.killpg(cut.pid, signal.SIGKILL)
    cut.wait()
    again = digest(started(script, tiny_electra, tiny_data, tmp_path / "cut", offline))
    assert ended("online", **keys) == ended("offline", **keys, offline=True) == again
