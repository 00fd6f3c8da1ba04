"""What each of ONNX Runtime's options does for a graph in FP32, static and dynamic int8, with 1 and 2 threads.

It is batch 1 at 128 tokens. A ratio is the p50 with the runtime's default options over the p50 with one of them changed
(above 1: the change is quicker), from rounds of the two sessions next to each other, with one-sided 95 % bounds. `same
graph` are the optimizers of the runtime without which its graph has the same operators: they are not timed. `chosen` is
what `apply` comes to, and `start` the cold start of the file with that and of the graph saved optimized. Takes about
three minutes. Run it while nothing else runs.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.common import arguments, save
from edgeopt.export.exporter import Runnable
from edgeopt.export.session import changes as tried_changes
from edgeopt.export.session import defaults, onnx_query, save_optimized
from edgeopt.measure.latency import cold_starts
from edgeopt.measure.latency_worker import feeds_of, pin
from edgeopt.measure.rounds import interleaved
from edgeopt.measure.session_choice import best_options, changed
from edgeopt.models.files import GRAPH
from edgeopt.statistics.bounds import percentile_bounds, percentile_ratio
from edgeopt.step import registry
from edgeopt.store.facts import Fact
from edgeopt.tasks.encode import Encoder
from edgeopt.testing.build import build, step, steps_towards

ROUNDS, SECONDS, TOKENS = 40, 1.5, 128
OPTIMIZERS = (
    "SkipLayerNormFusion",
    "BiasGeluFusion",
    "GeluFusionL2",
    "MatMulScaleFusion",
    "MatMulAddFusion",
    "AttentionFusion",
    "EmbedLayerNormFusion",
    "LayerNormFusionL2",
    "QDQPropagationTransformer",
    "QDQS8ToU8Transformer",
    "QDQSelectorActionTransformer",
    "DynamicQuantizeMatMulFusion",
    "MatMulIntegerToFloatFusion",
    "TransposeOptimizer",
)
OTHERS: dict[str, dict[str, Any]] = {
    "level basic": {"graph_optimization_level": "ORT_ENABLE_BASIC"},
    "level extended": {"graph_optimization_level": "ORT_ENABLE_EXTENDED"},
    "no arena": {"enable_cpu_mem_arena": False},
    "no memory pattern": {"enable_mem_pattern": False},
}
ON_THREADS: dict[str, dict[str, Any]] = {
    "no spinning": {"session.intra_op.allow_spinning": "0"},
    "1 thread": {"intra_op_num_threads": 1},
}


def main() -> None:
    options = arguments(__doc__ or "", repeats=None).parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        graphs, rows = _graphs(options.model, options.data, Path(scratch))
        feeds = feeds_of(rows, TOKENS, 1)
        tried = {name: {f"without {o}": {"disabled_optimizers": [o]} for o in OPTIMIZERS} for name in graphs}
        same = {name: _same_graph(path, tried[name], Path(scratch)) for name, path in graphs.items()}
        results: dict[str, Any] = {}
        # two threads first: a process that is pinned to one processor does not come back
        for threads in (2, 1):
            pin(threads)
            for name, path in graphs.items():
                kept = {k: v for k, v in tried[name].items() if k not in same[name]}
                changes = {**kept, **OTHERS, **(ON_THREADS if threads > 1 else {})}
                results[f"{name}, {threads} thread{'s' * (threads > 1)}"] = _measured(
                    path, threads, changes, feeds, rows[0], Path(scratch)
                )
    save(
        "session_choices",
        {
            "what": "p50 with ONNX Runtime's default options over p50 with one changed: value, low, high; batch 1, "
            f"{TOKENS} tokens",
            "rounds": ROUNDS,
            "seconds": round(time.monotonic() - began),
            "same graph": same,
            "results": results,
        },
    )


def _graphs(model: Path, data: Path, work: Path) -> tuple[dict[str, Path], list[dict[str, list[int]]]]:
    graphs: dict[str, Path] = {}
    for use in ("quantize.static", "quantize.dynamic"):
        made = build(
            [*steps_towards(frozenset({Fact.TRAINED_HEAD})), step(registry.get(use), {}, "int8")],
            model=model,
            data=data,
            store=work / "store",
        )
        graphs["fp32"] = made.lowered("candidate").folder / GRAPH
        graphs[use] = made.final("candidate").folder / GRAPH
    return graphs, Encoder(graphs["fp32"].parent, TOKENS).ids(made.data.report.texts[:64])


def _same_graph(path: Path, changes: dict[str, dict[str, Any]], work: Path) -> list[str]:
    """The changes that leave the graph with the operators that it has by default."""

    def operators(change: dict[str, Any]) -> Counter[str]:
        save_optimized(path, changed(defaults(1), change), work / "optimized.onnx")
        return Counter(n.op_type for n in onnx.load(work / "optimized.onnx").graph.node)

    default = operators({})
    return [name for name, change in changes.items() if operators(change) == default]


def _measured(
    path: Path, threads: int, changes: dict[str, dict[str, Any]], feeds: list[Any], row: Any, work: Path
) -> dict[str, Any]:
    default = onnx_query(path, defaults(threads))
    ratios = {}
    for name, change in changes.items():
        samples = interleaved(
            {"default": default, name: onnx_query(path, changed(defaults(threads), change))},
            feeds,
            threads,
            ROUNDS,
            SECONDS,
        )
        ratios[name] = [
            round(v, 3)
            for v in percentile_ratio(np.array(samples["default"]), np.array(samples[name]), 50.0, 0.95, block=1)
        ]
    p50 = float(np.median(samples["default"]))
    choice = best_options(partial(onnx_query, path), defaults(threads), tried_changes(threads), feeds, threads)
    alone = save_optimized(path, choice.options, work / "optimized.onnx")
    files = {"default": Runnable(path, settings=defaults(threads)), "chosen": Runnable(path, settings=choice.options)}
    starts = cold_starts({**files, "optimized": Runnable(work / "optimized.onnx", settings=alone)}, row)
    return {
        "default p50_ms": round(p50, 3),
        "ratios": ratios,
        "chosen": choice.options,
        "gain": choice.gain and [round(v, 3) for v in choice.gain],
        "start_ms": {
            k: [round(v, 1) for v in percentile_bounds(np.array(s.ms), 50.0, 0.95, block=1)] for k, s in starts.items()
        },
        "peak_mb": {k: round(float(np.median(s.peak_bytes)) / 1e6, 1) for k, s in starts.items()},
    }


if __name__ == "__main__":
    main()
