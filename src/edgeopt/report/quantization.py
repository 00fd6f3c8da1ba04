"""What was done to keep int8 accurate: the remedies that were tried, and what each part of the model costs in int8."""

from __future__ import annotations

from edgeopt.report import format as fmt
from edgeopt.report.table import Column, Table
from edgeopt.results.model import Report

#: Nodes of the ranking that are shown besides those that stayed in float.
SHOWN = 12
TRIED = (
    "In the order in which they were tried, on the train rows that also select checkpoints. The report split "
    "was not used. KL is the divergence of the int8 logits from the float logits, in nats. For a score, it is the "
    "squared difference divided by the variance of the scores. Bounds are shown for the figure that has the margin, "
    "at 95 % for all settings together."
)
_HELD = {True: "holds", False: "missed", None: "cannot tell"}
SENSITIVITY = (
    "KL of the logits if only this part is int8, on calibration rows. First come all blocks, then the nodes of the "
    "blocks that could contain one of the worst. Nodes have their names from the graph."
)


def tried(report: Report) -> Table:
    """A line a remedy. No rows where no step chose among remedies."""
    columns = [
        Column("Remedies"),
        Column("KL", "number"),
        Column("Same predictions", "number"),
        Column("Drop of the metric", "number"),
        Column("Margin"),
    ]
    columns.append(Column("Shipped"))
    rows = []
    for policy in (s.told["policy"] for s in report.steps if "policy" in s.told):
        for each in policy["tried"]:
            same = fmt.ABSENT if each["agreement"] is None else fmt.share(each["agreement"])
            drop = fmt.ABSENT if each["drop"] is None else fmt.metric(each["drop"])
            held, shipped = _HELD[each["held"]], "yes" if each["remedies"] == policy["chosen"] else ""
            if "low" in each:  # runs of earlier versions have no bounds
                held += f" ({each['low']:.2g} to {each['high']:.2g})"
            rows.append([each["remedies"], f"{each['kl']:.2e}", same, drop, held, shipped])
    return Table(columns, rows)


def sensitivity(report: Report) -> Table:
    """Blocks and nodes, worst first, and which stayed in float."""
    columns = [Column("Part", "code"), Column("Kind"), Column("KL alone", "number"), Column("Stays in")]
    rows = []
    for told in (s.told for s in report.steps if "sensitivity" in s.told):
        kept = set(told.get("kept_float", ()))
        ranking = told["sensitivity"]
        rows += [[_short(name), "block", f"{kl:.2e}", ""] for name, kl in ranking["blocks"]]
        nodes = [n for i, n in enumerate(ranking["nodes"]) if i < SHOWN or n[0] in kept]
        rows += [[_short(name), "node", f"{kl:.2e}", "FP32" if name in kept else "int8"] for name, kl in nodes]
    return Table(columns, rows)


def _short(name: str) -> str:
    return name.removeprefix("/model/")
