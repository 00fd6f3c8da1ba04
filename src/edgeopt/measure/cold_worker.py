"""The process that measures cold starts: `python -m edgeopt.measure.cold_worker`, task on stdin.

Its children each open one file and answer one query. They are forked from a process that has only imported the runtime:
as fresh as new ones, and cheap enough for a median with bounds.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.device.guard import end_with_parent
from edgeopt.export.exporter import Runnable, exporter
from edgeopt.measure.clock import timed
from edgeopt.support.workers import read_task


def main() -> None:
    """Starts of each file in turn, until each has had `repeats`, or `at_least` and the time is up; JSON on stdout."""
    task = read_task()
    for module in task["imports"]:  # the program's start, not the model's
        importlib.import_module(module)
    for graph in task["graphs"].values():
        exporter(graph["format"])  # and the import of what opens it
    starts: dict[str, list[Any]] = {name: [] for name in task["graphs"]}
    end = time.monotonic() + task["max_seconds"]
    for number in range(task["repeats"]):
        for name, graph in task["graphs"].items():
            starts[name].append(in_child(partial(start, graph, task["row"]), f"opening {graph['path']}"))
        if number + 1 >= task["at_least"] and time.monotonic() > end:
            break
    json.dump(starts, sys.stdout)


def in_child(call: Callable[[], dict[str, Any]], what: str) -> dict[str, Any]:
    """What a call gives, an object as JSON has it, in a process of its own.

    That is a copy of this one, which should have opened no session yet. what: begins the message of the SystemExit that
    is raised where the copy is killed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        end_with_parent()
        # never back into what the copy was made from, whose clean-up would wait for threads that were not copied
        try:
            with os.fdopen(writer, "w") as file:
                json.dump(call(), file)
            os._exit(0)
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as file:
        answer = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:  # where it raised, its message is there already
        raise SystemExit(code if code > 0 else f"{what} ended with exit status {code}")
    return dict(json.loads(answer))


def start(graph: dict[str, Any], row: dict[str, list[int]]) -> dict[str, float]:
    """Milliseconds from opening the file to the first answer, and this process's largest resident size in bytes."""
    file = Runnable.of_json(graph)

    def opened() -> None:
        file.open({})({k: np.array([v], dtype=np.int64) for k, v in row.items()})

    return {"ms": timed(opened, file.settings.get("intra_op_num_threads", 0))[0], "peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """Largest resident size of this process.

    On Linux not getrusage's: that one survives exec, so a child of a large process reports its parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return (
            next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:")) * 1024
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
