"""What was followed over a training, by optimizer step, as inline SVG: the loss, learned masks, held-out text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from edgeopt.report import svg
from edgeopt.report.scale import Scale
from edgeopt.report.scatter import PLOT, WIDTH, grid
from edgeopt.results.figures import ASKED_CURVE, GRADIENT_CURVE, HELD_OUT, PROBE_CURVE, SPARSITY_CURVE
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
        if curves.get(SPARSITY_CURVE) and curves.get(ASKED_CURVE):
            yield Figure(
                f"Sparsity in {step.id}",
                _lines({"baseline": ("asked", curves[ASKED_CURVE]), "candidate": ("masks", curves[SPARSITY_CURVE])}),
                "What was asked of the masks while they were learned, and what they were expected to remove.",
            )
        text = {name.removeprefix(HELD_OUT): curve for name, curve in curves.items() if name.startswith(HELD_OUT)}
        if len(curves.get("loss", ())) > 1:
            shown = {"candidate": ("train", curves["loss"])}
            if curves.get("eval_loss"):
                shown["other"] = ("selection rows", curves["eval_loss"])
            if "loss" in text and not _detects(text):
                shown["other"] = ("held-out text", text["loss"])
            yield Figure(f"Loss in {step.id}", _lines(shown), "Each point is a mean over 10 optimizer steps.")
        yield from _on_text(step.id, text)
        if (probe := step.told.get("probe")) is not None and len(curves.get(PROBE_CURVE, ())) > 1:
            yield Figure(
                f"Probe of {step.id}",
                _lines({"candidate": (probe["metric"], curves[PROBE_CURVE])}),
                f"Of copies that were fine-tuned on the task, on {probe['rows']} rows held out of train.",
            )
        if text and len(curves.get(GRADIENT_CURVE, ())) > 1:
            norms = {"candidate": ("norm", curves[GRADIENT_CURVE])}
            yield Figure(
                f"Gradients in {step.id}", _lines(norms), "Their norm at every tenth step, before it is clipped."
            )


def _detects(text: Mapping[str, Curve]) -> bool:
    """Whether these are curves of a model that tells which tokens were replaced."""
    return "recall" in text


def _on_text(step: str, text: Mapping[str, Curve]) -> Iterator[Figure]:
    """How well a model does on text that it is not trained on."""
    if not text:
        return
    if not _detects(text):
        guesses = {"candidate": ("right guesses", text["accuracy"])}
        yield Figure(f"Guesses in {step}", _lines(guesses), "Share of the hidden tokens of held-out text.")
        return
    losses = {"candidate": ("detection", text["loss"])}
    yield Figure(f"Detection loss in {step}", _lines(losses), "On held-out text, a mean over all tokens.")
    shares = {
        "candidate": ("precision", text["precision"]),
        "other": ("recall", text["recall"]),
        "baseline": ("auxiliary model", text["auxiliary_accuracy"]),
    }
    yield Figure(
        f"Detection in {step}",
        _lines(shares),
        "On held-out text: of what is called replaced, the share that is; of what is replaced, the share that is "
        "found; and of the hidden tokens, the share that the auxiliary model guesses.",
    )
    right = {"candidate": ("accuracy", text["accuracy"])}
    yield Figure(f"Accuracy in {step}", _lines(right), "Share of all tokens of held-out text, replaced or not.")


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
