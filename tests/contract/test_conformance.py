"""Every built-in transform and exporter keeps its contract, by the tests that other authors get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeopt.export.exporter import absent, exporter, exporter_names
from edgeopt.spec.recipe import StepParams
from edgeopt.step import registry
from edgeopt.step.contract import Contract
from edgeopt.step.transform import StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import InputError, StepError
from edgeopt.testing import check_exporter, check_transform
from edgeopt.testing.build import build, step, steps_towards

SHORT = {"max_steps": 4, "batch_size": 8, "learning_rate": 1e-3}
#: every transform but the adapters and Fisher pruning, which test_adapters.py, test_qlora.py and test_pruning.py check
PARAMS: dict[str, dict[str, Any]] = {
    "distill": {**SHORT, "student": {"last": 1}, "distil": {"labels": 0.5, "hidden": 1.0, "values": 1.0}},
    "finetune": SHORT,
    "merge": {},
    "prune.cofi": {**SHORT, "max_steps": 8, "sparsity": 0.6, "recover": SHORT},
    "prune.layers": {"keep": [1]},
    "prune.magnitude": {"amount": 0.4, "scope": "layer", "recover": SHORT},
    "quantize.dynamic": {},
    "quantize.qat": {**SHORT, "ranges": "learned", "distil": {"teacher": "baseline"}},
    "quantize.static": {"calibration": {"samples": 8, "method": "moving-average"}},
}


@pytest.mark.parametrize("name", PARAMS)
def test_transform(name: str, tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    made = check_transform(registry.get(name), PARAMS[name], model=tiny_model, data=tiny_data, work=tmp_path)
    assert registry.get(name).contract.adds <= made.facts
    assert not registry.get(name).contract.removes & made.facts


def test_no_transform_is_left_out() -> None:
    assert set(PARAMS) == {name for name in registry.names() if not name.startswith(("adapter.", "prune.fisher"))}


# the others: test_runtimes.py
@pytest.mark.parametrize("name", [n for n in exporter_names() if exporter(n).source == "graph"])
@pytest.mark.parametrize("fact", [Fact.TRAINED_HEAD, Fact.INT8])
def test_exporter(name: str, fact: Fact, tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    if lacking := absent(exporter(name)):
        pytest.skip(f"needs {', '.join(lacking)}: make test-runtimes")
    executed = build(
        steps_towards(facts(Fact.TRAINED_HEAD, fact)), model=tiny_model, data=tiny_data, store=tmp_path / "store"
    )
    check_exporter(exporter(name), state=executed.final("candidate"), work=tmp_path / "written")


class Forgetful(Transform[StepParams]):
    """Says that it prunes, and copies."""

    name = "test.forgetful"
    summary = "does nothing"
    Params = StepParams
    contract = Contract(requires=facts(Fact.TORCH, Fact.TRAINED_HEAD), adds=facts(Fact.TRAINED_HEAD))

    def apply(self, state: State, params: StepParams, context: StepContext) -> None:
        from edgeopt.models.files import copy_base

        copy_base(state.folder, context.output)


class Filler(Forgetful):
    """Fills pruned zeros behind the plan's back."""

    name = "test.filler"
    contract = Contract(requires=facts(Fact.TORCH, Fact.SPARSE))

    def apply(self, state: State, params: StepParams, context: StepContext) -> None:
        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.load import load_model, save_model
        from edgeopt.models.parts import prunable

        model = load_model(state.folder)
        for _, module in prunable(model):
            module.weight.data += 1e-3
        save_model(model, context.output)
        copy_tokenizer(state.folder, context.output)


class Vandal(Filler):
    """Leaves the torch files in what it says is no longer a torch state."""

    name = "test.vandal"
    contract = Contract(requires=facts(Fact.TORCH, Fact.TRAINED_HEAD), removes=facts(Fact.TORCH), adds=facts(Fact.ONNX))


class Dicer(Forgetful):
    """Draws, and says that it does not."""

    name = "test.dicer"
    seeded = False
    contract = Contract(requires=facts(Fact.TORCH, Fact.TRAINED_HEAD))

    def apply(self, state: State, params: StepParams, context: StepContext) -> None:
        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.load import load_model, save_model
        from edgeopt.models.parts import prunable

        model = load_model(state.folder)
        for _, module in prunable(model):
            module.weight.data += context.seed * 1e-6
        save_model(model, context.output)
        copy_tokenizer(state.folder, context.output)


def test_check_transform_finds_what_a_seed_decides(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"says `seeded = False`, and with another seed model.safetensors differs"):
        check_transform(Dicer(), {}, model=tiny_model, data=tiny_data, work=tmp_path)


@pytest.mark.parametrize(
    ("transform", "code", "words"),
    [
        (Forgetful(), "E402", "changed nothing"),
        (Filler(), "E403", "zeros did not survive"),
        (Vandal(), "E403", "undeclared torch module"),
    ],
)
def test_a_broken_contract_is_found_out(
    transform: Any, code: str, words: str, tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    steps = [*steps_towards(transform.contract.requires), step(transform, {}, "bad")]
    with pytest.raises(StepError) as caught:
        build(steps, model=tiny_model, data=tiny_data, store=tmp_path / "store")
    assert caught.value.issues[0].code == code
    assert words in caught.value.issues[0].message
    assert "'bad'" in caught.value.issues[0].message


def test_check_transform_finds_lax_parameters(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    from pydantic import BaseModel

    class Lax(Forgetful):
        class Params(BaseModel):  # type: ignore[assignment]
            pass

    with pytest.raises(AssertionError, match="does not know"):
        check_transform(Lax(), {}, model=tiny_model, data=tiny_data, work=tmp_path)


def test_a_bare_encoder_is_not_exported_with_a_random_head(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    quantize = step(registry.get("quantize.dynamic"), {}, "int8")
    with pytest.raises(InputError) as caught:
        build([quantize], model=tiny_model, data=tiny_data, store=tmp_path / "store")
    assert caught.value.issues[0].code == "E202"
    assert not (tmp_path / "store" / "states").exists()
