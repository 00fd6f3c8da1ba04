"""What the report says of several seeds and of the cost of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from report_sample import gates, sample_report, seeds, step, training
from unit.report.test_report_render import Balanced

from edgeopt.report import cost
from edgeopt.report.card import render_card
from edgeopt.report.html import render_html
from edgeopt.report.markdown import render_markdown
from edgeopt.run.findings.notes import seed_notes
from edgeopt.run.seeds import SeedLogits, summarize
from edgeopt.spec.recipe import TaskSpec
from edgeopt.tasks import task_of


def card(report: Any) -> str:
    return render_card(report, pair=True, quantized=True)


@pytest.mark.parametrize("render", [render_markdown, render_html, card])
def test_mean_and_deviation_are_shown(render: Any) -> None:
    page = render(sample_report(seeds=seeds()))
    for expected in ("0.8407 ± 0.0100", "0.8332 ± 0.0050", "−0.75 ± 1.32", "−2.25", "paired by seed"):
        assert expected in page
    assert "±" not in render(sample_report())


def test_the_picture_has_two_dots_a_seed_and_two_for_the_means() -> None:
    parsed = Balanced(render_html(sample_report(seeds=seeds())))
    assert (parsed.count["svg"], parsed.count["circle"]) == (3, 3 + 2 * 3 + 2)
    assert "Everything else on this page is from seed 1." in parsed.text


def test_summary_against_numpy() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 50)
    runs = [SeedLogits(s, rng.normal(size=(50, 2)), rng.normal(size=(50, 2))) for s in (4, 8, 15)]
    task = task_of(
        TaskSpec.model_validate(
            {"type": "text-classification", "dataset": {"path": "x"}, "text": "x", "metrics": ["accuracy"]}
        ),
        ("a", "b"),
    )
    found = summarize(task, labels, runs)
    assert found is not None
    assert list(found.results[0].baseline) == ["accuracy", "precision", "recall", "f1"]
    right = np.array([[(logits.argmax(1) == labels).mean() for logits in (r.baseline, r.candidate)] for r in runs])
    spread = found.spreads[0]
    assert [spread.baseline_mean, spread.candidate_mean] == pytest.approx(right.mean(0))
    assert [spread.baseline_std, spread.candidate_std] == pytest.approx(right.std(0, ddof=1))
    assert spread.difference_std == pytest.approx((right[:, 1] - right[:, 0]).std(ddof=1))
    assert summarize(task, labels, []) is None


def test_a_note_where_seeds_differ_by_more_than_a_gate_allows() -> None:
    wide, narrow = (gates()[0].model_copy(update={"bound": bound}) for bound in (0.02, 0.01))  # the deviation is .0132
    assert len(seed_notes(seeds(), [wide])) == 1
    (first, note) = seed_notes(seeds(), [narrow])
    assert "The model of seed 1" in first
    assert "0.0132" in note and "0.0100" in note
    relative = narrow.model_copy(update={"kind": "max_drop_relative", "bound": 0.0158})  # of .8407: .0133
    assert len(seed_notes(seeds(), [relative])) == 1
    assert seed_notes(None, [narrow]) == []


def test_cost_of_training_has_a_column_a_trained_step() -> None:
    table = cost.table(sample_report())
    assert [c.name for c in table.columns] == ["Figure", "baseline.finetune", "candidate.adapt"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["trained parameters"] == ["22.71 M", "443,906"]
    assert rows["share trained"] == ["100 %", "1.92 %"]
    assert rows["training in total"] == ["6 min 37 s", "6 min 12 s"]
    assert rows["adapter alone"] == ["–", "1.78 MB"]
    assert rows["checkpoint"] == ["90.9 MB", "96.2 MB"]
    assert "peak memory of the GPU" not in rows


def test_a_training_that_both_chains_share_is_shown_once() -> None:
    shared = [
        step("finetune", "finetune", chain, 9.0, 1000, **training(10, 10, 8.0)).model_copy(update={"key": "k"})
        for chain in ("baseline", "candidate")
    ]
    gpu = step("more", "finetune", "candidate", 9.0, 1000, **training(10, 10, 8.0), peak_gpu_bytes=59_200_000)
    table = cost.table(sample_report(steps=[*shared, gpu]))
    assert [c.name for c in table.columns] == ["Figure", "finetune, both chains", "candidate.more"]
    assert ["peak memory of the GPU", "–", "59.2 MB"] in table.rows


def test_nothing_is_said_of_a_run_that_trained_nothing() -> None:
    assert "What the training cost" not in render_markdown(
        sample_report(steps=[step("int8", "quantize.dynamic", "candidate", 1.0, 10)])
    )
