"""How often `export: auto` keeps an export that passes a gate wrongly: six formats that all drop by just the margin.

Synthetic rows, on which the baseline and six formats answer; each format's answers are as far from the baseline's as
the margin in the long run, alike among formats (of their changed rows four in five are the same) or independent. *By
the selection rows*: as `export: auto` chooses, on a tenth as many rows again, the fastest of those with the best
verdict; the gate is decided on the report rows. *By the report rows*: chosen and gated on the same rows, as it was
until then. Each has the formats in a new order of speed.

    python -m benchmarks.export_choice --repeats 1000
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from math import asin, pi, sin, sqrt
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.common import arguments, save, table, write
from edgeopt.gates import decide as gates
from edgeopt.gates.decide import decide
from edgeopt.measure.latency import Measured
from edgeopt.results.model import Subject
from edgeopt.run.fastest import MeasuredExport, Reference, evidence_for, fastest, verdicts
from edgeopt.spec.recipe import GateSpec, TaskSpec
from edgeopt.statistics import bootstrap
from edgeopt.statistics import bounds as statistics
from edgeopt.statistics.metric_bounds import confusion_metric
from edgeopt.tasks import Task, task_of

FORMATS, CONFIDENCE, ALIKE = 6, 0.95, 0.8
#: metric, report rows, margin, how alike the formats are, share of the repeats: a bootstrap takes its time.
CASES = [
    *(("accuracy", n, m, ALIKE, 1.0) for n, m in ((872, 0.01), (408, 0.01), (2121, 0.01), (872, 0.005), (872, 0.02))),
    ("accuracy", 872, 0.01, 0.0, 1.0),
    ("f1", 408, 0.02, ALIKE, 0.2),
    ("spearman", 408, 0.01, ALIKE, 0.2),
    ("f1", 872, 0.01, ALIKE, 0.2),
    ("spearman", 408, 0.02, ALIKE, 0.2),
]
#: Of the draws of a bootstrap, so that a simulation ends: a run takes 10,000.
RESAMPLES = 500
POSITIVE, ACCURACY, MENDED = 0.6, 0.87, 0.15
CORRELATION, SHARED = 0.88, 0.9

Rows = tuple[Any, Any, list[Any]]


def main() -> None:
    parser = arguments(__doc__ or "", repeats=1000)
    options = parser.parse_args()
    bootstrap.RESAMPLES = RESAMPLES
    gates.rows_needed = lambda *given: None  # how many rows would tell: nobody asks here
    statistics.paired_proportions = cache(statistics.paired_proportions)  # the same few counts come again and again
    found = []
    for metric, rows, margin, alike, share in CASES:
        found.append(simulate(metric, rows, margin, alike, round(options.repeats * share)))
        _save(found)


def _save(found: Sequence[dict[str, Any]]) -> None:
    about = {"formats": FORMATS, "confidence": CONFIDENCE, "resamples of a bootstrap": RESAMPLES}
    save(
        "export_choice",
        {
            "what": "share of samples in which the kept export passes, where all six truly drop by just the margin",
            **about,
            "results": found,
        },
    )
    text = "\n\n".join((__doc__ or "").split("\n\n")[1:2])
    rows_ = [
        [
            r["metric"],
            f"{r['rows']:,}",
            r["margin"],
            r["alike"],
            r["repeats"],
            *(f"{r[k]:.1%}" for k in ("selection", "report", "first")),
        ]
        for r in found
    ]
    columns = [
        "Metric",
        "Rows",
        "Margin and true drop",
        "Alike",
        "Samples",
        "By the selection rows",
        "By the report rows",
        "One format alone",
    ]
    note = (
        f"Stated: {1 - CONFIDENCE:.0%}. A bootstrap (F1, Spearman) has {RESAMPLES:,} resamples here, 10,000 in a run.\n"
    )
    write("export_choice.md", f"# Wrong passes of `export: auto`\n\n{text}\n\n{table(columns, rows_)}\n{note}")


def simulate(metric: str, rows: int, margin: float, alike: float, repeats: int) -> dict[str, Any]:
    rng = np.random.default_rng([rows, int(margin * 1e4), int(alike * 10), len(metric)])
    regression = metric == "spearman"
    kind = "text-regression" if regression else "text-classification"
    task = task_of(
        TaskSpec.model_validate({"type": kind, "dataset": {"path": "-"}, "text": "text", "metrics": [metric]}),
        () if regression else ("0", "1"),
    )
    draw = scores(margin) if regression else classes(metric, margin)
    gate = GateSpec.model_validate({"metric": metric, "max_drop": margin, "confidence": CONFIDENCE})
    wrong = {"selection": 0, "report": 0, "first": 0}
    for _ in range(repeats):
        speed = rng.permutation(FORMATS) + 1.0
        reported, exports = presented(task, draw(rng, rows, alike), speed)
        selection, tried = presented(task, draw(rng, max(rows // 10, 40), alike), speed)
        passes = {e.subject: decide(gate, evidence_for(e, reported)).verdict == "pass" for e in exports}
        wrong["selection"] += passes[fastest(tried, selection.latency, verdicts(tried, selection, [gate])).subject]
        wrong["report"] += any(passes.values())  # the fastest of those that pass, where one does
        wrong["first"] += passes[exports[0].subject]
    return {
        "metric": metric,
        "rows": rows,
        "margin": margin,
        "alike": alike,
        "repeats": repeats,
        **{k: round(v / repeats, 4) for k, v in wrong.items()},
    }


def presented(task: Task, rows: Rows, speed: Any) -> tuple[Reference, list[MeasuredExport]]:
    """The rows as a run has them."""
    truth, base, candidates = rows
    shape: Callable[[Any], Any] = (lambda x: x[:, None]) if task.scores else (lambda x: np.eye(2)[x])

    def subject(outputs: Any) -> Subject:
        return Subject(
            artifact="-", metrics=task.metrics(truth, outputs), size_bytes=1, parameters=1, nonzero=1, precision="fp32"
        )

    written: Any = SimpleNamespace()
    exports = [
        MeasuredExport(written, f"f{i}", shape(c), None, {}, subject(shape(c))) for i, c in enumerate(candidates)
    ]
    latency = [
        Measured(e.subject, "here", "onnxruntime", "cpu", 1, 1, 8, {}, np.full(4, s))
        for e, s in zip(exports, speed, strict=True)
    ]
    return Reference(task, truth, shape(base), subject(shape(base)), latency, {}), exports


def classes(metric: str, drop: float) -> Callable[[np.random.Generator, int, float], Rows]:
    """Both models' classes, so that in the long run each format's metric is lower by `drop`."""
    lost = _lost(metric, drop)

    def draw(rng: np.random.Generator, count: int, alike: float) -> Rows:
        truth = (rng.random(count) < POSITIVE).astype(int)
        right = rng.random(count) < ACCURACY
        base = np.where(right, truth, 1 - truth)
        return (
            truth,
            base,
            [np.where(u < np.where(right, lost, MENDED), 1 - base, base) for u in _alike(rng, count, alike)],
        )

    return draw


def _alike(rng: np.random.Generator, count: int, alike: float) -> Iterator[Any]:
    """A uniform number a row for each format, of which that share of the rows has the same in all."""
    shared = rng.random(count)
    for _ in range(FORMATS):
        yield np.where(rng.random(count) < alike, shared, rng.random(count))


def _lost(metric: str, drop: float) -> float:
    """Share of the baseline's right answers that a format gets wrong."""
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if _metric(metric, 0.0, 0.0) - _metric(metric, middle, MENDED) < drop else (low, middle)
        )
    return low


def _metric(metric: str, lost: float, mended: float) -> float:
    """In the long run."""
    accuracy = ACCURACY * (1 - lost) + (1 - ACCURACY) * mended
    matrix = np.array([[[1 - POSITIVE], [POSITIVE]]]) * np.array([[[accuracy, 1 - accuracy], [1 - accuracy, accuracy]]])
    return accuracy if metric == "accuracy" else float(confusion_metric(metric, matrix)[0])


def scores(drop: float) -> Callable[[np.random.Generator, int, float], Rows]:
    """Normal as their errors are; Spearman's correlation of those is 6/π·asin(r/2)."""
    noise = [sqrt(1 / r**2 - 1) for r in (CORRELATION, 2 * sin(pi * (6 / pi * asin(CORRELATION / 2) - drop) / 6))]

    def draw(rng: np.random.Generator, count: int, alike: float) -> Rows:
        truth, one, shared = rng.standard_normal((3, count))
        own: Sequence[Any] = [
            sqrt(alike) * shared + sqrt(1 - alike) * rng.standard_normal(count) for _ in range(FORMATS)
        ]
        return truth, truth + noise[0] * one, [truth + noise[1] * (SHARED * one + sqrt(1 - SHARED**2) * o) for o in own]

    return draw


if __name__ == "__main__":
    main()
