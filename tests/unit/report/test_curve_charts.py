"""The pictures of trainings: which there are, and that every curve is inside its plot."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from report_sample import sample_report, step

from edgeopt.report.curve_charts import trainings
from edgeopt.report.html import render_html
from edgeopt.report.scatter import PLOT
from edgeopt.results.model import Report

DETECTION = ("loss", "accuracy", "precision", "recall", "replaced", "auxiliary_accuracy")
LOSS = [(10 * i, 1.0 / i) for i in range(1, 9)]
ASKED = [(i, min(0.8, i / 50)) for i in range(1, 101)]


RIGHT = [(0, 0.0), (40, 0.3), (80, 0.5)]


def on_text(*names: str) -> dict[str, list[tuple[int, float]]]:
    return {"loss": LOSS, "grad_norm": LOSS, **{f"eval_held_out_{name}": RIGHT for name in names}}


def report() -> Report:
    cut = {"loss": LOSS, "asked_sparsity": ASKED, "sparsity": [(i, v - 0.01) for i, v in ASKED], "price": [(1, 1.0)]}
    return sample_report(
        steps=[
            step("tune", "finetune", "baseline", 1.0, 1_000_000, curves={"loss": LOSS}),
            step("short", "finetune", "candidate", 1.0, 1_000_000, curves={"loss": LOSS[:1]}),
            step("alike", "finetune", "candidate", 1.0, 1_000_000, curves={"loss": [(10, 0.5), (20, 0.5)]}),
            step(
                "words",
                "pretrain.mlm",
                "candidate",
                1.0,
                1_000_000,
                curves={**on_text("loss", "accuracy"), "probe": RIGHT},
                probe={"metric": "f1", "rows": 60, "seconds": 1.0},
            ),
            step("rtd", "pretrain.rtd", "candidate", 1.0, 1_000_000, curves=on_text(*DETECTION)),
            step(
                "empty", "mine", "candidate", 1.0, 1_000_000, curves={"asked_sparsity": [], "sparsity": [], "loss": []}
            ),
            step("half", "mine", "candidate", 1.0, 1_000_000, curves={"sparsity": ASKED, "eval_loss": []}),
            step("cut", "prune.cofi", "candidate", 1.0, 500_000, curves=cut),
        ]
    )


def test_trained_steps_of_the_candidate_have_their_loss_and_learned_masks_their_ramp() -> None:
    assert [figure.heading for figure in trainings(report())] == [
        "Loss in alike",
        *(f"{what} words" for what in ("Loss in", "Guesses in", "Probe of", "Gradients in")),
        *(f"{what} in rtd" for what in ("Loss", "Detection loss", "Detection", "Accuracy", "Gradients")),
        "Sparsity in cut",
        "Loss in cut",
    ]
    html = render_html(report())
    assert "train: from 1 to 0.125; held-out text: from 0 to 0.5" in html  # a detection's loss is on another scale
    assert "held-out" not in next(f.picture for f in trainings(report()) if f.heading == "Loss in rtd")
    assert "recall: from 0 to 0.5; auxiliary model: from 0 to 0.5" in html
    assert "asked: from 0.02 to 0.8; masks: from 0.01 to 0.79" in html


def test_every_line_is_inside_the_plot() -> None:
    for figure in trainings(report()):
        lines = ET.fromstring(figure.picture).findall("line")
        joints = [line.attrib for line in lines if line.attrib["class"].startswith("joint")]
        assert joints
        for at in joints:
            assert all(PLOT.left - 0.1 <= float(at[x]) <= PLOT.right + 0.1 for x in ("x1", "x2"))
            assert all(PLOT.top <= float(at[y]) <= PLOT.bottom + 0.1 for y in ("y1", "y2"))
        assert not re.search("nan|inf", str(figure.picture))
