"""A pre-trained model is the start of all else: fine-tuned, cut, taught, quantized, and the same in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from edgeopt.run.execute import Done
from edgeopt.step import registry
from edgeopt.testing.build import build, step

SHORT = {"max_steps": 3, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}
BEHIND: list[tuple[str, str, dict[str, Any]]] = [
    ("tune", "finetune", {**SHORT, "layerwise_lr_decay": 0.8}),
    ("cut", "prune.fisher", {"samples": 16, "macs": 0.5}),
    ("taught", "distill", {**SHORT, "teacher": "tune", "losses": {"labels": 0.5, "logits": 1.0}}),
    ("int8", "quantize.static", {"calibration": {"samples": 8}}),
]


@pytest.mark.parametrize(
    ("use", "family", "head"),
    [
        ("pretrain.mlm", "tiny_model", "cls.predictions."),
        ("pretrain.rtd", "tiny_electra", "discriminator_predictions."),
    ],
)
def test_it_goes_all_the_way_to_int8(
    use: str, family: str, head: str, tiny_data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    text = {**SHORT, "corpus": {"path": str(tiny_data)}, "max_length": 16}
    steps = [step(registry.get(name), keys, id) for id, name, keys in [("text", use, text), *BEHIND]]
    done = build(steps, model=request.getfixturevalue(family), data=tiny_data, store=tmp_path)
    of: dict[str, Done] = {each.step.id: each for each in done.chains["candidate"]}
    assert [*of] == ["text", "load", "tune", "cut", "taught", "onnx", "int8"]
    weights = {id: load_file(of[id].state.folder / "model.safetensors") for id in ("text", "load", "tune")}
    assert any(name.startswith(head) for name in weights["text"])
    assert not any(name.startswith(head) for name in weights["load"]), "the task's head stands in its place"
    encoder = [name for name in weights["load"] if name in weights["text"]]
    assert len(encoder) > 20
    assert all((weights["load"][name] == weights["text"][name]).all() for name in encoder)
    assert of["cut"].state.figures["structure"]["macs"] <= 0.55 * of["cut"].state.figures["structure"]["dense_macs"]
    parity = of["onnx"].state.figures["parity"]
    assert parity["max_abs_diff"] < 1e-4
    assert parity["rows"] > 0
    assert (of["int8"].state.folder / "model.onnx").stat().st_size < (
        of["onnx"].state.folder / "model.onnx"
    ).stat().st_size
