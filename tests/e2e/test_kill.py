"""`kill -9` at any moment, then the same command: it completes, with the bytes of an undisturbed run."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from e2e.running import apply_command, recipe_for

REPOSITORY = Path(__file__).parents[2]
#: Moments at any time, and while measuring, of the twenty kills.
KILLS, MEASURING = 12, 8
#: Latency is not what is tested here, so it is measured as briefly as a target allows.
BRIEF = "targets=[{name: brief, queries: 64, max_seconds: 5, sequence: [16]}]"


def digest(folder: Path) -> str:
    """Digest of the last state of the candidate."""
    steps = [s for s in json.loads((folder / "run" / "report.json").read_text())["steps"] if s["chain"] == "candidate"]
    return str(steps[-1]["digest"])


def descendants(pid: int) -> dict[int, str]:
    """Command lines of the processes below one."""
    below: dict[int, str] = {}
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                below |= {child: Path(f"/proc/{child}/cmdline").read_text().replace("\0", " "), **descendants(child)}
    return below


def worker_of(below: dict[int, str]) -> str:
    """The module of one that measures; empty where there is none."""
    return next((word for line in below.values() for word in line.split() if word.startswith("edgeopt.measure.")), "")


def ended(pid: int) -> bool:
    """Whether it runs no more, though nobody may have waited for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def kill_after(seconds: float, arguments: list[str], *, measuring: bool = False) -> str | None:
    """Start, kill that process alone after so long, and see that those that it started end with it.

    measuring: so long after it has started one that measures, and while one runs. Returns the module of that worker, or
    nothing; None where the command had ended.
    """
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for wait in (0.0, seconds) if measuring else (seconds,):
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=wait)
        while measuring and process.poll() is None and not worker_of(descendants(process.pid)):
            time.sleep(0.01)
    if process.poll() is not None:
        return None
    below = descendants(process.pid)
    process.kill()
    process.wait()
    end = time.monotonic() + 30
    while not all(map(ended, below)) and time.monotonic() < end:
        time.sleep(0.05)
    assert all(map(ended, below)), {pid: line for pid, line in below.items() if not ended(pid)}
    return worker_of(below)


def survives(recipe: Path, more: list[str], work: Path, kills: int, seed: int, measuring: int = 0) -> list[float]:
    """Kill at many moments, each followed by the same command; returns the moments, in seconds.

    `kills` moments are spread over the time of an undisturbed run and begin from an empty store, `measuring` moments
    are of the first seconds in which it measures, and begin from that of the undisturbed run.
    """
    started = time.monotonic()
    subprocess.run(apply_command(recipe, work / "whole", "--quiet", *more), check=True, capture_output=True)
    duration = time.monotonic() - started
    expected = digest(work / "whole")
    rng = random.Random(seed)
    moments = [duration * (i + rng.random()) / kills for i in range(kills)]
    for i, (moment, measured) in enumerate(
        [*((m, False) for m in moments), *((6 * (j + rng.random()) / measuring, True) for j in range(measuring))]
    ):
        folder = work / f"killed-{i}"
        if measured:
            shutil.copytree(work / "whole" / "store", folder / "store")
        during = kill_after(moment, apply_command(recipe, folder, "--quiet", *more), measuring=measured)
        done = subprocess.run(apply_command(recipe, folder, "--quiet", *more), capture_output=True, text=True)
        assert done.returncode == 0, f"after a kill at {moment:.1f} s: {done.stderr}"
        assert digest(folder) == expected, f"killed at {moment:.1f} s: another model"
        assert not list((folder / "store" / "building").iterdir())
        assert not [p for p in folder.iterdir() if p.name.startswith(".run")]
        since = "of its measuring" if measured else f"of {duration:.1f} s"
        print(
            f"killed at {moment:.1f} s {since} ({'had ended' if during is None else during or 'no worker'}): "
            "completed, same model",
            flush=True,
        )
    return moments


@pytest.mark.slow  # ten runs of the quickstart: most of an hour on 2 cores
def test_quickstart_survives_ten_kills(tmp_path: Path) -> None:
    survives(
        REPOSITORY / "recipes" / "quickstart.yaml", ["--set", "gates=[]", "--set", BRIEF], tmp_path, kills=10, seed=0
    )


@pytest.mark.slow  # more than twenty runs
def test_twenty_kills_eight_of_them_while_measuring(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> None:
    """The process alone is killed: what it started has to end by itself, and does."""
    steps = [
        {"id": "ft", "use": "finetune", "epochs": 6, "learning_rate": 1e-3, "batch_size": 4, "seed": 7},
        {"id": "int8", "use": "quantize.dynamic"},
    ]
    recipe = recipe_for(tmp_path, tiny_model, tiny_data, steps=steps)
    survives(recipe, [], tmp_path, kills=KILLS, seed=15, measuring=MEASURING)
