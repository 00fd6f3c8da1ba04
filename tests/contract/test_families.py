"""Families unlike BERT in every transform, with what follows it to an int8 graph; what they lack the plan refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from contract.kinds import Kind
from contract.test_conformance import STEPS, trains_few

from edgeopt.models.anatomy import anatomy
from edgeopt.models.source import structure_in
from edgeopt.step import registry
from edgeopt.support.errors import InputError
from edgeopt.testing import check_family, check_transform
from edgeopt.testing.build import build, step

SHORT = {"max_steps": 2, "batch_size": 8, "learning_rate": 1e-3}
TUNE = ("finetune", {"max_steps": 2, "batch_size": 4, "learning_rate": 1e-3})  # as the baseline: trained once
DYNAMIC = ("quantize.dynamic", {"scope": "mlp"})
LAYERED = {"labels": 0.0, "hidden": 1.0, "attention": 1.0, "values": 1.0}
#: Chains by what they are about.
CHAINS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "lora": [("adapter.lora", {**SHORT, "r": 2, "target_modules": "all-linear"}), ("merge", {})],
    "ia3": [("adapter.ia3", SHORT), ("merge", {}), DYNAMIC],
    "bottleneck": [("adapter.bottleneck", {**SHORT, "placement": "houlsby", "reduction": 4}), DYNAMIC],
    "prompt": [("adapter.prompt", {**SHORT, "virtual_tokens": 3}), DYNAMIC],
    "mlm": [("pretrain.mlm", {**SHORT, "corpus": {"path": "DATA"}, "max_length": 16}), TUNE],
    "layers": [TUNE, ("prune.layers", {"drop": [0]}), TUNE, ("quantize.static", {"calibration": {"samples": 8}})],
    "fisher": [TUNE, ("prune.fisher", {"samples": 16, "macs": 0.5, "multiple": 1}), TUNE, DYNAMIC],
    "cofi": [TUNE, ("prune.cofi", {**SHORT, "max_steps": 8, "sparsity": 0.6, "masks": ["heads", "neurons", "hidden"]})],
    "narrow": [
        TUNE,
        ("distill", {**SHORT, "student": {"last": 2, "hidden": 16, "neurons": 8}, "losses": LAYERED}),
    ],
    "rows": [TUNE, ("prune.magnitude", {"amount": 0.4, "granularity": "row", "scope": "layer"}), DYNAMIC],
    "qat": [TUNE, ("quantize.qat", {**SHORT, "weights": "int4"})],
    "static": [TUNE, ("quantize.static", {"calibration": {"samples": 8}, "smoothquant": {}, "weights": "int4"})],
}
#: Those that show what differs between families most; the others take a minute and more.
QUICK = ("lora", "fisher", "narrow", "qat", "static")
#: What is not for them, and what the refusal says; nothing where it is for some.
REFUSED = {
    "adapter.bitfit": {"modernbert": "the layers of this modernbert have none"},
    "adapter.prefix": dict.fromkeys(("modernbert", "deberta-v2"), "its attention takes no keys and values"),
}
WORKS = [name for name, (use, _) in STEPS.items() if use not in ("adapter.qlora", "pretrain.rtd")]


def with_corpus(params: dict[str, Any], data: Path) -> dict[str, Any]:
    return {**params, "corpus": {"path": str(data)}} if "corpus" in params else params


def test_the_family(other_family: Path, tiny_data: Path, tmp_path: Path) -> None:
    check_family(anatomy(other_family.name), model=other_family, data=tiny_data, work=tmp_path)


@pytest.mark.parametrize(
    "name", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in CHAINS]
)
def test_chain(name: str, other_family: Path, tiny_data: Path, store: Path) -> None:
    steps = [
        step(registry.get(use), with_corpus(params, tiny_data), f"{name}-{i}")
        for i, (use, params) in enumerate(CHAINS[name])
    ]
    made = build(steps, model=other_family, data=tiny_data, store=store)
    last = made.final("candidate")
    if name in ("fisher", "cofi", "narrow", "rows", "layers"):
        left = structure_in(last.folder)
        assert left.weights < left.dense.structure.weights
        config = json.loads((last.folder / "config.json").read_text())
        assert all(len(config[key]) == len(left.layers) for key in anatomy(other_family.name).by_layer)
    if name == "layers":
        assert [layer.origin for layer in structure_in(last.folder).layers] == [
            *range(structure_in(other_family).dense.layers)
        ][1:]


@pytest.mark.slow
def test_every_kind_of_task(kind: Kind, other_family: Path, store: Path) -> None:
    steps = [step(registry.get(use), params, f"{kind.type}-{i}") for i, (use, params) in enumerate([TUNE, DYNAMIC])]
    made = build(steps, model=other_family, data=kind.data, store=store, task=kind.task)
    assert made.final("candidate").figures["int8_share"] > 0


def test_an_embedding_model(other_family: Path, store: Path, tmp_path: Path) -> None:
    rows = [{"a": f"word{i % 7} good1", "b": f"word{i % 5} good1", "score": i % 3} for i in range(24)]
    for split in ("train", "validation"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    steps = [step(registry.get(use), params, f"vectors-{i}") for i, (use, params) in enumerate([TUNE, DYNAMIC])]
    task = {"type": "embedding", "max_length": 16}
    made = build(steps, model=other_family, data=tmp_path, store=store, text=["a", "b"], label="score", task=task)
    assert made.final("candidate").figures["int8_share"] > 0


def test_rows_whose_zeros_leave_nothing_that_is_read_are_refused(
    other_family: Path, tiny_data: Path, store: Path
) -> None:
    """Two fifths of all rows, the least, are those that write the layers' results: cut, nothing would be left."""
    if other_family.name != "modernbert":
        pytest.skip("other rows are the least")
    rows = ("prune.magnitude", {"amount": 0.4, "granularity": "row"})
    steps = [step(registry.get(use), params, f"nothing-{i}") for i, (use, params) in enumerate([TUNE, rows])]
    with pytest.raises(InputError, match="leaves no weight of the model"):
        build(steps, model=other_family, data=tiny_data, store=store)


@pytest.mark.parametrize("use", REFUSED)
def test_refused(use: str, other_family: Path, tiny_data: Path, store: Path) -> None:
    if (why := REFUSED[use].get(other_family.name)) is None:
        return
    with pytest.raises(InputError, match=why):
        build([step(registry.get(use), {}, "it")], model=other_family, data=tiny_data, store=store)


def test_qlora(other_family: Path, tiny_data: Path, store: Path, tmp_path: Path) -> None:
    """On rows of whole blocks of NF4, merged into floats."""
    pytest.importorskip("bitsandbytes")
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    config = AutoConfig.from_pretrained(other_family, hidden_size=64, pooler_hidden_size=64, intermediate_size=128)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(other_family).save_pretrained(tmp_path)
    params = {**SHORT, "r": 2, "learning_rate": 1e-2, "precision": "fp32"}
    steps = [step(registry.get(use), given, use) for use, given in (("adapter.qlora", params), ("merge", {}))]
    made = build(steps, model=tmp_path, data=tiny_data, store=store)
    assert 0 < made.final("candidate").figures["parity"]["max_abs_diff"] < 1e-4


@pytest.mark.slow  # each is built twice and looked at: minutes
@pytest.mark.parametrize("name", WORKS)
def test_transform(name: str, other_family: Path, tiny_data: Path, tmp_path: Path) -> None:
    use, params = STEPS[name]
    if other_family.name in REFUSED.get(use, ()):
        pytest.skip("not for the family")
    made = check_transform(
        registry.get(use), with_corpus(params, tiny_data), model=other_family, data=tiny_data, work=tmp_path
    )
    assert registry.get(use).contract.adds <= made.facts
    if use.startswith("adapter."):
        trains_few(made, alone=True)
