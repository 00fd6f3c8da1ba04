"""The difference of two runs as tables for reading, and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from edgeopt.report import format as fmt
from edgeopt.report import gate_text
from edgeopt.report.compare.diff import Diff, Figure, StepPair
from edgeopt.report.compare.tables import RESULT
from edgeopt.report.table import Column, Table
from edgeopt.results.changes import Change, short
from edgeopt.results.model import Gate

_ROOM = 60
#: How a value of the second run stands to that of the first, where it is less and where it is more.
_WORDS = {"bytes": ("smaller", "larger"), "milliseconds": ("shorter", "longer"), "seconds": ("shorter", "longer")}


def tables(found: Diff) -> list[tuple[str, Table]]:
    """Every section, those without a difference without a row."""
    names = _columns(found)
    both = [Column(name, "prose") for name in names]
    figures = [Column("Measure"), *(Column(name, "number") for name in (*names, "Change", "95 % bounds"))]
    return [
        ("Recipe", Table([Column("Key", "code"), *both], _changed(found.recipe))),
        ("Model and rows", Table([Column("What"), *both], _changed(found.inputs))),
        ("Versions and machine", Table([Column("What"), *both], _changed(found.environment))),
        (
            "Steps",
            Table(
                [Column("Step", "code"), Column("Transform", "code"), Column("State"), *both],
                [_step(pair) for pair in found.steps],
            ),
        ),
        ("Figures", Table(figures, [_figure(figure) for figure in found.figures])),
        ("Gates", Table([Column("Gate"), *both], [_gate(*pair) for pair in found.gates])),
    ]


def _columns(found: Diff) -> tuple[str, str]:
    first, second = found.names
    return (first, second) if first != second else ("first", "second")


def _changed(changes: Sequence[Change]) -> list[list[str]]:
    return [[change.at, _value(change.old), _value(change.new)] for change in changes]


def _value(value: object) -> str:
    if value is None:
        return fmt.ABSENT
    # an entry of a list that one recipe alone has: what it sets, without the defaults that are null
    if isinstance(value, dict):
        value = {key: inner for key, inner in value.items() if inner is not None}
    return value if isinstance(value, str) and len(value) <= _ROOM else short(value, _ROOM)


def _step(pair: StepPair) -> list[str]:
    step = pair.any
    uses = dict.fromkeys(each.use for each in pair if each)
    return [
        f"{step.chain}.{step.id}",
        " → ".join(uses),
        pair.state,
        *(each.key[:12] if each else fmt.ABSENT for each in pair),
    ]


def _figure(figure: Figure) -> list[str]:
    heading, show = RESULT.get(figure.name, (figure.name, fmt.metric))
    name = heading if figure.of == "candidate" else f"{heading}, baseline"
    shown = [fmt.ABSENT if value is None else show(value) for value in (figure.first, figure.second)]
    change = bounds = fmt.ABSENT
    if figure.first is not None and figure.second is not None:
        if figure.name in RESULT:
            change = fmt.shrink(
                figure.first, figure.second, _WORDS.get(figure.name.rsplit("_", 1)[-1], ("lower", "higher"))
            )
        else:
            change = fmt.points(figure.name, figure.second - figure.first) + fmt.points_unit(figure.name)
    if figure.bounds:
        bounds = fmt.interval(figure.bounds.low, figure.bounds.high, partial(fmt.points, figure.name))
    return [name, *shown, change, bounds]


def _gate(first: Gate | None, second: Gate | None) -> list[str]:
    gate = second or first
    assert gate is not None
    return [
        gate_text.metric(gate),
        *(
            fmt.ABSENT if g is None else f"{g.verdict}: {gate_text.value(g)}, {gate_text.bound(g)}"
            for g in (first, second)
        ),
    ]


def notes(found: Diff) -> list[str]:
    """What the figures mean, as far as these runs need it."""
    if found.unpaired:
        out = [f"Metrics have no bounds: {found.unpaired}."]
    else:
        changed = f" {found.flips[0]} of {found.flips[1]} predictions of the candidates differ." if found.flips else ""
        out = [f"Bounds of metrics are one-sided at 95 %, from both runs' answers to the same rows.{changed}"]
    if found.place:
        out.append(
            f"p50 is at {found.place}. The runs were timed separately, not side by side, so a change of the machine's "
            "speed between them is part of the change. The baseline's p50 shows how much that is. Each speed-up is "
            "over the baseline of the same run."
        )
    else:
        out.append("The runs have no target and length in common, so their latencies are not shown.")
    return out


def plain(found: Diff) -> dict[str, Any]:
    """A diff for computing on: values in full, in the units that their names say."""
    return {
        "runs": [
            {"name": name, "verdict": verdict or None}
            for name, verdict in zip(found.names, found.verdicts, strict=True)
        ],
        **{part: [change._asdict() for change in getattr(found, part)] for part in ("recipe", "inputs", "environment")},
        "steps": [
            {
                "chain": pair.any.chain,
                "id": pair.any.id,
                "state": pair.state,
                "use": [each and each.use for each in pair],
                "keys": [each and each.key for each in pair],
            }
            for pair in found.steps
        ],
        "figures": [
            {
                "name": f.name,
                "of": f.of,
                "first": f.first,
                "second": f.second,
                "low": f.bounds and f.bounds.low,
                "high": f.bounds and f.bounds.high,
            }
            for f in found.figures
        ],
        "gates": [
            {"first": one and one.model_dump(mode="json"), "second": other and other.model_dump(mode="json")}
            for one, other in found.gates
        ],
        "timed_at": str(found.place) if found.place else None,
        "unpaired": found.unpaired,
        "predictions_that_differ": found.flips and found.flips[0],
        "warnings": found.warnings,
    }
