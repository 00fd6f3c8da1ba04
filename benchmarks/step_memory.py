"""The last step of a recipe alone, once more, in a process that does nothing else: its seconds and peak memory.

    python -m benchmarks.step_memory

Paths of recipe, run and store are read from stdin.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import report_of
from edgeopt.data.sources import load_data
from edgeopt.measure.cold_worker import peak_bytes
from edgeopt.recipe.load import load_recipe
from edgeopt.step.transform import StepContext
from edgeopt.store.store import Store
from edgeopt.support.progress import Progress


def main() -> None:
    given = {name: Path(path) for name, path in json.load(sys.stdin).items()}
    recipe, run, store = load_recipe(given["recipe"]), given["run"], Store(given["store"])
    steps = [s for s in report_of(run).steps if s.chain == "candidate"]
    state = store.find(steps[-2].key)
    assert state is not None
    last = recipe.steps[-1]
    with tempfile.TemporaryDirectory() as scratch:
        output, work = Path(scratch) / "output", Path(scratch) / "work"
        output.mkdir()
        work.mkdir()
        rows = load_data(recipe.head.task, recipe.folder)
        context = StepContext(recipe.head.task, rows, output, work, recipe.head.seed, Progress(show=False))
        started = time.monotonic()
        last.transform.apply(state, last.params, context)
        print(json.dumps({"seconds": round(time.monotonic() - started, 1), "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main()
