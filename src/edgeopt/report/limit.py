"""How much of what the machine can compute each file makes use of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from edgeopt.measure.latency import Measured
from edgeopt.models.structure import of_config
from edgeopt.report import format as fmt
from edgeopt.report.table import Column, Table
from edgeopt.results.model import Limit, Place, Report, Subject

NOTE = (
    "Each layer has 4nd² + 2n²d + 2ndf multiply-accumulates, for n tokens, d hidden dimensions and f neurons. Their "
    "number is divided by p50 and compared with the fastest matrix product that ONNX Runtime computes here with the "
    "same number of threads. That product is in float32 or 8-bit integers, like the file's weights. The rest up to "
    "100 % is spent on norms, softmax, activation functions, embeddings, (de)quantizing, and products that are too "
    "small to be fast."
)


def limits(latency: list[Measured], subjects: Mapping[str, Subject], states: Mapping[str, Path]) -> list[Limit]:
    """Shares reached by each subject at each fixed length.

    states: the folder of each subject's graph, whose config.json says what its layers are; what states no shape, and
    targets whose peak was not measured, are left out.
    """
    out = []
    for m in latency:
        if m.subject not in subjects or m.sequence == "task" or not m.peak:
            continue
        try:
            macs = m.batch * of_config(
                json.loads((states[m.subject] / "config.json").read_text(encoding="utf-8"))
            ).macs(int(m.sequence))
        except (OSError, ValueError):
            continue
        precision = subjects[m.subject].precision
        reached = macs / (float(np.median(m.samples)) / 1e3)
        out.append(
            Limit(
                subject=m.subject,
                target=m.target,
                sequence=int(m.sequence),
                precision=precision,
                macs=macs,
                macs_per_second=reached,
                peak_per_second=m.peak[precision],
                share=reached / m.peak[precision],
            )
        )
    return out


def row(report: Report, place: Place) -> Iterator[list[str]]:
    """The row on the arithmetic limit in the table of figures; none where it was not measured."""
    found = {x.subject: fmt.percent(x.share) for x in report.limits if (x.target, x.sequence) == place}
    if found:
        yield [
            f"of the arithmetic limit, {place}",
            *(found.get(n, fmt.ABSENT) for n in ("baseline", "candidate")),
            fmt.ABSENT,
            fmt.ABSENT,
        ]


def table(report: Report) -> Table:
    """A row for each file and place: multiply-accumulates of its layers a second, the machine's peak, and the share."""
    columns = [Column("Subject"), Column("Place"), Column("Precision")]
    columns += [Column(name, "number") for name in ("MACs a query", "a second", "Peak a second", "Share")]
    rows = []
    for x in report.limits:
        counts = [f"{v / 1e9:,.2f} G" for v in (x.macs, x.macs_per_second, x.peak_per_second)]
        rows.append([x.subject, str(Place(x.target, x.sequence)), x.precision, *counts, fmt.percent(x.share)])
    return Table(columns, rows)
