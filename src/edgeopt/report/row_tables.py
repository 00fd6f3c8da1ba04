"""Tables of single rows and of slices: what a metric alone does not show."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from edgeopt.report import format as fmt
from edgeopt.report.table import Column, Table, numbers
from edgeopt.results.model import Flip, Report

AGREEMENT_NOTE = (
    "These are diagnostics and no gate uses them. A large p in McNemar's test does not show that the models "
    "are equally good. Flips are rows that only one of the models answers correctly. KL is the divergence of the "
    "baseline's probabilities from the candidate's. Probability loyalty is the mean of 1 − √JS, and 1 means equal "
    "probabilities (Xu et al. 2021). The calibration error uses 15 bins of equal width (Guo et al. 2017)."
)
CHANGES_NOTE = "In the unit of the labels. Errors are mean absolute distances from the labels."

CLOSENESS_NOTE = (
    "A row counts with the mean of its texts. Where a search index was filled by the baseline, these cosines say how "
    "well the candidate's embeddings stand in for the baseline's."
)


STORED_NOTE = (
    "Recall is the share of the ten nearest by float embeddings that are among the ten nearest by stored ones. "
    "`model/embeddings.json` has the ranges of int8. In binary a dimension is a bit."
)


def stored(report: Report) -> Table:
    """What is found by the candidate's embeddings in fewer bits."""
    names = list(report.stored[0].metrics) if report.stored else []
    rows = [
        [s.form, str(s.bytes), fmt.metric(s.recall), fmt.metric(s.low), *(fmt.metric(s.metrics[n]) for n in names)]
        for s in report.stored
    ]
    return Table(numbers("Embeddings", "Bytes each", "Recall of the ten nearest", "at least (95 %)", *names), rows)


def agreement(report: Report) -> Table:
    """How far both models answer alike, or how far their scores lie apart."""
    if found := report.agreement:
        share = (found.gained + found.lost + found.other) / found.rows
        ece = f"{fmt.metric(found.calibration_error_baseline)} → {fmt.metric(found.calibration_error_candidate)}"
        rows = [
            [
                "answers that changed",
                f"{found.gained + found.lost + found.other} of {fmt.count(found.rows)} ({fmt.percent(share)})",
            ],
            ["negative flips (right → wrong)", str(found.lost)],
            ["positive flips (wrong → right)", str(found.gained)],
            ["wrong → wrong, another class", str(found.other)],
            ["McNemar's exact test", f"p = {fmt.significant(found.mcnemar_p, 2)}"],
            ["mean KL(baseline || candidate)", f"{fmt.significant(found.kl)} nats"],
            ["probability loyalty", fmt.metric(found.loyalty)],
            ["expected calibration error", ece],
        ]
    elif scores := report.changes:
        rows = [
            ["mean change of a score", fmt.significant(scores.mean_absolute)],
            ["largest change", fmt.significant(scores.largest_absolute)],
            ["correlation of the scores", fmt.metric(scores.correlation)],
            ["mean error", f"{fmt.significant(scores.error_baseline)} → {fmt.significant(scores.error_candidate)}"],
        ]
    elif near := report.closeness:
        rows = [
            ["mean cosine of both models' embeddings", fmt.metric(near.mean)],
            ["one row in twenty has at most", fmt.metric(near.worst_twentieth)],
            ["least", fmt.metric(near.least)],
            ["of one embedding for all texts", fmt.metric(near.constant)],
        ]
    else:
        rows = []
    return Table(numbers("What", "Value"), rows)


def agreement_note(report: Report) -> str:
    """The note below the table of agreement, or of changed scores."""
    return AGREEMENT_NOTE if report.agreement else CLOSENESS_NOTE if report.closeness else CHANGES_NOTE


def flips(found: Sequence[Flip]) -> Table:
    """Rows whose answer changed, each with both answers and its texts."""
    columns = [
        Column("Row", "number"),
        Column("Label"),
        Column("Baseline"),
        Column("Candidate"),
        Column("Its probability", "number"),
        Column("Text", "below"),
    ]
    return Table(
        columns,
        [[str(f.row), f.label, f.baseline, f.candidate, f"{f.probability:.3f}", " | ".join(f.texts)] for f in found],
    )


def flips_note(shown: int, of: int) -> str:
    """What is said below a table of flips: how many of how many are shown, and in which order."""
    return (
        f"Sorted by the candidate's confidence{f'; {shown} of {of}' if shown < of else ''}. Rows are numbered "
        "from 0, as in predictions.jsonl."
    )


def largest_changes(report: Report) -> Table:
    """Rows whose score changed most, each with both scores and its texts."""
    columns = [Column("Row", "number"), *numbers("Label", "Baseline", "Candidate"), Column("Text", "below")]
    columns[1] = Column("Label", "number")
    found = report.changes.largest if report.changes else []
    return Table(
        columns,
        [
            [str(c.row), *(fmt.significant(x) for x in (c.label, c.baseline, c.candidate)), " | ".join(c.texts)]
            for c in found
        ],
    )


def furthest(report: Report) -> Table:
    """Rows whose embeddings moved most, each with its texts."""
    columns = [Column("Row", "number"), Column("Cosine", "number"), Column("Text", "below")]
    found = report.closeness.furthest if report.closeness else []
    return Table(columns, [[str(m.row), fmt.metric(m.agreement), " | ".join(m.texts)] for m in found])


def slices(report: Report) -> Table:
    """A row for each slice: its rows, both models' metric, and how that changed."""
    columns = [Column("Slice by"), Column("Slice")]
    columns += [
        Column(name, "number") for name in ("Rows", "Baseline", "Candidate", "Change", "95 % bounds", "p (Holm)")
    ]
    if report.slices is None:
        return Table(columns, [])
    points = partial(fmt.points, report.slices.metric)
    rows = []
    for s in report.slices.slices:
        measured = ["too few rows", *[fmt.ABSENT] * 4]
        if s.delta is not None and s.p is not None:
            measured = [
                fmt.metric(s.baseline),
                fmt.metric(s.candidate),
                points(s.delta),
                fmt.interval(s.low, s.high, points),
                fmt.significant(s.p, 2),
            ]
        rows.append([s.grouping, s.name, fmt.count(s.rows), *measured])
    return Table(columns, rows)


def slices_note(report: Report) -> str:
    """The note below the table of slices; nothing where there is none."""
    if report.slices is None:
        return ""
    return (
        f"{report.slices.metric}, with changes in points of 0.01. Each bound is one-sided at 95 % for its slice alone. "
        "p is for no difference, with Holm's correction over all slices. Slices of fewer than "
        f"{report.slices.smallest} rows are only counted."
    )
