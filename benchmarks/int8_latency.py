"""Latency of files of several runtimes, interleaved in one process, with the task on stdin.

python -m benchmarks.int8_latency
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import worker
from benchmarks.int8_peers import query
from edgeopt.export.session import changes, defaults
from edgeopt.measure.latency_worker import feeds_of, pin
from edgeopt.measure.rounds import interleaved
from edgeopt.measure.session_choice import best_options
from edgeopt.statistics.bounds import percentile_ratio

THREADS = (1, 2)
SEQUENCE = 128


#: A file for ONNX Runtime with the options of a session that nobody chose.
DEFAULT = ", default session"


def measured(
    files: dict[str, Path], rows: list[dict[str, list[int]]], options: Any
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Each file's p50 and p90, and FP32's p50 over its own with one-sided 95 % bounds, at each number of threads.

    And how the sessions were opened. A file whose name ends in DEFAULT gets the runtime's own options, others for ONNX
    Runtime the quickest. options: queries, max_seconds, peers (the Python that has all runtimes).
    """
    results: dict[str, dict[str, Any]] = {name: {} for name in files}
    sessions = {}
    for threads in THREADS:
        task = {
            "files": {name: str(path) for name, path in files.items()},
            "rows": rows,
            "threads": threads,
            "sequence": SEQUENCE,
            "queries": options.queries,
            "max_seconds": options.max_seconds,
        }
        found = json.loads(worker("benchmarks.int8_latency", task, python=options.peers))
        samples = {name: np.array(values) for name, values in found["samples"].items()}
        sessions[threads] = found["sessions"]
        for name, values in samples.items():
            ratio = percentile_ratio(samples["fp32"], values, 50.0, 0.95)
            results[name][f"threads_{threads}"] = {
                "p50_ms": round(float(np.percentile(values, 50)), 3),
                "p90_ms": round(float(np.percentile(values, 90)), 3),
                "speedup": {"value": round(ratio.value, 3), "low": round(ratio.low, 3), "high": round(ratio.high, 3)},
            }
    return results, {"versions": found["versions"], "sessions": sessions}


def main() -> None:
    """Prints milliseconds, one a round, and what each session was opened with.

    task: files by name, rows, threads, sequence, queries and max_seconds.
    """
    task = json.load(sys.stdin)
    threads = task["threads"]
    pin(threads)
    feeds = feeds_of(task["rows"], task["sequence"], 1)
    asked: dict[str, Any] = {}
    sessions: dict[str, Any] = {}
    for name, path in task["files"].items():
        open_query = partial(query, Path(path))
        if path.endswith((".onnx", ".ort")) and not name.endswith(DEFAULT):
            tried = changes(threads, kernels=path.endswith(".onnx"))
            choice = best_options(open_query, defaults(threads), tried, feeds, threads)
            asked[name], sessions[name] = choice.query, choice.options
        else:
            asked[name] = open_query(defaults(threads))
    samples = interleaved(asked, feeds, threads, task["queries"], task["max_seconds"])
    json.dump({"samples": samples, "sessions": sessions, "versions": _versions()}, sys.stdout)


def _versions() -> dict[str, str]:
    from importlib import metadata

    found = {d.metadata["Name"]: d.version for d in metadata.distributions()}
    return {name: found[name] for name in ("onnxruntime", "openvino", "nncf", "neural_compressor") if name in found}


if __name__ == "__main__":
    main()
