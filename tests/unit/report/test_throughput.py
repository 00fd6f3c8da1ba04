"""Queries a second: what a recipe may say of them, and where they are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import edgeopt, tiny_recipe
from report_sample import TARGET, sample_report
from unit.report.test_compare import table_of, write

from edgeopt.measure.latency import Measured
from edgeopt.recipe.load import load_recipe
from edgeopt.report import gate_text
from edgeopt.report.html import render_html
from edgeopt.report.markdown import render_markdown
from edgeopt.report.tables import figures
from edgeopt.results.model import Gate, Report, Throughput
from edgeopt.run.findings.report import throughputs
from edgeopt.spec.recipe import GateSpec
from edgeopt.support.errors import InputError

SERVER: dict[str, Any] = {"name": "server", "batch": 16, "order": "length", "device": "EPYC"}
GATE = Gate(
    metric="throughput.qps",
    kind="min",
    bound=500,
    value=812.345,
    low=800.1,
    verdict="pass",
    reason="it is",
    confidence=0.95,
    target=TARGET,
    sequence=128,
)


def measured(subject: str, ms: float, batch: int = 16, **more: Any) -> Measured:
    import numpy as np

    same: dict[str, Any] = {"target": TARGET, "runtime": "ort", "device": "cpu", "threads": 1, "session": {}}
    samples = np.full(40, ms)
    return Measured(
        subject, samples=samples, batch=batch, sequence=128, openings=(4,) * 10, order="length", **{**same, **more}
    )


def answered(gates: list[GateSpec] | None = None, batch: int = 16) -> list[Throughput]:
    return throughputs([measured("baseline", 20.0, batch), measured("candidate", 8.0, batch)], gates or [])


def report() -> Report:
    return sample_report(throughput=answered(), gates=[GATE])


def test_it_is_reported_where_rows_are_batched_or_a_gate_asks_for_it() -> None:
    baseline, candidate = answered()
    assert (baseline.qps, baseline.ratio, baseline.batches) == (pytest.approx(800), None, 40)
    assert (candidate.qps, candidate.ratio) == (pytest.approx(2000), pytest.approx(2.5))
    assert (candidate.low, candidate.ratio_high) == (pytest.approx(2000), pytest.approx(2.5))
    assert answered(batch=1) == []
    asked = GateSpec(metric="throughput.qps", min_speedup=2)
    assert answered([asked], batch=1)[0].qps == pytest.approx(50)


def test_every_form_of_the_report_shows_it(tmp_path: Path) -> None:
    row = next(row for row in figures(report()).rows if row[0].startswith("queries"))
    assert row == [
        "queries a second, cpu-1-thread, 128 tokens, batches of 16 by length",
        *("800/s", "2,000/s", "2.50× as many", "[2.50×, 2.50×]"),
    ]
    for text in (render_markdown(report()), render_html(report())):
        assert "Throughput" in text and "2,000/s" in text and "by length" in text and "812/s" in text
    shown = edgeopt("report", write(tmp_path, report(), "run"))
    assert shown.code == 0 and "2.50× as many" in shown.out
    assert "batches of 16" not in render_markdown(sample_report())


def test_a_gate_has_its_unit_and_its_place() -> None:
    assert (gate_text.bound(GATE), gate_text.value(GATE)) == ("≥ 500/s", "812/s")
    assert gate_text.title(GATE) == "throughput.qps min 500 (cpu-1-thread 128 tokens)"
    faster = GATE.model_copy(update={"kind": "min_speedup", "bound": 2.0, "value": 2.5})
    assert gate_text.bound(faster) == "speed-up ≥ 2.00×"


def test_runs_are_compared_by_it(tmp_path: Path) -> None:
    baseline, candidate = table_of(write(tmp_path, report(), "a"), write(tmp_path, report(), "b"))[:2]
    assert (float(baseline["queries_per_second"]), baseline["throughput_ratio"]) == (pytest.approx(800), "")
    assert float(candidate["throughput_ratio"]) == pytest.approx(2.5)


def recipe(folder: Path, gate: dict[str, Any], **target: Any) -> Path:
    return tiny_recipe(folder, targets=[{**SERVER, **target}], gates=[{"metric": "throughput.qps", **gate}])


def test_a_recipe_gates_it_on_a_target_with_a_batch(tmp_path: Path) -> None:
    found = load_recipe(recipe(tmp_path, {"min": 500, "sequence": "task"}))
    assert (found.targets[0].batch, found.targets[0].order) == (16, "length")
    load_recipe(recipe(tmp_path, {"min_speedup": 2, "against": "torch"}, device=None))


@pytest.mark.parametrize(
    ("gate", "target", "code", "words"),
    [
        ({"max_ms": 5}, {}, "E100", "max_ms does not fit throughput.qps, which takes one of min, min_speedup"),
        ({"min": 0}, {}, "E100", "'min: 0' cannot fail: throughput.qps is more than 0"),
        ({"min": 500}, {"device": None}, "E111", "'min' needs a target that names its device"),
        ({"min_speedup": 2, "sequence": 64}, {}, "E111", "is not measured at sequence 64"),
        ({"min_speedup": 2, "slice": "worst"}, {}, "E100", "'slice' only applies to gates on a metric of the task"),
        ({"min_speedup": 2}, {"order": "sorted"}, "E100", "must be data or length"),
        ({"min_speedup": 2, "metric": "qps"}, {}, "E100", "did you mean 'throughput.qps'?"),
    ],
)
def test_what_does_not_fit_is_said(
    tmp_path: Path, gate: dict[str, Any], target: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_recipe(recipe(tmp_path, gate, **target))
    assert words in str(caught.value) and caught.value.issues[0].place is not None
