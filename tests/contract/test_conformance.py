"""Every built-in transform and exporter keeps its contract, by the tests that other authors get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contract import methods
from contract.methods import ALL, PLAIN, STAYS

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
PARAMS: dict[str, dict[str, Any]] = {
    "adapter.qlora": {**SHORT, "learning_rate": 1e-2, "precision": "fp32", "r": 4},
    "distill": {**SHORT, "student": {"last": 1}, "losses": {"labels": 0.5, "hidden": 1.0, "values": 1.0}},
    "finetune": SHORT,
    "merge": {},
    "pretrain.mlm": {**SHORT, "corpus": {"path": "DATA"}, "max_length": 16},
    "pretrain.rtd": {**SHORT, "corpus": {"path": "DATA"}, "max_length": 16, "auxiliary": {"width": 0.5}},
    "prune.cofi": {**SHORT, "max_steps": 8, "sparsity": 0.6, "recover": SHORT},
    "prune.layers": {"keep": [1]},
    "prune.magnitude": {"amount": 0.4, "scope": "layer", "recover": SHORT},
    "quantize.dynamic": {},
    "quantize.qat": {**SHORT, "ranges": "learned", "distill": {"teacher": "baseline"}},
    "quantize.static": {"calibration": {"samples": 8, "method": "moving-average"}},
}
#: Every transform, and more than once where its parameters make it another: what it is called here, and as a step.
STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, params) for name, params in PARAMS.items()},
    "prune.fisher-macs": ("prune.fisher", {"samples": 32, "macs": 0.5}),
    "prune.fisher-sparsity": (
        "prune.fisher",
        {"samples": 32, "sparsity": 0.7, "rescale": False, "multiple": 1},
    ),
    **{
        name: (ALL[name][0], {**methods.SHORT, **ALL[name][1]})
        for name in ("lora", "lora-dora", "adalora", "adalora-few", "ia3", *STAYS, *PLAIN)
    },
}


@pytest.mark.parametrize("name", STEPS)
def test_transform(name: str, request: pytest.FixtureRequest, tiny_data: Path, work: Path) -> None:
    use, params = STEPS[name]
    if use == "adapter.qlora":
        pytest.importorskip("bitsandbytes")
    if "corpus" in params:
        params = {**params, "corpus": {"path": str(tiny_data)}}
    models = {"adapter.qlora": "wide", "pretrain.rtd": "tiny_electra"}
    model = request.getfixturevalue(models.get(use, "tiny_model"))
    made = check_transform(registry.get(use), params, model=model, data=tiny_data, work=work)
    assert registry.get(use).contract.adds <= made.facts
    assert not registry.get(use).contract.removes & made.facts
    if use.startswith("adapter."):
        trains_few(made, alone=name not in PLAIN)
    if use == "prune.fisher":
        holds_its_budget(made)


def trains_few(state: State, *, alone: bool) -> None:
    """An adapter's figures. alone: whether it is a file beside the base."""
    assert 0 < state.figures["trainable_parameters"] < state.figures["parameters"]
    assert (state.figures.get("adapter_bytes", 0) > 0) == alone
    assert state.figures["trainable_share"] == pytest.approx(
        state.figures["trainable_parameters"] / state.figures["parameters"], abs=1e-6
    )
    assert 0 < state.figures["loading_seconds"] + state.figures["computing_seconds"] <= state.figures["train_seconds"]
    assert state.figures["peak_rss_bytes"] > 1e8


def holds_its_budget(state: State) -> None:
    from edgeopt.models.load import load_model
    from edgeopt.models.slicing import structure_of

    shape, budget = state.figures["structure"], state.figures["budget"]
    assert budget["reached"] <= budget["left"]
    if budget["kind"] == "macs":
        assert 0.3 < shape["macs"] / shape["dense_macs"] <= 0.5
        assert all(n % 8 == 0 for n in shape["neurons"])
    else:
        assert 0.7 <= shape["sparsity"] < 0.9
    model = load_model(state.folder)
    assert state.figures["parameters"] == sum(p.numel() for p in model.parameters())
    assert 0 < state.figures["compressed_bytes"] < (state.folder / "model.safetensors").stat().st_size
    assert (shape["heads"], shape["dense"]["heads"]) == ([x.head_count for x in structure_of(model).layers], 2)


def test_no_transform_is_left_out() -> None:
    assert {use for use, _ in STEPS.values()} == set(registry.names())


# the others: test_runtimes.py
@pytest.mark.parametrize("name", [n for n in exporter_names() if exporter(n).source == "graph"])
@pytest.mark.parametrize("fact", [Fact.TRAINED_HEAD, Fact.INT8])
def test_exporter(name: str, fact: Fact, tiny_model: Path, tiny_data: Path, store: Path, tmp_path: Path) -> None:
    if lacking := absent(exporter(name)):
        pytest.skip(f"needs {', '.join(lacking)}: make test-runtimes")
    executed = build(steps_towards(facts(Fact.TRAINED_HEAD, fact)), model=tiny_model, data=tiny_data, store=store)
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


def test_check_transform_finds_what_a_seed_decides(tiny_model: Path, tiny_data: Path, work: Path) -> None:
    with pytest.raises(AssertionError, match=r"says `seeded = False`, and with another seed model.safetensors differs"):
        check_transform(Dicer(), {}, model=tiny_model, data=tiny_data, work=work)


class Untidy(Dicer):
    """Does what it says, and more."""

    name = "test.untidy"
    seeded = True

    def apply(self, state: State, params: StepParams, context: StepContext) -> None:
        super().apply(state, params, context)
        (context.output.parent / "stray").write_text("x")


class Scribbler(Untidy):
    name = "test.scribbler"

    def apply(self, state: State, params: StepParams, context: StepContext) -> None:
        Dicer.apply(self, state, params, context)
        (state.folder / "note").write_text("x")


class Uncertain(Dicer):
    name = "test.uncertain"
    seeded = True

    def observe(self, before: State, after: Path, params: StepParams) -> dict[str, Any]:
        return {"share": float("nan")}


class Failing(Dicer):
    name = "test.failing"

    def apply(self, state: State, params: StepParams, context: StepContext) -> None:
        raise ValueError("boom")


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (Untidy(), "stray was written beside `context.output`"),
        (Scribbler(), "note was written by a later step"),
        (Uncertain(), "a figure is no number"),
        (Failing(), "boom"),
    ],
)
def test_check_transform_finds_what_is_written_elsewhere_and_raises_assertions(
    transform: Any, said: str, tiny_model: Path, tiny_data: Path, work: Path
) -> None:
    with pytest.raises(AssertionError, match=said):
        check_transform(transform, {}, model=tiny_model, data=tiny_data, work=work)


@pytest.mark.parametrize(
    ("transform", "code", "words"),
    [
        (Forgetful(), "E402", "changed nothing"),
        (Filler(), "E403", "zeros did not survive"),
        (Vandal(), "E403", "undeclared torch module"),
    ],
)
def test_a_broken_contract_is_found_out(
    transform: Any, code: str, words: str, tiny_model: Path, tiny_data: Path, store: Path
) -> None:
    steps = [*steps_towards(transform.contract.requires), step(transform, {}, "bad")]
    with pytest.raises(StepError) as caught:
        build(steps, model=tiny_model, data=tiny_data, store=store)
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
