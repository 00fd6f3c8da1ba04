"""int8 against FP32 in ONNX Runtime: batch 1, sequence 128, one thread, all interleaved in one process.

The FP32 graph is the named baseline: the same model, exported the same way, with the quicker of the
session's choices, as every subject has. Also measured: onnxruntime's own default static quantisation.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import arguments, save, spread
from edgeopt.contract import Fact
from edgeopt.measure.graph import weigh
from edgeopt.measure.latency import run_worker
from edgeopt.measure.session import input_names, open_session
from edgeopt.recipe.schema import Target
from edgeopt.tasks.encode import Encoder
from edgeopt.testing.build import build, step, steps_towards
from edgeopt.transforms import registry
from edgeopt.transforms.lower import GRAPH


def main() -> None:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        graphs: dict[str, Path] = {}
        for use in ("quantize.static", "quantize.dynamic"):
            steps = [*steps_towards(frozenset({Fact.TRAINED_HEAD})), step(registry.get(use), {}, "int8")]
            made = build(steps, model=options.model, data=options.data, store=work / "store")
            graphs["fp32"] = made.lowered("candidate").folder / GRAPH
            graphs[use] = made.final("candidate").folder / GRAPH
        folder = graphs["fp32"].parent
        rows = Encoder(folder, 128).ids(made.data.report.texts[:256])
        graphs["onnxruntime default static"] = _default_static(graphs["fp32"], rows, work)
        target = Target(name="bench", threads=1, sequence=[128], queries=300, max_seconds=60).model_dump(mode="json")
        task = {"target": target, "graphs": {k: str(v) for k, v in graphs.items()}, "torch": None, "rows": rows}
        ratios: dict[str, list[float]] = {name: [] for name in graphs if name != "fp32"}
        medians: dict[str, list[float]] = {name: [] for name in graphs}
        for _ in range(options.repeats):
            p50 = {r["subject"]: float(np.median(r["samples"])) for r in run_worker("edgeopt.measure.latency_worker", task)}
            for name, value in p50.items():
                medians[name].append(value)
                if name != "fp32":
                    ratios[name].append(p50["fp32"] / value)
        sizes = {name: weigh(path).bytes for name, path in graphs.items()}
    save("int8_speed", {
        "what": "p50 of FP32 ONNX over p50 of the candidate; batch 1, sequence 128, one thread",
        "repeats": options.repeats,
        "p50_ms": {k: spread(v) for k, v in medians.items()},
        "speedup": {k: spread(v) for k, v in ratios.items()},
        "size_bytes": sizes,
    })  # fmt: skip


def _default_static(graph: Path, rows: list[dict[str, list[int]]], work: Path) -> Path:
    """What a user gets from onnxruntime's quantize_static without choosing anything."""
    from onnxruntime.quantization import quantize_static

    from edgeopt.transforms.quantize.common import quiet_quantizer

    names = input_names(open_session(graph))
    feeds: Any = iter([{k: np.array([v], dtype=np.int64) for k, v in row.items() if k in names} for row in rows[:64]])

    class Feed:
        def get_next(self) -> Any:
            return next(feeds, None)

    with quiet_quantizer(work):
        quantize_static(graph, work / "default.onnx", Feed())
    return work / "default.onnx"


if __name__ == "__main__":
    main()
