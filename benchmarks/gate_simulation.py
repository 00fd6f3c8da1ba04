"""How often gates on accuracy, F1, Matthews, Pearson and Spearman decide wrongly.

Synthetic rows on which the true drop is known are decided as a run's are, 500 times each. A gate of 1 point at 95 %
confidence may pass a drop of just 1 point, and fail one, in 5 % of samples.

    python -m benchmarks.gate_simulation --processes 2
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import product
from math import asin, pi, sin, sqrt
from multiprocessing import Pool
from typing import Any

import numpy as np

from benchmarks.common import RESULTS, arguments, save
from edgeopt.gates.decide import decide
from edgeopt.gates.evidence import Evidence
from edgeopt.results.model import Gate, Subject
from edgeopt.spec.recipe import GateSpec, TaskSpec
from edgeopt.statistics.metric_bounds import confusion_metric
from edgeopt.tasks import task_of

MARGIN, CONFIDENCE = 0.01, 0.95
#: The true drop, and what a gate of 1 point makes of it.
DROPS = {0.0: "no drop", MARGIN: "just the margin", 0.03: "3 points"}
#: rows → share of class 1 and baseline's accuracy: as MRPC's, SST-2's and the quickstart's.
SPLITS = {408: (0.68, 0.87), 872: (0.51, 0.92), 2121: (0.50, 0.84)}
#: Share of the baseline's mistakes that the candidate mends.
MENDED = 0.15
#: Of regressions: the baseline's correlation, and that of both models' errors.
CORRELATION, SHARED = 0.88, 0.9
METRICS = ("accuracy", "f1", "matthews", "pearson", "spearman")
#: Of the gate on the worst slice: rows of each of four slices, and its margin.
SLICE_ROWS, SLICE_MARGIN = (900, 600, 400, 221), 0.05

Draw = Callable[[np.random.Generator, int], tuple[Any, Any, Any]]


def classes(metric: str, rows: int, drop: float) -> Draw:
    """Draws labels and both models' classes, so that in the long run the candidate's metric is lower by `drop`."""
    cells, shares = cells_of(*SPLITS.get(rows, SPLITS[2121]), _lost(metric, rows, drop))

    def draw(rng: np.random.Generator, count: int) -> tuple[Any, Any, Any]:
        truth, base, candidate = np.repeat(cells, rng.multinomial(count, shares), axis=0).T
        return truth, base, candidate

    return draw


def cells_of(positive: float, accuracy: float, lost: float) -> tuple[Any, Any]:
    """(truth, baseline, candidate) of each kind of row, and its share."""
    cells = np.array(list(product((0, 1), repeat=3)))
    truth, base, candidate = cells.T
    right = np.where(base == truth, accuracy, 1 - accuracy)
    changed = np.where(base == truth, lost, MENDED)
    shares = np.where(truth == 1, positive, 1 - positive) * right * np.where(candidate == base, 1 - changed, changed)
    return cells, shares


def _lost(metric: str, rows: int, drop: float) -> float:
    """Share of the baseline's right answers that the candidate gets wrong."""
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = (low + high) / 2
        cells, shares = cells_of(*SPLITS.get(rows, SPLITS[2121]), middle)
        found = []
        for model in (1, 2):
            matrix = np.zeros((1, 2, 2))
            np.add.at(matrix[0], (cells[:, 0], cells[:, model]), shares)
            found.append(
                float(np.trace(matrix[0])) if metric == "accuracy" else float(confusion_metric(metric, matrix)[0])
            )
        low, high = (middle, high) if found[0] - found[1] < drop else (low, middle)
    return low


def scores(metric: str, rows: int, drop: float) -> Draw:
    """Draws of scores, normal as their errors are; Spearman's correlation of those is 6/π·asin(r/2)."""
    goal = CORRELATION - drop if metric == "pearson" else 2 * sin(pi * (6 / pi * asin(CORRELATION / 2) - drop) / 6)
    noise = [sqrt(1 / r**2 - 1) for r in (CORRELATION, goal)]

    def draw(rng: np.random.Generator, count: int) -> tuple[Any, Any, Any]:
        truth, one, other = rng.standard_normal((3, count))
        return truth, truth + noise[0] * one, truth + noise[1] * (SHARED * one + sqrt(1 - SHARED**2) * other)

    return draw


def decided(metric: str, truth: Any, base: Any, candidate: Any, **gate: Any) -> Gate:
    """The gate as a run decides it."""
    regression = metric in ("pearson", "spearman")
    kind = "text-regression" if regression else "text-classification"
    spec = TaskSpec.model_validate({"type": kind, "dataset": {"path": "-"}, "text": "text", "metrics": [metric]})
    task = task_of(spec, () if regression else ("0", "1"))
    groups = gate.pop("groups", {})
    outputs = [x[:, None] if regression else np.eye(2)[x] for x in (base, candidate)]
    subjects = [
        Subject(artifact="-", metrics=task.metrics(truth, x), size_bytes=1, parameters=1, nonzero=1, precision="fp32")
        for x in outputs
    ]
    asked = GateSpec.model_validate({"metric": metric, "max_drop": MARGIN, "confidence": CONFIDENCE, **gate})
    return decide(asked, Evidence(task, truth, *outputs, *subjects, [], groups))


def simulate(metric: str, rows: int, drop: float, repeats: int) -> dict[str, Any]:
    """How often a gate of 1 point passes, fails and stays open."""
    draw = (scores if metric in ("pearson", "spearman") else classes)(metric, rows, drop)
    rng = np.random.default_rng([rows, int(drop * 1000), METRICS.index(metric)])
    verdicts = Counter(decided(metric, *draw(rng, rows)).verdict for _ in range(repeats))
    return {
        "metric": metric,
        "rows": rows,
        "drop": drop,
        "repeats": repeats,
        **{v: verdicts[v] / repeats for v in ("pass", "fail", "inconclusive")},
    }


def simulate_slices(name: str, drops: tuple[float, ...], repeats: int) -> dict[str, Any]:
    """How often a gate on the worst of four slices decides wrongly, each slice with a drop of its own."""
    draws, rng = [classes("accuracy", 2121, drop) for drop in drops], np.random.default_rng(len(name))
    slices = np.repeat(["a", "b", "c", "d"], SLICE_ROWS)
    verdicts: Counter[str] = Counter()
    for _ in range(repeats):
        columns = [
            np.concatenate(x) for x in zip(*(d(rng, n) for d, n in zip(draws, SLICE_ROWS, strict=True)), strict=True)
        ]
        verdicts[
            decided("accuracy", *columns, max_drop=SLICE_MARGIN, slice="domain", groups={"domain": slices}).verdict
        ] += 1
    return {
        "slices": name,
        "drops": drops,
        "repeats": repeats,
        **{v: verdicts[v] / repeats for v in ("pass", "fail", "inconclusive")},
    }


SLICES: dict[str, tuple[float, ...]] = {
    "no drop in any": (0.0, 0.0, 0.0, 0.0),
    "just the margin in the largest": (SLICE_MARGIN, 0.0, 0.0, 0.0),
    "just the margin in the smallest": (0.0, 0.0, 0.0, SLICE_MARGIN),
    "just the margin in all": (SLICE_MARGIN,) * 4,
    "15 points in the smallest": (0.0, 0.0, 0.0, 0.15),
}


def _one(job: tuple[str, int, float, int]) -> dict[str, Any]:
    return simulate(*job)


def main() -> None:
    parser = arguments(__doc__ or "", repeats=500)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="keep what the results file has")
    options = parser.parse_args()
    jobs = [(m, n, d, options.repeats) for m in METRICS for n in SPLITS for d in DROPS]
    before = (
        json.loads((RESULTS / "gate_simulation.json").read_text(encoding="utf-8"))["gates"] if options.resume else []
    )
    found = [r for r in before if r["repeats"] == options.repeats]
    done = {(r["metric"], r["rows"], r["drop"], r["repeats"]) for r in found}
    worst = [simulate_slices(name, drops, options.repeats) for name, drops in SLICES.items()]
    with Pool(options.processes) as pool:
        for result in pool.imap_unordered(_one, [job for job in jobs if job not in done]):
            found = sorted([*found, result], key=lambda r: (METRICS.index(r["metric"]), r["rows"], r["drop"]))
            _save(found, worst, options.repeats)


def _save(found: list[dict[str, Any]], worst: list[dict[str, Any]], repeats: int) -> None:
    save(
        "gate_simulation",
        {
            "what": "share of simulated samples in which a gate passes, fails and stays inconclusive, by the true drop",
            "margin": MARGIN,
            "confidence": CONFIDENCE,
            "repeats": repeats,
            "gates": found,
            "worst_slice": {"rows": SLICE_ROWS, "margin": SLICE_MARGIN, "gates": worst},
        },
    )
    (RESULTS / "gate_simulation.md").write_text(table(found, worst, repeats), encoding="utf-8")


def table(found: list[dict[str, Any]], worst: list[dict[str, Any]], repeats: int) -> str:
    """The results as Markdown, against what the confidence allows."""
    nominal = 1 - CONFIDENCE
    limit = nominal + 1.96 * sqrt(nominal * CONFIDENCE / repeats)
    lines = [
        "# Error rates of gates on metrics",
        "",
        f"`python -m benchmarks.gate_simulation`: a gate of {MARGIN * 100:g} point at {CONFIDENCE:.0%} confidence, on "
        f"{repeats} samples of synthetic rows on which the true drop is known. Where it is just the margin, to pass "
        f"and to fail are errors, and each may happen in {nominal:.0%} of samples (up to {limit:.1%} in {repeats} of "
        "them, by chance); so with failing no drop, and with passing 3 points. All else is power.",
        "",
        "| Metric | Rows | True drop | pass | fail | inconclusive | errors within nominal |",
        "|---|---:|---|---:|---:|---:|---|",
    ]
    for r in found:
        wrong = {"no drop": ("fail",), "just the margin": ("pass", "fail"), "3 points": ("pass",)}[DROPS[r["drop"]]]
        held = all(r[v] <= limit for v in wrong)
        rates = " | ".join(f"**{r[v]:.1%}**" if v in wrong else f"{r[v]:.1%}" for v in ("pass", "fail", "inconclusive"))
        lines.append(f"| {r['metric']} | {r['rows']:,} | {DROPS[r['drop']]} | {rates} | {'yes' if held else 'no'} |")
    lines += [
        "",
        f"The worst of four slices ({', '.join(map(str, SLICE_ROWS))} rows), accuracy, a gate of "
        f"{SLICE_MARGIN * 100:g} points over all of them:",
        "",
        "| True drop | pass | fail | inconclusive |",
        "|---|---:|---:|---:|",
        *(f"| {r['slices']} | {r['pass']:.1%} | {r['fail']:.1%} | {r['inconclusive']:.1%} |" for r in worst),
        "",
        "Errors in bold. Synthetic rows: both models' right and wrong answers are drawn independently from row to "
        "row, scores are normal.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
