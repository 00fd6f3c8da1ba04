"""The measured exports of a candidate side by side: a table, a picture, and what the fastest gains on the next."""

from __future__ import annotations

from statistics import geometric_mean

from edgeopt.report import format as fmt
from edgeopt.report import headline, svg
from edgeopt.report.scale import Scale
from edgeopt.report.scatter import WIDTH
from edgeopt.report.svg import Box
from edgeopt.report.table import Column, Table
from edgeopt.results.model import Export, Place, Report, Speedup

#: Units of a row of the picture, and where its bar lies.
_ROW, _BAR = 40, (19, 31)


def table(report: Report) -> Table:
    """A line an export, the fastest on the first target first; empty where the candidate's file is all there is."""
    metric, places = headline.first_metric(report), headline.places(report)
    columns = [Column("Export", "code"), Column("Runtime"), Column("Made of"), Column("Queries")]
    columns += [Column(name, "number") for name in (metric or "Metric", "Largest logit difference", "Size")]
    columns += [Column(text, "number") for place in places for text in (f"p50, {place}", "Against the baseline")]
    columns += [
        Column("Cold start", "number"),
        Column("Peak memory", "number"),
        Column("Gates", "verdict"),
        Column("In model/"),
    ]
    return Table(columns, [_row(report, each, metric, places) for each in _by_speed(report)])


def brief(report: Report) -> Table:
    """What fits on a terminal of each export that was kept, with the folder that it is in."""
    metric, place = headline.first_metric(report), headline.main_place(report)
    columns = [Column("Export", "code"), Column("Folder", "code"), Column("Size", "number")]
    columns += [Column(metric or "Metric", "number"), Column(f"p50, {place}", "number"), Column("Gates", "verdict")]
    rows = []
    for each in _by_speed(report):
        f, timed = each.figures, headline.latency(report, each.subject, place) if place else None
        folder, metrics = f"{f.artifact.partition('/')[0]}/", f.metrics
        shown = [fmt.megabytes(f.size_bytes), fmt.metric(metrics[metric]) if metric else fmt.ABSENT]
        rows.append([each.name, folder, *shown, fmt.milliseconds(timed.p50_ms if timed else None), each.verdict])
    return Table(columns, rows)


def _row(report: Report, each: Export, metric: str | None, places: list[Place]) -> list[str]:
    f = each.figures
    row = [
        each.name,
        each.runtime,
        _MADE_OF[each.made_of],
        queries(each),
        fmt.metric(f.metrics[metric]) if metric else fmt.ABSENT,
    ]
    row += [fmt.ABSENT if each.max_abs_diff is None else f"{each.max_abs_diff:.2g}", fmt.megabytes(f.size_bytes)]
    for place in places:
        timed, gain = headline.latency(report, each.subject, place), headline.speedup(report, place, of=each.subject)
        row.append(fmt.milliseconds(timed.p50_ms if timed else None))
        row.append(_bounded(gain) if gain else fmt.ABSENT)
    return [
        *row,
        fmt.milliseconds(f.cold_start_ms),
        fmt.megabytes(f.memory_peak_bytes),
        each.verdict,
        "yes" if each.subject == "candidate" else "",
    ]


_MADE_OF = {"graph": "the graph", "torch": "the FP32 model"}


def queries(each: Export) -> str:
    """`any length`, `padded to 32, 64 or 128`."""
    if not each.lengths:
        return "any length"
    *shorter, longest = map(str, each.lengths)
    return f"padded to {', '.join(shorter)} or {longest}" if shorter else f"padded to {longest}"


def _by_speed(report: Report) -> list[Export]:
    """The exports by the geometric mean of their p50s on the first target, as `auto` chooses."""

    def typical(each: Export) -> float:
        return geometric_mean(
            [m.p50_ms for m in report.latency if m.subject == each.subject and m.target == report.latency[0].target]
        )

    return sorted(report.exports, key=typical)


def note(report: Report) -> str:
    """How to read the table, and which export was chosen and by how much."""
    text = (
        "All files answered the same queries in turn, each with its fastest options. Differences of logits "
        "are against the model that the file was made from."
    )
    kept = next((e for e in report.exports if e.subject == "candidate"), None)
    if kept is not None and kept.made_of == "torch":
        text += f" {kept.name} is made from the float model. It does not contain the int8 quantization of a step."
    if not report.chosen_by_speed or kept is None:
        return text
    chosen = (
        "Of the exports with the best verdict, it was the fastest over the lengths of the first target. The rows and "
        "rounds of this choice were used for nothing else."
    )
    return f"{text} `export: auto` kept {kept.name}. {chosen}{_gain(report, kept)}"


def _bounded(gain: Speedup) -> str:
    return f"{fmt.ratio(gain.ratio)} {fmt.interval(gain.low, gain.high, fmt.ratio)}"


def _gain(report: Report, kept: Export) -> str:
    """Against the quickest of the others that it was chosen from and that have its verdict, and against plain ONNX."""
    rivals = [
        e
        for e in _by_speed(report)
        if e is not kept and e.verdict == kept.verdict and e.figures.artifact.startswith("model/")
    ]
    if not rivals:
        return ""
    first = next((e for e in rivals if e.format == "onnx"), rivals[0])
    said = []
    for place in [p for p in headline.places(report) if p.target == report.latency[0].target]:
        for rival in dict.fromkeys((rivals[0].name, first.name)):
            other = next(e for e in report.exports if e.name == rival)
            gain = headline.speedup(report, place, against=other.subject)
            if gain:
                said.append(f"{_bounded(gain)} as fast as {other.name} on {place}")
    return f" It is {', '.join(said)}." if said else ""


def picture(report: Report) -> str | None:
    """A bar an export, as long as its p50, on a track as long as the baseline's; None where there are not several."""
    place = headline.main_place(report)
    base = headline.latency(report, "baseline", place) if place else None
    if place is None or base is None or len(report.exports) < 2:
        return None
    timed = [
        (each, found.p50_ms) for each in _by_speed(report) if (found := headline.latency(report, each.subject, place))
    ]
    x = Scale(0, max(base.p50_ms, *(ms for _, ms in timed)), 0, WIDTH)
    rows = [
        ("baseline, ONNX", "", base.p50_ms, "baseline"),
        *((e.name, _said(report, e), ms, _kind(e)) for e, ms in timed),
    ]
    parts = [part for i, row in enumerate(rows) for part in _bar(i * _ROW, *row, x, x(base.p50_ms))]
    title = f"p50 of each export on {place}: " + "; ".join(f"{name}: {fmt.milliseconds(ms)}" for name, _, ms, _ in rows)
    return svg.picture(WIDTH, len(rows) * _ROW, title, parts)


def _kind(each: Export) -> str:
    return "candidate" if each.subject == "candidate" else "other"


def _said(report: Report, each: Export) -> str:
    metric = headline.first_metric(report)
    shown = [fmt.metric(each.figures.metrics[metric])] if metric else []
    return ", ".join([*shown, *([each.verdict] if report.gates else [])])


def _bar(top: float, name: str, said: str, ms: float, kind: str, x: Scale, track: float) -> list[str]:
    low, high = _BAR
    return [
        svg.words(0, top + 13, [(name, "name"), (said, "tick")]),
        svg.text(WIDTH, top + 13, fmt.milliseconds(ms), "value", "end"),
        svg.bar(Box(0, top + low, track, top + high), "track"),
        svg.bar(Box(0, top + low, x(ms), top + high), f"bar {kind}"),
    ]
