"""A process that opens one graph and answers one query: `python -m edgeopt.measure.cold_worker`."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

from edgeopt.measure.session import input_names, open_session


def main() -> None:
    import onnxruntime  # noqa: F401  the import is the program's start, not the model's

    task = json.load(sys.stdin)
    start = time.perf_counter_ns()
    session = open_session(Path(task["graph"]), threads=task["threads"], disabled=task["disabled"])
    names = input_names(session)
    session.run(None, {k: np.array([v], dtype=np.int64) for k, v in task["row"].items() if k in names})
    elapsed = (time.perf_counter_ns() - start) / 1e6
    json.dump({"ms": elapsed, "peak_bytes": peak_bytes()}, sys.stdout)


def peak_bytes() -> int:
    """Largest resident size of this process. On Linux not getrusage's: that one survives exec, so a child
    of a large process reports its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
