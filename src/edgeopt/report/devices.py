"""What devices measured of the bundle that was shipped to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeopt.report import format as fmt
from edgeopt.report.table import Column, Table
from edgeopt.results.model import Device

NOTE = (
    "Measured by edgeopt ship on the device itself, with the options of session.json. Logits are those of "
    "the bundle's self-test, compared with the machine that packed it. A device is not switched to a version "
    "whose logits or gates are out of bounds."
)


def table(devices: Sequence[Device], *, brief: bool = False) -> Table:
    """A row for each length on each device. brief: what fits on a terminal."""
    columns = [Column("Device"), Column("Sequence")]
    columns += [Column(name, "number") for name in ("p50", "p90", "Cold start", "Peak memory", "Logit difference")]
    columns += [Column("Verdict", "verdict")]
    more = [
        Column("Current"),
        Column("p99", "number"),
        Column("Queries", "number"),
        Column("Target"),
        Column("Runtime"),
        Column("Processor", "prose"),
    ]
    rows = []
    for d in devices:
        start, peak = (
            fmt.milliseconds(float(np.median(d.starts.ms))),
            fmt.megabytes(float(np.median(d.starts.peak_bytes))),
        )
        for m in d.latency:
            row = [
                d.name,
                fmt.sequence(m.sequence),
                *map(fmt.milliseconds, (m.p50_ms, m.p90_ms)),
                start,
                peak,
                f"{d.max_abs_diff:.2g}",
                d.verdict,
            ]
            rest = [
                "yes" if d.switched else "no",
                fmt.milliseconds(m.p99_ms),
                fmt.count(m.queries),
                m.target,
                m.runtime,
                m.device,
                d.shipped,
            ]
            rows.append(row if brief else row + rest)
    return Table(columns if brief else [*columns, *more, Column("Shipped")], rows)
