"""One int8 model in every runtime that is here, by `edgeopt apply` with `export: auto`; whether that kept the fastest.

The model is fine-tuned and quantized once. Every format in every variant, the FP32 baseline and torch answer the same
queries in turn, on one thread and on two. Metrics, size, largest logit difference (from what the file was made of) and
cold start are the exported file's. Runtimes that come as extras are measured where they are installed:
`build/runtimes/bin/python -m benchmarks.exports …` after `make test-runtimes`. Run it while nothing else runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import TASKS, applied, arguments, report_of, save, table, write
from edgeopt.results.model import Report, Subject
from edgeopt.support import host

SEQUENCE: tuple[int | str, ...] = (128, "task")
THREADS = (1, 2)
RUNTIMES = ("onnxruntime", "openvino", "ai-edge-litert", "executorch", "torch")


def main() -> None:
    parser = arguments(__doc__ or "", repeats=None)
    parser.add_argument("--task", choices=TASKS, default="mrpc", help="columns that --data has")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--work", type=Path, required=True, help="keep store and runs here, to go on from")
    parser.add_argument("--name", default="exports", help="of the files in results/")
    options = parser.parse_args()
    report = report_of(applied(recipe(options), options.work.resolve()))
    rows = results(report)
    (kept,) = [e.name for e in report.exports if e.subject == "candidate"]
    fastest = min((e.name for e in report.exports if e.verdict == "pass"), key=lambda name: rows[name]["typical_ms_1"])
    save(
        options.name,
        {
            "what": "one int8 model in several runtimes: p50 in ms at 128 tokens and at the rows' own lengths, batch "
            "1, on 1 and 2 threads; typical_ms_1 is the geometric mean of the two lengths on one thread, by which "
            "`export: auto` chooses",
            "model": options.model.name,
            "task": options.task,
            "rows": report.task.rows,
            "auto_kept": kept,
            "fastest": fastest,
            "kept_is_fastest": kept == fastest,
            "versions": {name: version for name in RUNTIMES if (version := host.installed(name))},
            "results": rows,
        },
    )
    write(f"{options.name}.md", _markdown(report, rows, kept, fastest))


def recipe(options: Any) -> dict[str, Any]:
    data = {split: str(options.data.resolve() / f"{split}.jsonl") for split in ("train", "validation")}
    training = {"epochs": options.epochs, "learning_rate": 5e-5}
    target = {"sequence": list(SEQUENCE), "queries": options.queries, "max_seconds": 120.0}
    return {
        "edgeopt": 1,
        "name": options.name,
        "model": {"id": str(options.model.resolve())},
        "task": {
            "type": "text-classification",
            "dataset": {"data_files": data},
            **TASKS[options.task],
            "metrics": ["accuracy", "f1"],
        },
        "baseline": {"finetune": training},
        "steps": [
            {"use": "finetune", **training},
            {"id": "int8", "use": "quantize.static", "calibration": {"samples": 256}},
        ],
        "export": "auto",
        "targets": [{"name": f"{n}-threads", "threads": n, **target} for n in THREADS],
        "gates": [{"metric": "size", "max_ratio": 1.0}],
    }


def results(report: Report) -> dict[str, dict[str, Any]]:
    """A row for each subject: the baselines, then the exports, the quickest first."""
    rows = {
        "baseline (FP32, onnx)": {
            "runtime": "onnxruntime",
            "max_logit_difference": None,
            **_figures(report.baseline, report, "baseline"),
        }
    }
    rows["baseline (FP32, torch)"] = {
        "runtime": "torch",
        "max_logit_difference": None,
        **_times(report, "baseline-torch"),
    }
    exports = {
        e.name: {
            "runtime": e.runtime,
            "made_of": e.made_of,
            "lengths": e.lengths,
            "verdict": e.verdict,
            "max_logit_difference": e.max_abs_diff,
            **_figures(e.figures, report, e.subject),
        }
        for e in report.exports
    }
    return rows | dict(sorted(exports.items(), key=lambda row: row[1]["typical_ms_1"]))


def _figures(subject: Subject, report: Report, name: str) -> dict[str, Any]:
    return {
        **{metric: round(value, 4) for metric, value in subject.metrics.items()},
        "size_mb": round(subject.size_bytes / 1e6, 2),
        "cold_start_ms": round(subject.cold_start_ms or 0.0, 1),
        "peak_mb": round((subject.memory_peak_bytes or 0) / 1e6, 1),
        **_times(report, name),
    }


def _times(report: Report, name: str) -> dict[str, Any]:
    found = {(m.threads, m.sequence): m.p50_ms for m in report.latency if m.subject == name}
    times: dict[str, Any] = {f"p50_ms_{threads}_{sequence}": round(ms, 3) for (threads, sequence), ms in found.items()}
    for threads in THREADS:
        times[f"typical_ms_{threads}"] = round(float(np.exp(np.mean([np.log(found[threads, s]) for s in SEQUENCE]))), 4)
    for s in report.speedups:
        if (s.of, s.against) == (name, "baseline"):
            times[f"speedup_{s.target.partition('-')[0]}_{s.sequence}"] = [
                round(v, 3) for v in (s.ratio, s.low, s.high)
            ]
    return times


def _markdown(report: Report, rows: dict[str, dict[str, Any]], kept: str, fastest: str) -> str:
    columns = (
        "Export",
        "accuracy",
        "F1",
        "Logit difference",
        "MB",
        "p50 ms, 1 thread, 128",
        "own lengths",
        "2 threads, 128",
        "own lengths",
        "Cold start ms",
    )
    names = (
        "accuracy",
        "f1",
        "max_logit_difference",
        "size_mb",
        *(f"p50_ms_{t}_{s}" for t in THREADS for s in SEQUENCE),
        "cold_start_ms",
    )
    lines = [
        [f"**{name}**" if name == kept else name, *(_shown(row.get(n)) for n in names)] for name, row in rows.items()
    ]
    chosen = "which is the fastest row" if kept == fastest else f"and the fastest row is {fastest}"
    return (
        f"# {report.model.rpartition('/')[2]} in several runtimes\n\n{report.task.rows} rows; made by "
        f"`benchmarks/exports.py` on {host.cpu_name()}, {report.created}.\n`export: auto` kept {kept}, {chosen} (by "
        "the geometric mean of both lengths on one thread).\nA logit's difference is from what the file was made of: "
        f"the int8 graph, or the FP32 model where the exporter quantizes itself.\n\n{table(columns, lines)}"
    )


def _shown(value: Any) -> str:
    return "–" if value is None else f"{value:.2g}" if isinstance(value, float) and abs(value) < 0.1 else f"{value:g}"


if __name__ == "__main__":
    main()
