"""With which options of the runtime each graph was measured, what those bring, and how long a start takes with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeopt.report import format as fmt
from edgeopt.report.table import Column, Table
from edgeopt.results.model import Report, Starts
from edgeopt.statistics.bounds import percentile_bounds

CHOICES_NOTE = (
    "A change of ONNX Runtime's options was kept if it made this graph faster on this target by more than "
    "noise. The chosen options were then measured again, against the defaults and in other rounds. "
    "session.json has the "
    "candidate's on the first target."
)
#: Attributes of the session in words; others are shown by name.
_WORDS = {
    "session.intra_op.allow_spinning=0": "threads do not spin",
    "enable_cpu_mem_arena=False": "no memory arena",
    "enable_mem_pattern=False": "no memory pattern",
}
#: What every graph on several threads is measured with, and no choice.
_ALWAYS = "session.force_spinning_stop"


def choices(report: Report) -> Table:
    """The options of ONNX Runtime that each file was measured with on each target, and what they bring."""
    columns = [
        Column("Subject"),
        Column("Target"),
        Column("Options", "prose"),
        Column("p50 against the default's", "number"),
        Column("95 % bounds", "number"),
    ]
    rows = []
    for s in report.sessions:
        gain = "default kept" if s.ratio is None else f"{fmt.ratio(s.ratio)} as fast"
        rows.append([s.subject, s.target, in_words(s.options), gain, fmt.interval(s.low, s.high, fmt.ratio)])
    return Table(columns, rows)


def in_words(options: dict[str, Any]) -> str:
    """`1 thread, without SkipLayerNormFusion, no memory arena`."""
    words = []
    for name, value in options.items():
        if name == "intra_op_num_threads":
            words.append(f"{value} thread{'' if value == 1 else 's'}")
        elif name == "disabled_optimizers":
            words.append(f"without {' and '.join(value)}")
        elif name != _ALWAYS:
            words.append(_WORDS.get(f"{name}={value}", f"{name} {value}"))
    return ", ".join(words)


def starts(report: Report) -> Table:
    """Cold start and memory of each file in fresh processes; empty for runs of versions that kept one number."""
    columns = [
        Column("File", "code"),
        *(Column(name, "number") for name in ("Cold start", "95 % bounds", "Peak memory", "95 % bounds", "Processes")),
    ]
    found = [(s.artifact, s.starts) for s in (report.baseline, report.candidate, report.optimized) if s is not None]
    return Table(columns, [_row(artifact, s) for artifact, s in found if s is not None])


def _row(artifact: str, s: Starts) -> list[str]:
    return [artifact, *_median(s.ms, fmt.milliseconds), *_median(s.peak_bytes, fmt.megabytes), str(len(s.ms))]


def _median(values: Sequence[float], show: Callable[[float], str]) -> tuple[str, str]:
    bounds = percentile_bounds(np.array(values), 50.0, 0.95, block=1)
    return show(bounds.value), fmt.interval(bounds.low, bounds.high, show)


def starts_note(report: Report) -> str:
    """What the figures are of, and where the optimized graph may be used."""
    note = (
        "Medians over new processes, from opening the file to the first answer. The file is in the page cache, and the "
        "options are those of session.json."
    )
    if report.optimized is None:
        return note
    return (
        f"{note} {report.optimized.artifact} is only for the processor and the ONNX Runtime version in the environment "
        "below."
    )
