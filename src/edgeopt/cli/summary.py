"""The result of a run on a terminal: what changed, and the gates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from edgeopt.results.model import Report, SubjectName


def show_summary(report: Report) -> None:
    """Baseline, candidate and change of each figure, then exports and gates, then the verdict."""
    from edgeopt.cli.drawing import COLORS, open_console, show, tell
    from edgeopt.report import devices, exports, spread
    from edgeopt.report.gate_text import in_terminal
    from edgeopt.report.table import Column, Table, numbers

    console = open_console()
    leaked = f", {report.task.leaked:,} of them in train too" if report.task.leaked else ""
    title = f"{report.recipe.name}: {report.task.dataset}, {report.task.rows} {report.task.split} rows{leaked}"
    columns = numbers("", "FP32 baseline", "candidate", "change", "95 % bounds")
    show(console, Table(columns, [list(row) for row in _rows(report)]), title)
    if report.seeds:
        show(console, spread.table(report), "seeds: the change in points of 0.01")
    if report.exports:
        show(console, exports.brief(report), "exports, the fastest first")
    if report.gates:
        found = [[g.verdict, in_terminal(g, report.gates), g.reason] for g in report.gates]
        show(console, Table([Column("", "verdict"), Column("gate"), Column("evidence")], found), "gates")
    if report.devices:
        show(console, devices.table(report.devices, brief=True), "on the devices it was shipped to")
    for note in report.notes:
        tell(console, f"note: {note}")
    for warning in report.warnings:  # beside the verdict, whose green they take
        tell(console, f"warning: {warning}", "bold yellow")
    color = "yellow" if report.warnings and report.verdict == "pass" else COLORS[report.verdict]
    console.print(report.verdict, style=f"bold {color}")


def _rows(report: Report) -> list[tuple[str, str, str, str, str]]:
    from edgeopt.report import energy

    base, candidate = report.baseline, report.candidate
    rows = []
    for d in report.differences:
        rows.append(
            (
                d.metric,
                f"{base.metrics[d.metric]:.4f}",
                f"{candidate.metrics[d.metric]:.4f}",
                f"{d.delta:+z.4f}",
                f"{d.low:+z.4f} to {d.high:+z.4f}",
            )
        )
    rows.append(
        (
            "size",
            _bytes(base.size_bytes),
            _bytes(candidate.size_bytes),
            f"{candidate.size_bytes / base.size_bytes:.2f}×",
            "",
        )
    )
    rows.append(
        (
            "non-zero parameters",
            _count(base.nonzero),
            _count(candidate.nonzero),
            f"{candidate.nonzero / base.nonzero:.2f}×",
            "",
        )
    )
    p50 = {(m.subject, m.target, m.sequence): m.p50_ms for m in report.latency}
    shown: dict[SubjectName, str] = {"baseline": "ONNX", "baseline-torch": "torch"}
    for s in report.speedups:
        old, new = (p50.get((name, s.target, s.sequence)) for name in (s.against, "candidate"))
        # parts of a speed-up are in the report
        if s.of != "candidate" or s.against not in shown or old is None or new is None:
            continue
        rows.append(
            (
                f"p50 {s.target}, {_length(s.sequence)}, against {shown[s.against]}",
                f"{old:.2f} ms",
                f"{new:.2f} ms",
                f"{s.ratio:.2f}× as fast",
                f"{s.low:.2f} to {s.high:.2f}",
            )
        )
    rows += _throughput(report)
    return rows + [(name, old, new, change, bounds) for name, old, new, change, bounds in energy.figures(report)]


def _throughput(report: Report) -> Iterator[tuple[str, str, str, str, str]]:
    from edgeopt.report.tables import by_length

    base = {(t.target, t.sequence): t.qps for t in report.throughput if t.subject == "baseline"}
    for t in report.throughput:
        if t.subject == "candidate" and t.ratio is not None:
            yield (
                f"queries a second {t.target}, {_length(t.sequence)}, batches of {t.batch}{by_length(t)}",
                f"{base[t.target, t.sequence]:.4g}",
                f"{t.qps:.4g}",
                f"{t.ratio:.2f}× as many",
                f"{t.ratio_low:.2f} to {t.ratio_high:.2f}",
            )


def _length(sequence: int | Literal["task"]) -> str:
    return "own lengths" if sequence == "task" else f"{sequence} tokens"


def _bytes(n: int) -> str:
    return f"{n / 1e6:.1f} MB" if n >= 1e6 else f"{n / 1e3:.1f} kB"


def _count(n: int) -> str:
    return f"{n / 1e6:.1f} M" if n >= 1e6 else f"{n / 1e3:.1f} k"
