"""Runs along an axis in `edgeopt compare`: which axis, what is on it, and what is drawn."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from helpers import edgeopt, seal_run
from report_sample import sample_report, seeds, step, subject
from unit.report.test_report_render import Balanced

from edgeopt.report.scatter import PLOT
from edgeopt.results.model import RecipeInfo, Report

BASELINE = 0.8407  # the sample's accuracy


def run(
    folder: Path, name: str, accuracy: float = 0.8382, resolved: dict[str, Any] | None = None, **changes: Any
) -> Path:
    """A run's folder; with the values of its recipe in a lock."""
    report = sample_report(recipe=RecipeInfo(name=name, source="x", digest=name), **changes)
    score = subject("onnx/model.onnx", accuracy, accuracy + 0.04, 90_000_000, 20_000_000, "fp32")
    report = report.model_copy(update={"candidate": score})
    (folder / name).mkdir(parents=True)
    (folder / name / "report.json").write_text(report.model_dump_json())
    return seal_run(
        folder / name,
        {"lock": 1}
        if resolved is None
        else {"lock": 1, "recipe": {"digest": name, "resolved": {"name": name, **resolved}}},
    )


def recipe(amount: Any, **changes: Any) -> dict[str, Any]:
    steps = [
        {"id": "tune", "use": "finetune", "epochs": 3.0},
        {"id": "prune", "use": "prune.magnitude", "amount": amount, "scope": "layer"},
    ]
    return {"model": {"id": "m"}, "task": {"max_length": 64}, "steps": steps, "gates": [], "seed": 42, **changes}


def pruned(zeros: float | None = None, kept: float | None = None) -> list[Any]:
    figures: dict[str, Any] = {} if zeros is None else {"sparsity": zeros}
    if kept is not None:
        dense = {"layers": 1, "heads": 2, "neurons": 4, "hidden": 8}
        figures["structure"] = {
            "weights": round(kept * 1000),
            "dense_weights": 1000,
            "dense": dense,
            "hidden": 8,
            "heads": [2],
            "neurons": [4],
            "head_numbers": [[0, 1]],
            "macs": 1,
            "dense_macs": 1,
            "macs_tokens": 128,
            "promised_speedup": 1.0,
        }
    return [sample_report().steps[0], step("prune", "prune.x", "candidate", 3.0, 90_000_000, **figures)]


def swept(*runs: Path) -> Any:
    done = edgeopt("compare", *runs, "--json")
    assert done.code == 0, done.err
    return done.json["sweep"]


def test_the_one_number_that_recipes_differ_in_is_the_axis(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, f"p{i}", 0.85 - i / 100, recipe(i / 10, gates=[{"metric": "size", "max_mb": i}]))
        for i in (3, 1, 2)
    ]
    found = swept(*runs)
    assert (found["axis"], [(r["run"], r["at"]) for r in found["runs"]]) == (
        "steps.prune.amount",
        [("p1", 0.1), ("p2", 0.2), ("p3", 0.3)],
    )
    first = found["runs"][0]["metrics"]["accuracy"]
    # the sample's difference is −.0025 within [−.0147, .0098], and bounds are drawn around what they belong to
    assert first == {
        "value": pytest.approx(0.84),
        "baseline": BASELINE,
        "low": pytest.approx(BASELINE - 0.0147),
        "high": pytest.approx(BASELINE + 0.0098),
    }


@pytest.mark.parametrize(
    "other",
    [
        recipe(0.2, seed=1),
        recipe(None),
        recipe(True),
        recipe(0.1),
        recipe(0.2, model={"id": "n"}),
        recipe(0.2, steps=[{"id": "prune", "amount": 0.1}]),
        None,
    ],
)
def test_two_differences_or_none_or_no_number_are_no_axis(tmp_path: Path, other: Any) -> None:
    assert swept(run(tmp_path, "a", resolved=recipe(0.1)), run(tmp_path, "b", resolved=other)) is None


def test_the_lock_of_another_run_does_not_count(tmp_path: Path) -> None:
    runs = [run(tmp_path, f"p{i}", resolved=recipe(i / 10)) for i in (1, 2)]
    seal_run(runs[1], {"lock": 1, "recipe": {"digest": "p3", "resolved": recipe(0.2)}})
    assert swept(*runs) is None
    for other in ([], "not a recipe"):
        seal_run(runs[1], {"lock": 1, "recipe": other})
        assert "error[E115]" in edgeopt("compare", *runs).err


def test_else_it_is_the_share_of_weights_gone_of_those_that_were_pruned(tmp_path: Path) -> None:
    runs = [
        run(tmp_path, "zeros", steps=pruned(0.25)),
        run(tmp_path, "cut", steps=pruned(kept=0.4)),
        run(tmp_path, "dense", steps=pruned()),
        run(tmp_path, "both", steps=pruned(0.5, kept=0.4)),
    ]
    found = swept(*runs)
    assert found["axis"] == "share of the layers' weights gone"
    # of 0.4 that are left half are zeros: 1 − 0.4·0.5
    assert [(r["run"], r["at"]) for r in found["runs"]] == [
        ("zeros", 0.25),
        ("cut", pytest.approx(0.6)),
        ("both", pytest.approx(0.8)),
    ]
    assert swept(runs[0], runs[2]) is None


def test_with_seeds_it_is_the_mean_and_the_deviation_of_the_difference(tmp_path: Path) -> None:
    found = swept(*(run(tmp_path, f"p{i}", resolved=recipe(i / 10), seeds=seeds()) for i in (1, 2)))
    score, std = found["runs"][0]["metrics"]["accuracy"], 0.000175**0.5
    assert score == {
        "value": 0.8332,
        "baseline": 0.8407,
        "low": pytest.approx(0.8332 - std),
        "high": pytest.approx(0.8332 + std),
    }


@pytest.mark.parametrize("form", ["text", "markdown", "html", "latex"])
def test_every_form_has_the_numbers_as_a_table(tmp_path: Path, form: str) -> None:
    runs = [run(tmp_path, f"p{i}", 0.85 - i / 100, recipe(i / 10)) for i in (1, 2)]
    out = edgeopt("compare", *runs, "--format", form).out
    for part in ("steps.prune.amount", "0.8300", "−1.07 points", "[−1.47, +0.98]"):
        assert part.replace("−", "$-$") in out if form == "latex" else part in out


def charts(out: str) -> list[str]:
    Balanced(out)
    assert not re.search(r"https?://|url\(|<script|<link", out)
    return [
        svg for svg in re.findall(r"<svg.*?</svg>", out, re.DOTALL) if "against steps" in svg or "weights gone" in svg
    ]


def test_the_page_has_a_chart_for_each_metric(tmp_path: Path) -> None:
    runs = [run(tmp_path, f"p{i}", 0.85 - i / 100, recipe(i / 20)) for i in range(1, 20)]
    drawn = charts(edgeopt("compare", *runs, "--format", "html").out)
    assert len(drawn) == 2 and "accuracy against steps.prune.amount" in drawn[0] and "f1 against" in drawn[1]
    dots = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn[0])]
    assert len(dots) == 19
    gaps = [b[0] - a[0] for a, b in pairwise(dots)]
    assert max(gaps) - min(gaps) <= 0.11  # straight axis: equal steps are equal distances
    # the line of the baseline, by the scale that two runs give: .84 is the first's, .83 the second's
    (level,) = re.findall(
        rf'<line x1="{PLOT.left:.1f}" y1="([\d.]+)" x2="{PLOT.right:.1f}"[^>]*class="level baseline"', drawn[0]
    )
    unit = (dots[1][1] - dots[0][1]) / 0.01
    assert float(level) == pytest.approx(dots[0][1] - (BASELINE - 0.84) * unit, abs=0.1)
    assert drawn[0].count('class="joint candidate"') == 18
    # said to those who do not see it; the rest is the table
    assert "accuracy against steps.prune.amount: baseline, FP32: 0.8407" in drawn[0]
    assert 'class="name candidate"' not in drawn[0]


def test_doubled_values_are_drawn_on_a_log_scale(tmp_path: Path) -> None:
    runs = [run(tmp_path, f"r{r}", resolved=recipe(r)) for r in (16, 32, 64, 128)]
    drawn = charts(edgeopt("compare", *runs, "--format", "html").out)[0]
    assert "(log scale)" in drawn
    x = [float(v) for v in re.findall(r'<circle cx="([\d.]+)"', drawn)]
    assert x[1] - x[0] == pytest.approx(x[3] - x[2], abs=0.11)


def test_baselines_that_differ_are_points_and_pruned_runs_are_named(tmp_path: Path) -> None:
    runs = [run(tmp_path, f"l{n}", resolved=recipe(0.1, task={"max_length": n})) for n in (32, 64)]
    report = Report.model_validate_json((runs[1] / "report.json").read_text())
    other = report.model_copy(
        update={"baseline": subject("onnx/model.onnx", 0.9, 0.95, 90_000_000, 20_000_000, "fp32")}
    )
    (runs[1] / "report.json").write_text(other.model_dump_json())
    seal_run(runs[1])
    drawn = edgeopt("compare", *runs, "--format", "html").out
    chart = next(svg for svg in re.findall(r"<svg.*?</svg>", drawn, re.DOTALL) if "task.max_length" in svg)
    assert "level" not in chart and chart.count("<circle") == 4 and chart.count('class="joint baseline"') == 1
    named = charts(
        edgeopt(
            "compare",
            run(tmp_path, "zeros", steps=pruned(0.25)),
            run(tmp_path, "cut", steps=pruned(kept=0.4)),
            "--format",
            "html",
        ).out
    )
    assert all(">zeros<" in svg and ">cut<" in svg and "joint" not in svg for svg in named)
