"""The exporters whose packages come as extras, on the same tests as the others, and in one run that measures them."""

from __future__ import annotations

from pathlib import Path

import pytest
from e2e.running import BRIEF, recipe_for
from helpers import edgeopt

from edgeopt.export.exporter import exporter
from edgeopt.results.model import Report
from edgeopt.store.facts import Fact, facts
from edgeopt.testing import check_exporter
from edgeopt.testing.build import build, steps_towards

pytestmark = pytest.mark.runtimes
#: They quantize weights and activations: no more than this of a logit of the tiny model, whose logits are about 0.1.
INT8 = 0.02


@pytest.mark.parametrize("name", ["litert", "executorch"])
@pytest.mark.parametrize("fact", [Fact.TRAINED_HEAD, Fact.INT8])
@pytest.mark.parametrize("family", ["tiny_model", "tiny_electra"])
def test_exporter(
    name: str, fact: Fact, family: str, tiny_data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    executed = build(
        steps_towards(facts(Fact.TRAINED_HEAD, fact)),
        model=request.getfixturevalue(family),
        data=tiny_data,
        store=tmp_path / "store",
    )
    state, fp32, torch = executed.final("candidate"), executed.lowered("candidate"), executed.torch_state("candidate")
    check_exporter(exporter(name), state=state, fp32=fp32, torch=torch, work=tmp_path / "written", tolerance=INT8)


def test_they_are_measured_with_the_others(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    export = {"format": "auto", "formats": ["onnx", "openvino", "litert", "executorch"]}
    recipe = recipe_for(
        tmp_path,
        tiny_model,
        tiny_data,
        steps=[{"use": "finetune", "max_steps": 4, "precision": "fp32"}],
        export=[export],
        targets=[BRIEF],
    )
    done = edgeopt("apply", recipe, "--out", tmp_path / "run", "--store", tmp_path / "store")
    assert done.code == 0, done.err
    report = Report.model_validate_json((tmp_path / "run" / "report.json").read_text())
    found = {e.name: e for e in report.exports}
    assert {"litert", "litert max_length", "executorch", "executorch max_length"} < set(found)
    assert all(e.max_abs_diff is not None and e.max_abs_diff < INT8 for e in found.values())
    assert {e.made_of for e in found.values() if e.format in ("litert", "executorch")} == {"torch"}
