"""Peak memory of calibrating with 64 and with 2,048 rows, each in a fresh process.

It compares edgeopt's calibrators with onnxruntime's histograms, which keep every activation, with as many rows as are
given.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import arguments, save
from edgeopt.measure.cold_worker import peak_bytes

METHODS = ("minmax", "moving-average", "percentile", "entropy", "mse")
ROWS = (64, 2048)
#: Rows that onnxruntime's calibrator is given: with 2,048 it would need a hundred gigabytes.
THEIR_ROWS = (16, 64)
_ORT = "onnxruntime percentile"


def main() -> None:
    options = arguments(__doc__ or "", repeats=None).parse_args()
    from edgeopt.store.facts import Fact
    from edgeopt.testing.build import build, steps_towards

    with tempfile.TemporaryDirectory() as scratch:
        made = build(
            steps_towards(frozenset({Fact.TRAINED_HEAD, Fact.ONNX})),
            model=options.model,
            data=options.data,
            store=Path(scratch),
        )
        folder, texts = made.lowered("candidate").folder, [t[0] for t in made.data.train.texts]
        texts = (texts * (ROWS[-1] // len(texts) + 1))[: ROWS[-1]]
        found: dict[str, Any] = {}
        for method, counts in [*((m, ROWS) for m in METHODS), (_ORT, THEIR_ROWS)]:
            for count in counts:
                started = time.perf_counter()
                used = peak(folder, texts[:count], method)
                found.setdefault(method, {})[str(count)] = {
                    "peak_mb": round(used / 1e6, 1),
                    "seconds": round(time.perf_counter() - started, 1),
                }
                print(method, count, found[method][str(count)], flush=True)
    growth = {m: round(found[m][str(ROWS[-1])]["peak_mb"] / found[m][str(ROWS[0])]["peak_mb"], 3) for m in METHODS}
    save(
        "calibration_memory",
        {
            "what": "peak resident memory of a process that calibrates, and its time from start to end, by rows",
            "growth_64_to_2048": growth,
            "methods": found,
        },
    )


def peak(folder: Path, texts: list[str], method: str, max_length: int = 128) -> int:
    """Peak resident bytes of a process that does nothing but find the ranges of the graph in `folder` on the texts."""
    task = {"folder": str(folder), "texts": texts, "method": method, "max_length": max_length}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.calibration_memory", "--worker"],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return int(done.stdout.split()[-1])


def _worker() -> None:
    from edgeopt.data import Split
    from edgeopt.models.files import GRAPH
    from edgeopt.spec.recipe import TaskSpec
    from edgeopt.tasks import task_of
    from edgeopt.transforms.quantize import qdq
    from edgeopt.transforms.quantize.calibrate import activations, feeds, observe, observer, range_of

    given = json.load(sys.stdin)
    folder, method = Path(given["folder"]), given["method"]
    spec = {"type": "text-classification", "dataset": {"path": "."}, "text": "text", "max_length": given["max_length"]}
    rows = Split("calibration", tuple((text,) for text in given["texts"]), tuple(0 for _ in given["texts"]))
    queries = feeds(folder, rows, task_of(TaskSpec.model_validate(spec)))
    with tempfile.TemporaryDirectory() as scratch:
        if method == _ORT:
            _theirs(folder / GRAPH, queries, Path(scratch), given["max_length"])
        else:
            model = qdq.load(folder / GRAPH)
            seen = {t: [observer(method)] for t in activations(model.graph, [])}
            observe(model, seen, queries, Path(scratch))
            for (each,) in seen.values():
                range_of(each, method, None, symmetric=False)
    print(peak_bytes())


def _theirs(graph: Path, queries: Any, scratch: Path, width: int) -> None:
    """The percentiles of onnxruntime, which takes rows of one length only."""
    import numpy as np
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    from edgeopt.export.session import input_names, open_session

    names = input_names(open_session(graph))
    rows = iter(
        [{k: np.pad(v, ((0, 0), (0, width - v.shape[1]))) for k, v in f.items() if k in names} for f in queries()]
    )

    class Reader:
        def get_next(self) -> Any:
            return next(rows, None)

    made = create_calibrator(graph, ["MatMul", "Gemm"], str(scratch / "augmented.onnx"), CalibrationMethod.Percentile)
    made.collect_data(Reader())
    made.compute_data()


if __name__ == "__main__":
    _worker() if sys.argv[1:] == ["--worker"] else main()
