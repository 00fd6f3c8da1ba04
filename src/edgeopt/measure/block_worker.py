"""The process that times pieces of a layer: `python -m edgeopt.measure.block_worker`, task on stdin."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from edgeopt.export.session import defaults, onnx_query
from edgeopt.measure.latency_worker import pin
from edgeopt.measure.rounds import interleaved
from edgeopt.support.workers import read_task

#: Each of these is tried, and the quicker counts.
_CHANGES: tuple[dict[str, list[str]], ...] = ({}, {"disabled_optimizers": ["SkipLayerNormFusion"]})


def main() -> None:
    """Median milliseconds of each graph, with the quicker of the runtime's choices. All read `hidden` and `mask`."""
    task = read_task()
    pin(task["threads"])
    rng = np.random.default_rng(0)
    shape = (task["batch"], task["tokens"], task["hidden"])
    feed = {
        "hidden": rng.standard_normal(shape, dtype=np.float32),
        "mask": np.zeros((task["batch"], 1, 1, task["tokens"]), dtype=np.float32),
    }
    queries = {
        f"{name}/{i}": onnx_query(Path(path), {**defaults(task["threads"]), **change})
        for name, path in task["graphs"].items()
        for i, change in enumerate(_CHANGES)
    }
    samples = interleaved(queries, [feed], task["threads"], task["rounds"], task["max_seconds"])
    quickest: dict[str, float] = {}
    for name, values in samples.items():
        graph = name.rpartition("/")[0]
        quickest[graph] = min(float(np.median(values)), quickest.get(graph, float("inf")))
    json.dump(quickest, sys.stdout)


if __name__ == "__main__":
    main()
