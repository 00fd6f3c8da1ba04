"""Latency of several subjects in one fresh process, interleaved, with threads pinned.

A process of its own: the threads, arenas and memory of training would be measured too. The work is
in `latency_worker`, which reads its task as JSON from stdin and writes samples to stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgeopt.errors import step_failed
from edgeopt.export import Runnable
from edgeopt.recipe.schema import Target
from edgeopt.report.model import Starts, SubjectName
from edgeopt.tasks.encode import Ids

Samples = np.ndarray[Any, np.dtype[np.float64]]
#: Starts of each graph, unless the time is up (then three at least).
_STARTS, _STARTS_SECONDS = 9, 10.0


@dataclass(frozen=True)
class Measured:
    """Samples of one subject on one target at one sequence: milliseconds, one a round; rounds of
    different subjects with the same number were measured next to each other."""

    subject: SubjectName
    target: str
    runtime: str
    device: str
    threads: int
    batch: int
    sequence: int | Literal["task"]
    session: dict[str, Any]
    samples: Samples
    #: The runtime's default options' median over that of `session`, with its bounds; None where those are the defaults.
    gain: tuple[float, float, float] | None = None


def measure(target: Target, graphs: Mapping[SubjectName, Runnable], torch_folder: Path | None, rows: list[Ids]) -> list[Measured]:
    """Every subject at every sequence of the target. rows: encoded rows of the report split.
    torch_folder: the FP32 baseline as a torch state, measured eagerly. Raises StepError E409."""
    task = {
        "target": target.model_dump(mode="json"),
        "graphs": {name: file.as_json() for name, file in graphs.items()},
        "torch": str(torch_folder) if torch_folder else None,
        "rows": rows[:1024],
    }
    results = run_worker("edgeopt.measure.latency_worker", task)
    return [Measured(**{**r, "samples": np.array(r["samples"])}, target=target.name, threads=target.threads, batch=target.batch) for r in results]


def cold_starts(graphs: Mapping[str, Runnable], row: Ids) -> dict[str, Starts]:
    """Starts of each file, in fresh processes that do nothing else, one file after the other in each round, with the files in
    the page cache; one runtime after the other, so that no process holds another runtime's code. Raises StepError E409."""
    found: dict[str, list[dict[str, Any]]] = {}
    for modules in dict.fromkeys(file.exporter.imports for file in graphs.values()):
        files = {name: file.as_json() for name, file in graphs.items() if file.exporter.imports == modules}
        task = {"imports": modules, "graphs": files, "row": row, "repeats": _STARTS, "at_least": 3, "max_seconds": _STARTS_SECONDS}
        found.update(run_worker("edgeopt.measure.cold_worker", task))
    return {name: Starts(ms=[round(s["ms"], 3) for s in found[name]], peak_bytes=[s["peak_bytes"] for s in found[name]]) for name in graphs}


def run_worker(module: str, task: dict[str, Any]) -> Any:
    # what makes training a good neighbour would slow what is measured
    env = {k: v for k, v in os.environ.items() if k != "GOMP_SPINCOUNT"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", module], input=json.dumps(task), capture_output=True, text=True, env=env)
    if done.returncode != 0:
        tail = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise step_failed(
            "E409",
            f"the measuring process failed with exit status {done.returncode}: {tail[0]}",
            help="a negative status is a signal: -9 is most often too little memory",
        )
    return json.loads(done.stdout)
