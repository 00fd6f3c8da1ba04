"""What the report says of int8: remedies, sensitivity, and losses that would otherwise be silent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from report_sample import sample_report, speedup, step

from edgeopt.plan.steps import PlannedStep
from edgeopt.report.html import render_html
from edgeopt.report.markdown import render_markdown
from edgeopt.results.coherent import incoherence
from edgeopt.results.model import Report
from edgeopt.run.findings import losses
from edgeopt.step import registry
from edgeopt.support import host

QUERY, OUTPUT = (
    "/model/bert/encoder/layer.0/attention/self/query/MatMul",
    "/model/bert/encoder/layer.0/output/dense/MatMul",
)
POLICY = {
    "chosen": "minmax, 1 node in FP32",
    "held": False,
    "tolerance": {"max_drop": 0.005, "rows": 512},
    "queries": 367,
    "tried": [
        {"remedies": "minmax", "kl": 0.0213, "agreement": 0.975, "drop": 0.0136, "held": False},
        {"remedies": "minmax, 1 node in FP32", "kl": 0.0101, "agreement": 0.9905, "drop": None, "held": False},
    ],
}
SENSITIVITY = {
    "queries": 64,
    "blocks": [["/model/bert/encoder/layer.0/mlp", 0.0123]],
    "nodes": [[OUTPUT, 0.0119], [QUERY, 0.00021]],
}


def report() -> Report:
    figures = {"policy": POLICY, "sensitivity": SENSITIVITY, "kept_float": [OUTPUT]}
    return sample_report(steps=[step("int8", "quantize.static", "candidate", 18.4, 23_014_208, **figures)])


@pytest.mark.parametrize("render", [render_markdown, render_html])
def test_remedies_and_sensitivity_are_shown(render: Any) -> None:
    page = render(report())
    for expected in (
        "Remedies for int8",
        "2.13e-02",
        "97.5 %",
        "0.0136",
        "missed",
        "Sensitivity to int8",
        "bert/encoder/layer.0/mlp",
        "1.19e-02",
        "2.10e-04",
    ):
        assert expected in page, expected
    plain = render(sample_report())
    assert "Remedies for int8" not in plain and "Sensitivity to int8" not in plain


def test_what_stayed_in_float_is_told_from_the_rest() -> None:
    from edgeopt.report.quantization import sensitivity, tried

    assert [row[-1] for row in sensitivity(report()).rows] == ["", "FP32", "int8"]
    assert [row[-1] for row in tried(report()).rows] == ["", "yes"]


def notes(
    flags: set[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    reduce_range: bool = False,
    precision: str = "int8",
    machine: str = "x86_64",
    speedups: tuple[Any, ...] = (),
    **figures: Any,
) -> str:
    monkeypatch.setattr(host, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr("platform.machine", lambda: machine)
    transform = registry.get("quantize.qat" if "parity" in figures else "quantize.static")
    planned = PlannedStep(
        "int8",
        transform.name,
        "candidate",
        transform,
        transform.Params(**{} if "parity" in figures else {"reduce_range": reduce_range}),
        None,
    )
    done: Any = SimpleNamespace(step=planned, state=SimpleNamespace(figures=figures))
    evidence: Any = SimpleNamespace(candidate=SimpleNamespace(precision=precision))
    return "\n".join(losses.int8_notes([done], evidence, speedups))


def test_a_graph_that_predicts_otherwise_than_what_was_trained_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A note is made for a step that trains for int8, and for no other.

    An exported graph's parity is with the float model, and says nothing of classes.
    """
    assert "On 2.0% of 50 train rows" in notes(
        {"avx512_vnni"}, monkeypatch, parity={"same_predictions": 0.98, "compared": 50}
    )
    assert "train rows" not in notes({"avx512_vnni"}, monkeypatch, parity={"same_predictions": 1.0, "compared": 50})


def test_saturation_is_said_where_the_processor_has_no_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "`reduce_range: true` on 'int8'" in notes({"avx2", "avx512f"}, monkeypatch)
    assert "reduce_range" not in (said := notes({"avx2"}, monkeypatch, reduce_range=True)) and "slow" in said
    assert "reduce_range" not in notes({"neon"}, monkeypatch, machine="aarch64")
    assert notes({"avx2", "avx_vnni"}, monkeypatch) == ""
    assert notes({"avx2"}, monkeypatch, precision="fp32") == ""


def test_slower_and_not_held_are_said_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = speedup("baseline", 0.8, 0.7, 0.9)
    assert (
        "slower than FP32 on cpu-1-thread at 128" in (said := notes({"avx512_vnni"}, monkeypatch, speedups=(slow,)))
        and "widen the scope" in said
    )
    assert "leave fewer nodes in FP32" in notes({"avx512_vnni"}, monkeypatch, speedups=(slow,), kept_float=[OUTPUT])
    assert notes({"avx512_vnni"}, monkeypatch, speedups=(speedup("baseline", 2, 1.9, 2.1),)) == ""
    said = notes({"avx512_vnni"}, monkeypatch, policy=POLICY)
    assert "came within max_drop 0.005" in said and "quantize.qat" in said


def test_a_policy_whose_rows_cannot_tell_is_read_back() -> None:
    tried = {
        "remedies": "percentile",
        "kl": 0.01,
        "agreement": 0.9,
        "drop": None,
        "low": -0.1,
        "high": 0.1,
        "held": None,
    }
    policy = {"chosen": "percentile", "held": None, "tried": [tried]}
    report = sample_report()
    assert (
        incoherence(
            report.model_copy(
                update={"steps": [*report.steps, step("int8", "quantize.static", "candidate", 1.0, 10, policy=policy)]}
            )
        )
        is None
    )
