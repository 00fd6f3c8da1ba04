"""A student of half the layers with its teacher's help, and the same student with hard labels alone.

It runs `distill` through `edgeopt apply`, for several seeds, and measures what the cache of the teacher's answers
saves. Each seed has a teacher of its own, whose every other layer is what the student starts as in both. A second start
with the same --work goes on where the first stopped.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from benchmarks.common import (
    CLASSIFICATIONS,
    TASKS,
    applied,
    arguments,
    evidence_of,
    report_of,
    save,
    spread,
    table,
    write,
)

METRICS = ("accuracy", "f1")
#: what the student is trained towards; the first is the control
LOSSES: dict[str, dict[str, float]] = {
    "hard labels": {"labels": 1.0, "logits": 0.0},
    "logits": {"logits": 1.0},
    "logits and layers": {"logits": 1.0, "hidden": 1.0},
}


def main() -> None:
    parser = arguments(__doc__ or "", repeats=3)
    parser.add_argument("--task", choices=CLASSIFICATIONS, default="mrpc", help="columns that --data has")
    parser.add_argument("--max-rows", type=int, help="of train; validation is used whole")
    parser.add_argument("--epochs", type=float, default=3.0, help="of the teacher")
    parser.add_argument("--student-epochs", type=float, default=3.0)
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate of every training")
    parser.add_argument("--seeds", type=int, default=3, help="from 42 on")
    parser.add_argument("--layers", default="1,3,5", help="of the teacher that the student keeps")
    parser.add_argument("--losses", default=",".join(LOSSES), help="comma between them, the control first")
    parser.add_argument("--work", type=Path, required=True, help="keep store and runs here, to go on from")
    parser.add_argument("--name", default="distillation", help="of the files in results/")
    options = parser.parse_args()
    work = options.work.resolve()
    seeds = list(range(42, 42 + options.seeds))
    runs = {
        loss: {seed: applied(recipe(loss, seed, options), work) for seed in seeds} for loss in options.losses.split(",")
    }
    results = {loss: summary(found, runs["hard labels"]) for loss, found in runs.items()}
    save(
        options.name,
        {
            "what": "a student of half the layers; metrics of the exported FP32 file on validation; "
            "`over hard labels`: the same seed's student trained with hard labels alone, on the same rows, paired "
            "90 % intervals (one-sided 95 % bounds)",
            "model": options.model.name,
            "task": options.task,
            "train_rows": options.max_rows or "all",
            "teacher_epochs": options.epochs,
            "student_epochs": options.student_epochs,
            "seeds": seeds,
            "layers": options.layers,
            "losses": LOSSES,
            "results": results,
            **({"cache": cache(options, work, options.repeats)} if options.repeats else {}),
        },
    )
    write(f"{options.name}.md", rendered(results))


def recipe(loss: str, seed: int, options: Any, **more: Any) -> dict[str, Any]:
    """One student and its teacher: rows come in the same order for every teacher, its head is drawn from the seed."""
    teacher = {"epochs": options.epochs, "learning_rate": options.rate, "batch_size": 32, "seed": 42}
    student = {"epochs": options.student_epochs, "learning_rate": options.rate, "batch_size": 32}
    layers = [int(n) for n in options.layers.split(",")]
    limit = {"max_rows": {"train": options.max_rows}} if options.max_rows else {}
    return {
        "edgeopt": 1,
        "name": f"distill-{options.task}-{loss.replace(' ', '-')}-{seed}",
        "model": {"id": str(options.model.resolve())},
        "task": {
            "type": "text-classification",
            "dataset": {"path": str(options.data.resolve()), **limit},
            "metrics": METRICS,
            **TASKS[options.task],
        },
        "baseline": {"finetune": teacher},
        "steps": [
            {"id": "tune", "use": "finetune", **teacher},
            {
                "id": "student",
                "use": "distill",
                "student": {"layers": layers},
                **student,
                "teacher": "tune",
                "losses": LOSSES[loss],
                "temperature": 2.0,
            },
        ],
        "targets": [{"name": "bench", "sequence": [128], "queries": 100}],
        "seed": seed,
        **more,
    }


def summary(runs: dict[int, Path], control: dict[int, Path]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds, and the differences of each seed to the teacher and the control."""
    reports = {seed: report_of(run) for seed, run in runs.items()}
    found: dict[str, Any] = {}
    for metric in METRICS:
        values = [r.candidate.metrics[metric] for r in reports.values()]
        found[metric] = {
            "teacher": round(mean(r.baseline.metrics[metric] for r in reports.values()), 4),
            "mean": round(mean(values), 4),
            "std": round(stdev(values), 4),
            "each": values,
            "over hard labels": {seed: _difference(control[seed], run, metric) for seed, run in runs.items()},
        }
    steps = [next(s for s in r.steps if s.chain == "candidate" and s.id == "student") for r in reports.values()]
    speeds = [
        next(s.ratio for s in r.speedups if (s.of, s.against) == ("candidate", "baseline")) for r in reports.values()
    ]
    first = reports[min(reports)]
    return {
        **found,
        "onnx_bytes": first.candidate.size_bytes,
        "teacher_onnx_bytes": first.baseline.size_bytes,
        "speedup_128": spread(speeds),
        "train_seconds": spread([s.figures["train_seconds"] for s in steps]),
    }


def _difference(control: Path, run: Path, metric: str) -> dict[str, float]:
    evidence = replace(evidence_of(run), baseline_logits=evidence_of(control).candidate_logits)
    return dict(zip(("change", "low", "high"), (round(v, 4) for v in evidence.difference(metric, 0.95)), strict=True))


def cache(options: Any, work: Path, repeats: int) -> dict[str, Any]:
    """Seconds of the student's training with the teacher's answers from the store, and with the teacher asked anew.

    They are taken in turn, the teacher asked in every epoch; each pair has a seed of its own, the teacher and what it
    answered are there from the runs above.
    """
    found: dict[str, list[float]] = {"cached": [], "asked": []}
    for repeat in range(repeats):
        for name, gigabytes in (("cached", 4.0), ("asked", 0.0)):
            filled = recipe("logits and layers", 42, options)
            filled["name"] += f"-{name}-{repeat}"
            filled["steps"][1]["seed"] = 100 + repeat
            filled["steps"][1]["cache_gb"] = gigabytes
            step = next(
                s for s in report_of(applied(filled, work)).steps if s.chain == "candidate" and s.id == "student"
            )
            found[name].append(step.figures["train_seconds"])
    ratios = [b / a for a, b in zip(found["cached"], found["asked"], strict=True)]
    return {"seconds": {k: spread(v) for k, v in found.items()}, "asked over cached": spread(ratios)}


def rendered(results: dict[str, dict[str, Any]]) -> str:
    columns = [
        "student's loss",
        *(f"{m}, mean ± std" for m in METRICS),
        *(f"{m} over hard labels, by seed" for m in METRICS),
    ]
    columns += ["teacher", "ONNX MB", "p50 against the teacher", "training s"]
    lines = []
    for loss, found in results.items():
        changes = [
            ", ".join(
                f"{d['change']:+.4f} ({d['low']:+.4f} … {d['high']:+.4f})"
                for d in found[m]["over hard labels"].values()
            )
            for m in METRICS
        ]
        lines.append(
            [
                loss,
                *(f"{found[m]['mean']:.4f} ± {found[m]['std']:.4f}" for m in METRICS),
                *(changes if loss != "hard labels" else ["", ""]),
                " / ".join(f"{found[m]['teacher']:.4f}" for m in METRICS),
                f"{found['onnx_bytes'] / 1e6:.1f} of {found['teacher_onnx_bytes'] / 1e6:.1f}",
                f"{found['speedup_128']['median']:.2f}×",
                f"{found['train_seconds']['median']:.0f}",
            ]
        )
    pooled = {
        loss: [np.mean([d["change"] for d in found[m]["over hard labels"].values()]) for m in METRICS]
        for loss, found in results.items()
    }
    means = "; ".join(
        f"{loss}: {', '.join(f'{m} {v:+.4f}' for m, v in zip(METRICS, values, strict=True))}"
        for loss, values in pooled.items()
        if loss != "hard labels"
    )
    return table(columns, lines) + f"\nMean change over hard labels: {means}\n"


if __name__ == "__main__":
    main()
