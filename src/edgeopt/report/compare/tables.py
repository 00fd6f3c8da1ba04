"""A comparison as tables for reading, and as raw columns for computing on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from edgeopt.report import format as fmt
from edgeopt.report import pareto
from edgeopt.report.compare import interference
from edgeopt.report.compare.runs import Comparison, Row
from edgeopt.report.compare.sweep import Score, Sweep
from edgeopt.report.table import Column, Table

Show = Callable[[Any], str]
#: name of the value: (heading, how it is written)
RESULT: dict[str, tuple[str, Show]] = {
    "inference_seconds": ("Inference", fmt.duration),
    "exported_bytes": ("Exported", fmt.megabytes),
    "p50_milliseconds": ("p50", fmt.milliseconds),
    "speedup_ratio": ("Speed-up", fmt.ratio),
    "queries_per_second": ("Queries a second", fmt.per_second),
    "throughput_ratio": ("Throughput", fmt.ratio),
    "inference_kwh": ("Energy of 1,000", fmt.energy),
    "inference_co2eq_grams": ("CO2eq of 1,000", fmt.grams),
}
_COST: dict[str, tuple[str, Show]] = {
    "trained_parameters": ("Trained", fmt.count),
    "trained_share": ("of all", fmt.share),
    "loading_seconds": ("Loading", fmt.duration),
    "computing_seconds": ("Computing", fmt.duration),
    "training_seconds": ("Total", fmt.duration),
    "peak_rss_bytes": ("Peak memory", fmt.megabytes),
    "peak_gpu_bytes": ("Peak GPU", fmt.megabytes),
    "checkpoint_bytes": ("Checkpoint", fmt.megabytes),
    "adapter_bytes": ("Adapter", fmt.megabytes),
    "making_kwh": ("Energy, all steps", fmt.energy),
    "making_co2eq_grams": ("CO2eq, all steps", fmt.grams),
}


def tables(found: Comparison) -> list[tuple[str, Table]]:
    """What the models do, the steps that made them, what else differs, what training cost, and what failed.

    Each but the last has a row a run. Columns without a number are left out.
    """
    metrics = [Column(name, "number") for name in found.metrics]
    seeds = [Column("Seeds", "number")] if any(row.seeds > 1 for row in found.rows) else []
    shown = {
        name: spec
        for name, spec in {**RESULT, **_COST}.items()
        if any(row.values[name] is not None for row in found.rows)
    }
    result, cost = ([name for name in group if name in shown] for group in (RESULT, _COST))

    def drawn(names: list[str]) -> list[Column]:
        return [Column(shown[name][0], "number") for name in names]

    def cells(row: Row, names: list[str]) -> list[str]:
        return [fmt.ABSENT if (value := row.values[name]) is None else shown[name][1](value) for name in names]

    def head(row: Row) -> list[str]:
        return [row.name, *(_metric(row, n) for n in found.metrics), *([str(row.seeds)] * len(seeds))]

    first = Table(
        [Column("Run"), *metrics, *seeds, *drawn(result)], [[*head(row), *cells(row, result)] for row in found.rows]
    )
    second = Table(
        [Column("Run"), *(Column(n.capitalize()) for n in found.differing)],
        [[r.name, *(r.facts[n] for n in found.differing)] for r in found.rows],
    )
    third = Table([Column("Run"), *drawn(cost)], [[row.name, *cells(row, cost)] for row in found.rows])
    along = [(f"By {found.sweep.axis}", _sweep(found.sweep))] if found.sweep else []
    failed = Table(
        [Column("Run"), Column("Reason", "prose")], [[name, reason] for name, reason in found.failed.items()]
    )
    sections = [
        ("Result", first),
        *along,
        ("Each task beside itself alone", interference.table(found.interference)),
        ("Steps", _steps(found)),
        ("What differs besides the steps", second),
        ("What the training cost", third),
        ("Failed", failed),
        ("Notes of the runs", _run_notes(found)),
    ]
    return [(heading, table) for heading, table in sections if len(table.columns) > 1 and table.rows]


def _steps(found: Comparison) -> Table:
    """What each row was made by, in how long, and what the gates say. One without steps is the model as it was."""
    gated = [Column("Gates", "verdict")] if any(row.verdict for row in found.rows) else []
    columns = [Column("Run"), Column("Steps"), Column("Built in", "number"), *gated]
    rows = []
    for row in found.rows:
        seconds = row.values["building_seconds"]
        built = fmt.ABSENT if seconds is None else fmt.duration(seconds)
        rows.append(
            [row.name, " → ".join(row.steps) or fmt.ABSENT, built, *([row.verdict or fmt.ABSENT] if gated else [])]
        )
    return Table(columns, rows)


def _sweep(sweep: Sweep) -> Table:
    """A row a run along the axis: each metric, its difference from the baseline, and the bounds."""
    names = [(metric, "change", "bounds") for metric in sweep.metrics]
    columns = [
        Column(sweep.axis, "number"),
        Column("Run"),
        *(Column(name, "number") for three in names for name in three),
    ]
    return Table(
        columns,
        [
            [f"{stop.at:.4g}", stop.run, *(cell for m in sweep.metrics for cell in _scored(m, stop.scores[m]))]
            for stop in sweep.stops
        ],
    )


def _scored(metric: str, score: Score) -> list[str]:
    low, high = (None if bound is None else bound - score.baseline for bound in (score.low, score.high))
    change = fmt.points(metric, score.value - score.baseline) + fmt.points_unit(metric)
    return [fmt.metric(score.value), change, fmt.interval(low, high, partial(fmt.points, metric))]


def _metric(row: Row, name: str) -> str:
    return (
        fmt.plus_minus(row.metrics[name], row.deviations.get(name), fmt.metric) if name in row.metrics else fmt.ABSENT
    )


def notes(found: Comparison) -> list[str]:
    """What the columns mean, as far as these runs need it."""
    out = ["Inference is the time for all rows of the split, one at a time, on all processors. MB is 10^6 bytes."]
    if found.place:
        out.append(
            f"p50 and speed-up are at {found.place}. The speed-up is over the FP32 ONNX baseline of the same run. The "
            "runs were timed at different times, so compare speed-ups, not milliseconds."
        )
    if any(row.values["queries_per_second"] is not None for row in found.rows):
        out.append(
            f"Queries a second are at {found.place}, in batches. Throughput is relative to the run's own baseline."
        )
    if any(row.deviations for row in found.rows):
        out.append(
            "Metrics with ± are means and sample standard deviations (n − 1) over the seeds of the run. Everything "
            "else is from its first seed."
        )
    if found.interference:
        out.append(interference.NOTE)
    if found.sweep:
        out.append(
            f"By {found.sweep.axis}: the change is from the run's own FP32 baseline, with one-sided 95 % bounds from "
            "the paired rows. For a run with several seeds, the bounds are one standard deviation of the difference, "
            "paired by seed."
        )
    if any(row.values[name] is not None for row in found.rows for name in ("inference_kwh", "making_kwh")):
        out.append(
            "Energy and CO2eq are measured by CodeCarbon. Each run's report says how. Of 1,000 means 1,000 inferences, "
            "without the energy of idling. All steps means building all steps of the chain. It is left out if one of "
            "them was not metered."
        )
    for front in pareto.fronts(found):
        names = ", ".join(row.name for row in front.best)
        out.append(
            f"Pareto front of {front.metric} and {front.heading}: {names}. Any run that is better than one of these "
            "in one figure is worse in the other."
        )
    out += pareto.withheld(found)
    out.append(
        "If several steps train, seconds are added up. Parameters and memory are the largest of the steps, "
        "and the file size is that of the last."
    )
    return out


def _run_notes(found: Comparison) -> Table:
    """What each run's own report says beside its figures; a note that several have stands once."""
    candidates = sum(row.role == "candidate" for row in found.rows)
    rows = [["all" if len(of) == candidates > 1 else ", ".join(of), note] for note, of in found.notes.items()]
    return Table([Column("Run"), Column("Note", "prose")], rows)


def _raw_sweep(sweep: Sweep) -> dict[str, Any]:
    """A sweep as plain numbers: the axis, and for each run its place and its scores."""
    return {
        "axis": sweep.axis,
        "runs": [
            {"run": s.run, "at": s.at, "metrics": {m: vars(s.scores[m]) for m in sweep.metrics}} for s in sweep.stops
        ],
    }


def raw(found: Comparison) -> list[dict[str, Any]]:
    """Each row as plain numbers under names that say the unit; None where something was not measured.

    One that failed has a reason in place of them.
    """
    rows: list[dict[str, Any]] = [
        {
            "run": row.name,
            "role": row.role,
            **{name.replace(" ", "_"): value for name, value in row.facts.items()},
            "seeds": row.seeds,
            "steps": " ".join(row.steps),
            "verdict": row.verdict or None,
            **{
                key: value
                for n in found.metrics
                for key, value in ((n, row.metrics.get(n)), (f"{n}_std", row.deviations.get(n)))
            },
            **row.values,
        }
        for row in found.rows
    ]
    if not found.failed:
        return rows
    keys = dict.fromkeys([*(rows[0] if rows else ("run", "role")), "reason"])
    return [keys | row for row in rows] + [
        keys | {"run": name, "role": "failed", "reason": reason} for name, reason in found.failed.items()
    ]


def plain(found: Comparison) -> dict[str, Any]:
    """Rows, warnings, the axis that they lie along, by what cost which rows are on the Pareto front, interference."""
    front = {front.cost: [row.name for row in front.best] for front in pareto.fronts(found)}
    return {
        "rows": raw(found),
        "warnings": found.warnings,
        "notes": {note: list(of) for note, of in found.notes.items()},
        "sweep": found.sweep and _raw_sweep(found.sweep),
        "pareto": front,
        "interference": [{**each._asdict(), "bounds": each.bounds._asdict()} for each in found.interference],
    }
