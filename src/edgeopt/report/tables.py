"""The report's tables."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from edgeopt.report import (
    cost,
    devices,
    energy,
    exports,
    factors,
    gate_text,
    headline,
    limit,
    quantization,
    row_tables,
    session,
    spread,
    structure,
    tasks,
)
from edgeopt.report import format as fmt
from edgeopt.report.headline import Percentile
from edgeopt.report.table import Column, Table, numbers
from edgeopt.results.model import Latency, Parity, Place, Report, Speedup, Subject, Throughput
from edgeopt.statistics.bounds import percentile_ratio

LATENCY = "If a batch has several rows, the latency is that of the whole batch."
BOUNDS = (
    "Change is candidate against the FP32 ONNX baseline, on the same rows and machine. Each bound is one-sided "
    "at 95 %. A point is 0.01 of the metric. MB is 10^6 bytes."
)


def figures(report: Report) -> Table:
    """Baseline, candidate and change, one line a measure: the table to read first."""
    columns = numbers("Measure", "Baseline", "Candidate", "Change", "95 % bounds")
    rows = [*_metrics(report), *_sizes(report.baseline, report.candidate), *_inference(report), *energy.figures(report)]
    for place in headline.places(report):
        rows.extend(_times(report, place))
        rows.extend(limit.row(report, place))
    return Table(columns, rows)


def _metrics(report: Report) -> Iterator[list[str]]:
    for name in dict.fromkeys([*report.baseline.metrics, *report.candidate.metrics]):
        change = bounds = fmt.ABSENT
        if entry := headline.difference(report, name):
            change = fmt.points(name, entry.delta) + fmt.points_unit(name)
            bounds = fmt.interval(entry.low, entry.high, partial(fmt.points, name))
        before, after = report.baseline.metrics.get(name), report.candidate.metrics.get(name)
        yield [name, fmt.metric(before), fmt.metric(after), change, bounds]
    for name, old in report.baseline.extra.items():
        if (new := report.candidate.extra.get(name)) is not None:
            yield [
                name,
                fmt.metric(old),
                fmt.metric(new),
                fmt.points(name, new - old) + fmt.points_unit(name),
                fmt.ABSENT,
            ]


def _inference(report: Report) -> Iterator[list[str]]:
    old, new = report.baseline.inference_seconds, report.candidate.inference_seconds
    if old is not None and new is not None:
        yield [
            f"{fmt.count(report.task.rows)} rows, one at a time",
            *map(fmt.duration, (old, new)),
            *speed(old, new, None),
        ]


def _sizes(before: Subject, after: Subject) -> Iterator[list[str]]:
    old, new = before.size_bytes, after.size_bytes
    yield ["size", fmt.megabytes(old), fmt.megabytes(new), fmt.shrink(old, new), fmt.ABSENT]
    for name, counted in (("parameters", "parameters"), ("non-zeros", "nonzero")):
        old, new = getattr(before, counted), getattr(after, counted)
        yield [name, fmt.count(old), fmt.count(new), fmt.shrink(old, new, ("fewer", "more")), fmt.ABSENT]
    peaks = before.memory_peak_bytes, after.memory_peak_bytes
    if any(peak is not None for peak in peaks):
        change = fmt.shrink(peaks[0] or 0, peaks[1] or 0) if None not in peaks else fmt.ABSENT
        yield ["peak memory", *map(fmt.megabytes, peaks), change, fmt.ABSENT]
    starts = before.cold_start_ms, after.cold_start_ms
    if any(start is not None for start in starts):
        change, bounds = speed(*starts, None)
        if before.starts and after.starts:
            found = percentile_ratio(np.array(before.starts.ms), np.array(after.starts.ms), 50.0, 0.95, block=1)
            bounds = fmt.interval(found.low, found.high, fmt.ratio)
        yield ["cold start", *map(fmt.milliseconds, starts), change, bounds]


def _times(report: Report, place: Place) -> Iterator[list[str]]:
    before = headline.latency(report, "baseline", place)
    after = headline.latency(report, "candidate", place)
    percentiles: tuple[Percentile, ...] = ("p50", "p90", "p99")
    for percentile in percentiles:
        old, new = _at(before, percentile), _at(after, percentile)
        change, bounds = speed(old, new, headline.speedup(report, place, percentile))
        yield [f"{percentile}, {place}", fmt.milliseconds(old), fmt.milliseconds(new), change, bounds]
    yield from _throughput(report, place)


def _throughput(report: Report, place: Place) -> Iterator[list[str]]:
    before, after = (headline.throughput(report, subject, place) for subject in ("baseline", "candidate"))
    if before and after and after.ratio:
        bounds = fmt.interval(after.ratio_low, after.ratio_high, fmt.ratio)
        change = f"{fmt.ratio(after.ratio)} as many"
        what = f"queries a second, {place}, batches of {after.batch}{by_length(after)}"
        yield [what, fmt.per_second(before.qps), fmt.per_second(after.qps), change, bounds]


def by_length(found: Throughput) -> str:
    """What is said of batches of rows that were sorted by length; nothing of others."""
    return " by length" if found.order == "length" else ""


def throughput(report: Report) -> Table:
    """Queries a second of every subject, and how many times the baseline's."""
    columns = [Column("Subject"), Column("Target"), Column("Sequence"), Column("Rows in batches")]
    names = ("Batch", "Queries a second", "95 % bounds", "Against the baseline", "95 % bounds", "Batches")
    columns += [Column(name, "number") for name in names]
    orders = {"data": "as in the data", "length": "by length"}
    rows = [
        [
            *(t.subject, t.target, fmt.sequence(t.sequence), orders[t.order], str(t.batch)),
            *(fmt.per_second(t.qps), fmt.interval(t.low, t.high, fmt.per_second)),
            fmt.ABSENT if t.ratio is None else fmt.ratio(t.ratio),
            *(fmt.interval(t.ratio_low, t.ratio_high, fmt.ratio), fmt.count(t.batches)),
        ]
        for t in report.throughput
    ]
    return Table(columns, rows)


THROUGHPUT = (
    "The number of queries in all measured batches, divided by the seconds that these took. Batches ran one after "
    "another on the target's threads. A query is a row, or a window if rows are read in windows. The rows are real. "
    "Task rows are padded to the longest of their batch. For a fixed length, rows are repeated or cut."
)


def _at(row: Latency | None, percentile: Percentile) -> float | None:
    if row is None:
        return None
    return {"p50": row.p50_ms, "p90": row.p90_ms, "p99": row.p99_ms}[percentile]


def speed(old: float | None, new: float | None, entry: Speedup | None) -> tuple[str, str]:
    """The ratio with its bounds; without a paired measurement the plain ratio, without bounds."""
    if entry:
        return f"{fmt.ratio(entry.ratio)} as fast", fmt.interval(entry.low, entry.high, fmt.ratio)
    if old and new:
        return f"{fmt.ratio(old / new)} as fast", fmt.ABSENT
    return fmt.ABSENT, fmt.ABSENT


def gates(report: Report) -> Table:
    """A row for each gate: what was decided, and by what."""
    columns = [Column("Gate"), Column("Verdict", "verdict"), Column("Bound"), Column("Value", "number")]
    columns += [Column("Interval", "number"), Column("Reason", "prose")]
    cells = [
        [gate_text.metric(g), g.verdict, gate_text.bound(g), gate_text.value(g), gate_text.bounds(g), g.reason]
        for g in report.gates
    ]
    return Table(columns, cells)


def latency(report: Report) -> Table:
    """Every timed subject, with the candidate's p50 speed-up over it."""
    columns = [Column("Subject"), Column("Target"), Column("Sequence")]
    names = ("p50", "p90", "p99", "Candidate's p50", "95 % bounds", "Queries", "Threads", "Batch")
    columns += [Column(name, "number") for name in names]
    columns += [Column("Runtime"), Column("Device")]
    return Table(columns, [_latency_row(report, row) for row in report.latency])


def _latency_row(report: Report, row: Latency) -> list[str]:
    place = Place(row.target, row.sequence)
    change = bounds = fmt.ABSENT
    if row.subject != "candidate":
        candidate = headline.latency(report, "candidate", place)
        entry = headline.speedup(report, place, against=row.subject)
        change, bounds = speed(row.p50_ms, candidate.p50_ms if candidate else None, entry)
    times = [fmt.milliseconds(ms) for ms in (row.p50_ms, row.p90_ms, row.p99_ms)]
    settings = [fmt.count(row.queries), str(row.threads), str(row.batch), row.runtime, row.device]
    return [row.subject, row.target, fmt.sequence(row.sequence), *times, change, bounds, *settings]


def steps(report: Report) -> Table:
    """A row for each step of both chains: what it cost to build and what it left."""
    columns = [Column("Step", "code"), Column("Transform", "code"), Column("Chain"), Column("From")]
    columns += [
        Column("Time to build", "number"),
        Column("Peak memory", "number"),
        Column("Size", "number"),
        Column("Sparsity", "number"),
    ]
    rows = []
    for step in report.steps:
        sparsity = step.told.get("sparsity")
        peak = step.told.get("peak_rss_bytes")
        measured = [
            fmt.duration(step.seconds),
            fmt.ABSENT if peak is None else fmt.megabytes(peak),
            fmt.megabytes(step.size_bytes),
            fmt.percent(sparsity),
        ]
        rows.append([step.id, step.use, step.chain, "cache" if step.cached else "this run", *measured])
    return Table(columns, rows)


def parity(report: Report) -> Table:
    """A row for each model: how far the graph's logits are from torch's."""
    columns = [Column("Subject"), Column("Largest logit difference", "number")]
    columns += [Column("Tolerance", "number"), Column("Rows", "number"), Column("Same predictions", "number")]
    rows = [
        [p.subject, f"{p.max_abs_diff:.2e}", f"{p.tolerance:.2e}", fmt.count(p.rows), _same_predictions(p)]
        for p in report.parity
    ]
    return Table(columns, rows)


def _same_predictions(parity: Parity) -> str:
    return "" if parity.same_predictions is None else f"{parity.same_predictions:.1%} of {parity.compared}"


def environment(report: Report) -> Table:
    """The machine and the packages that the run was made with, a row for each setting."""
    return Table([Column("Setting"), Column("Value", "prose")], [list(row) for row in fmt.flatten(report.environment)])


def subject(report: Report) -> Table:
    """What was measured: the lines that make a report findable a year later."""
    task, recipe = report.task, report.recipe
    rows = [
        ["recipe", f"{recipe.name} ({recipe.source})"],
        ["recipe digest", recipe.digest],
        ["overrides", ", ".join(recipe.overrides) or "none"],
        ["model", report.model],
        ["task", f"{task.type}, at most {task.max_length} tokens"],
        ["data", f"{task.dataset}, {task.split}, {fmt.count(task.rows)} rows"],
        ["baseline", f"{report.baseline.artifact} ({report.baseline.precision})"],
        ["candidate", f"{report.candidate.artifact} ({report.candidate.precision})"],
        ["made", f"{report.created} by edgeopt {report.edgeopt}"],
    ]
    return Table([Column("What"), Column("Value", "prose")], rows)


class Section(NamedTuple):
    """A table of the report below its heading.

    long: a list of rows or slices, which a page folds.
    """

    heading: str
    table: Table
    note: str = ""
    long: bool = False


def _flips(report: Report) -> list[Section]:
    found = report.agreement
    kinds = (
        [("Negative flips", found.negative, found.lost), ("Positive flips", found.positive, found.gained)]
        if found
        else []
    )
    return [
        Section(heading, row_tables.flips(flips), row_tables.flips_note(len(flips), count), long=True)
        for heading, flips, count in kinds
    ]


def details(report: Report) -> list[Section]:
    """The sections below figures and gates, those that have something to show."""
    sections = [
        Section("Tasks", tasks.table(report), tasks.NOTE),
        Section("Agreement with the baseline", row_tables.agreement(report), row_tables.agreement_note(report)),
        *_flips(report),
        Section("Largest changes of a score", row_tables.largest_changes(report), long=True),
        Section("Stored embeddings", row_tables.stored(report), row_tables.STORED_NOTE),
        Section("Embeddings that moved most", row_tables.furthest(report), long=True),
        Section("Slices", row_tables.slices(report), row_tables.slices_note(report), long=True),
        Section("Seeds", spread.table(report), spread.NOTE),
        Section("Exports", exports.table(report), exports.note(report)),
        Section("Latency", latency(report), LATENCY if any(m.batch > 1 for m in report.latency) else ""),
        Section("Throughput", throughput(report), THROUGHPUT),
        Section("Share of the arithmetic limit", limit.table(report), limit.NOTE),
        Section("Devices", devices.table(report.devices), devices.NOTE),
        Section("Where the speed comes from", factors.table(report), factors.NOTE),
        Section("Session options", session.choices(report), session.CHOICES_NOTE),
        Section("Start-up", session.starts(report), session.starts_note(report)),
        Section("What the training cost", cost.table(report), cost.NOTE),
        Section("Energy and emissions", energy.table(report), energy.note(report)),
        Section("Steps", steps(report)),
        Section("Structure", structure.table(report)),
        Section("Remedies for int8", quantization.tried(report), quantization.TRIED),
        Section("Sensitivity to int8", quantization.sensitivity(report), quantization.SENSITIVITY),
        Section("Parity of torch and ONNX", parity(report)),
        Section("What was measured", subject(report)),
        Section("Environment", environment(report)),
    ]
    return [section for section in sections if section.table.rows]
