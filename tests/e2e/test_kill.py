"""`kill -9` at any moment, then the same command: it completes, with the bytes of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
#: Latency is not what is tested here, so it is measured as briefly as a target allows.
BRIEF = "targets=[{name: brief, queries: 64, max_seconds: 5, sequence: [16]}]"


def command(recipe: Path, folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "edgeopt", "apply", str(recipe), "--out", str(folder / "run"), "--store", str(folder / "store"), "--quiet", *more]


def digest(folder: Path) -> str:
    """Digest of the last state of the candidate."""
    steps = [s for s in json.loads((folder / "run" / "report.json").read_text())["steps"] if s["chain"] == "candidate"]
    return str(steps[-1]["digest"])


def kill_after(seconds: float, arguments: list[str]) -> int:
    """Start, kill the whole process group after so long, and return the exit status."""
    process = subprocess.Popen(arguments, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def survives(recipe: Path, more: list[str], work: Path, kills: int, seed: int) -> list[float]:
    """Kill at `kills` moments spread over the time of an undisturbed run, each from an empty store and each
    followed by the same command. Returns the moments, in seconds."""
    started = time.monotonic()
    subprocess.run(command(recipe, work / "whole", *more), check=True, capture_output=True)
    duration = time.monotonic() - started
    expected = digest(work / "whole")
    rng = random.Random(seed)
    moments = [duration * (i + rng.random()) / kills for i in range(kills)]
    for i, moment in enumerate(moments):
        folder = work / f"killed-{i}"
        kill_after(moment, command(recipe, folder, *more))
        done = subprocess.run(command(recipe, folder, *more), capture_output=True, text=True)
        assert done.returncode == 0, f"after a kill at {moment:.1f} s: {done.stderr}"
        assert digest(folder) == expected, f"killed at {moment:.1f} s: another model"
        assert not list((folder / "store" / "building").iterdir())
        assert not [p for p in folder.iterdir() if p.name.startswith(".run")]
        print(f"killed at {moment:.1f} of {duration:.1f} s: completed, same model", flush=True)
    return moments


@pytest.mark.slow  # ten runs of the quickstart: most of an hour on 2 cores
def test_quickstart_survives_ten_kills(tmp_path: Path) -> None:
    survives(REPOSITORY / "recipes" / "quickstart.yaml", ["--set", "gates=[]", "--set", BRIEF], tmp_path, kills=10, seed=0)
