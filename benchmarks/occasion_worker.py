"""The process of one occasion: tasks of the measuring process on stdin, one a line, each of which a copy of this one does."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import onnxruntime  # noqa: F401  what a new process would import

from edgeopt.export import exporter
from edgeopt.measure import latency_worker
from edgeopt.measure.cold_worker import in_child


def main() -> None:
    exporter("onnx")
    for line in sys.stdin:
        found = in_child(partial(sitting, json.loads(line)), "a sitting")
        print(json.dumps(found["measured"]), flush=True)


def sitting(task: dict[str, Any]) -> dict[str, Any]:
    return {"measured": latency_worker.measured(task)}


if __name__ == "__main__":
    main()
