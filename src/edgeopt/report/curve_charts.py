"""What was followed over a training, by optimizer step, as inline SVG: the loss, and the sparsity of learned masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from edgeopt.report import svg
from edgeopt.report.scale import Scale
from edgeopt.report.scatter import PLOT, WIDTH, grid
from edgeopt.results.figures import ASKED_CURVE, SPARSITY_CURVE
from edgeopt.results.model import Report

Curve = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Figure:
    """A picture with its heading and its caption."""

    heading: str
    picture: Markup
    caption: str


def trainings(report: Report) -> Iterator[Figure]:
    """The curves of the candidate's trained steps, in their order."""
    for step in report.steps:
        curves = step.told.get("curves", {}) if step.chain == "candidate" else {}
        if SPARSITY_CURVE in curves:
            yield Figure(
                f"Sparsity in {step.id}",
                _lines({"baseline": ("asked", curves[ASKED_CURVE]), "candidate": ("masks", curves[SPARSITY_CURVE])}),
                "What was asked of the masks while they were learned, and what they were expected to remove.",
            )
        if len(curves.get("loss", ())) > 1:
            shown = {"candidate": ("train", curves["loss"])}
            if "eval_loss" in curves:
                shown["other"] = ("selection rows", curves["eval_loss"])
            yield Figure(f"Loss in {step.id}", _lines(shown), "Each point is a mean over 10 optimizer steps.")


def _lines(curves: Mapping[str, tuple[str, Curve]]) -> Markup:
    """A picture of curves, each by its class in the page's style with its name, over optimizer steps."""
    points = [point for _, curve in curves.values() for point in curve]
    values = [v for _, v in points] + [0.0]  # from zero, so that heights are ratios
    room = max(max(values) - min(values), 0.01) * 0.08
    x = Scale(0, max(step for step, _ in points), PLOT.left, PLOT.right)
    y = Scale(min(values) - (room if min(values) < 0 else 0), max(values) + room, PLOT.bottom, PLOT.top + 18)
    parts = grid(x, y, "optimizer step", "")
    left = PLOT.left + 8
    for kind, (name, curve) in curves.items():
        parts += [svg.line(x(a), y(v), x(b), y(w), f"joint {kind}") for (a, v), (b, w) in pairwise(curve)]
        parts.append(svg.text(left, PLOT.top + 8, name, f"name {kind}"))
        left += svg.width_of(name, bold=True) + 16
    said = "; ".join(f"{name}: from {curve[0][1]:.3g} to {curve[-1][1]:.3g}" for name, curve in curves.values())
    return Markup(svg.picture(WIDTH, PLOT.bottom + 44, said, parts))
