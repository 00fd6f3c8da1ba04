"""int8 against FP32 in ONNX Runtime: batch 1, sequence 128, one thread, all interleaved in one process.

Each subject runs with the quicker of the session's choices, as `apply` measures it. Named baselines: the
FP32 graph of the same model with the quicker choice, and with the runtime's defaults, which is what a user
has who chooses nothing. Also measured: onnxruntime's own default static quantization.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import arguments, save, spread
from edgeopt.export.session import changes, defaults, input_names, onnx_query, open_session
from edgeopt.measure.graph import weigh
from edgeopt.measure.latency_worker import feeds_of, pin
from edgeopt.measure.rounds import interleaved
from edgeopt.measure.session_choice import best_options
from edgeopt.models.files import GRAPH
from edgeopt.step import registry
from edgeopt.store.facts import Fact
from edgeopt.tasks.encode import Encoder
from edgeopt.testing.build import build, step, steps_towards

ROUNDS, SECONDS = 300, 60.0
BASELINES = ("fp32", "fp32, default session")


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        graphs: dict[str, Path] = {}
        for use in ("quantize.static", "quantize.dynamic"):
            steps = [*steps_towards(frozenset({Fact.TRAINED_HEAD})), step(registry.get(use), {}, "int8")]
            made = build(steps, model=options.model, data=options.data, store=work / "store")
            graphs["fp32"] = made.lowered("candidate").folder / GRAPH
            graphs[use] = made.final("candidate").folder / GRAPH
        rows = Encoder(graphs["fp32"].parent, 128).ids(made.data.report.texts[:256])
        graphs["onnxruntime default static"] = _default_static(graphs["fp32"], rows, work)
        pin(1)
        feeds = feeds_of(rows, 128, 1)
        chosen = {
            name: best_options(partial(onnx_query, path), defaults(1), changes(1), feeds, 1)
            for name, path in graphs.items()
        }
        queries = {
            **{name: choice.query for name, choice in chosen.items()},
            "fp32, default session": onnx_query(graphs["fp32"], defaults(1)),
        }
        medians: dict[str, list[float]] = {name: [] for name in queries}
        for _ in range(options.repeats):
            for name, samples in interleaved(queries, feeds, 1, ROUNDS, SECONDS).items():
                medians[name].append(float(np.median(samples)))
        sizes = {name: weigh(path).bytes for name, path in graphs.items()}
    save(
        "int8_speed",
        {
            "what": "p50 of an FP32 baseline over p50 of the candidate; batch 1, sequence 128, one thread",
            "repeats": options.repeats,
            "session": {name: choice.options for name, choice in chosen.items()},
            "p50_ms": {k: spread(v) for k, v in medians.items()},
            "speedup": {
                f"{name} over {base}": spread([b / c for b, c in zip(medians[base], medians[name], strict=True)])
                for name in medians
                if name not in BASELINES
                for base in BASELINES
            },
            "size_bytes": sizes,
        },
    )


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
