"""The first step: what it takes from a checkpoint, and what it refuses to lose."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import tiny_task
from safetensors.torch import load_file, save_file

from edgeopt.data import Split, TaskData
from edgeopt.models.load import load_model, takes, takes_of
from edgeopt.models.unused import unexplained
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step.transform import StepContext
from edgeopt.store.store import State
from edgeopt.support.errors import InputError
from edgeopt.support.progress import Progress
from edgeopt.transforms.load import Load


@pytest.fixture(scope="module")
def classifier(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with the head of two classes that transformers does not name."""
    from transformers import AutoModelForSequenceClassification

    folder = tmp_path_factory.mktemp("load") / "model"
    shutil.copytree(tiny_model, folder)
    AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2).save_pretrained(folder)
    return folder


@pytest.fixture
def changed(classifier: Path, tmp_path: Path) -> Callable[..., Path]:
    def make(config: dict[str, Any] | None = None, **weights: Any) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(classifier, folder)
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **(config or {})}))
        if weights:
            save_file(
                {**load_file(folder / "model.safetensors"), **weights}, folder / "model.safetensors", {"format": "pt"}
            )
        return folder

    return make


def loaded(folder: Path, output: Path, texts: tuple[str, ...] = ("good0 word1",)) -> dict[str, Any]:
    output.mkdir()
    rows = Split("train", (texts,) * 2, (0, 1))
    context = StepContext(
        TaskSpec.model_validate(tiny_task("data")),
        TaskData(rows, rows, ("0", "1"), "data"),
        output,
        output,
        0,
        Progress(show=False),
    )
    Load().apply(State(folder, {"digest": "", "facts": [], "figures": {}, "files": {}}), Load.Params(), context)
    return context.figures


def test_default_names_are_written(classifier: Path, tmp_path: Path) -> None:
    assert "id2label" not in json.loads((classifier / "config.json").read_text())
    assert loaded(classifier, tmp_path / "out")["head_trained"] is True
    assert json.loads((tmp_path / "out" / "config.json").read_text())["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (classifier / "tokenizer.json").read_bytes()


def test_weights_that_no_module_takes(changed: Callable[..., Path], tmp_path: Path) -> None:
    distances = {
        f"bert.encoder.layer.{i}.attention.self.distance_embedding.weight": torch.zeros(255, 16) for i in range(2)
    }
    folder = changed({"position_embedding_type": "relative_key"}, **distances)
    with pytest.raises(
        InputError, match=r"E319(.|\n)*2 weights that no module(.|\n)*layer\.0\.attention\.self\.distance_embedding"
    ):
        loaded(folder, tmp_path / "out")


def test_other_heads_may_be_lost(changed: Callable[..., Path], tmp_path: Path) -> None:
    more = {"cls.predictions.bias": torch.zeros(100), "bert.embeddings.position_ids": torch.arange(128)[None]}
    assert loaded(changed(**more), tmp_path / "out")["head_trained"] is True


def test_what_may_be_lost() -> None:
    harmless = [
        "cls.predictions.transform.dense.weight",
        "lm_head.bias",
        "pooler.dense.weight",
        "roberta.pooler.dense.bias",
        "embeddings.position_ids",
    ]
    assert unexplained([*harmless, "bert.encoder.layer.0.gate.weight", "projection.weight"]) == [
        "bert.encoder.layer.0.gate.weight",
        "projection.weight",
    ]


def test_one_token_type_for_both_texts(changed: Callable[..., Path], tmp_path: Path) -> None:
    from edgeopt.measure.parity import sample_rows, torch_logits
    from edgeopt.tasks import task_of

    table = {"bert.embeddings.token_type_embeddings.weight": torch.zeros(1, 32)}
    folder, out = changed({"type_vocab_size": 1}, **table), tmp_path / "out"
    loaded(folder, out, ("good0", "bad1"))
    model = load_model(out)
    assert takes(model) == takes_of(out)
    assert "token_type_ids" not in takes(model) and "attention_mask" in takes(model)
    rows = Split("train", (("good0", "bad1"),) * 3, (0, 1, 0))
    spec = TaskSpec.model_validate(tiny_task("data", text=["text", "pair"]))
    sample = sample_rows(rows, out, task_of(spec))
    assert 1 in sample.rows[0]["token_type_ids"]  # which the model has no row for
    assert torch_logits(model, sample).shape[0] == 2 * 6


@pytest.mark.parametrize(("texts", "kept"), [(("good0", "bad1"), False), (("good0",), True)])
def test_a_model_that_was_never_given_token_types(
    texts: tuple[str, ...], kept: bool, changed: Callable[..., Path], tmp_path: Path
) -> None:
    """The model answers a pair as it does with zeros, and what is shipped says nothing else."""
    folder, out = changed(), tmp_path / "out"
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_input_names": ["input_ids", "attention_mask"]}))
    loaded(folder, out, texts)
    ids, ones = torch.tensor([[2, 7, 3, 9, 3]]), torch.tensor([[0, 0, 0, 1, 1]])
    before, after = load_model(folder), load_model(out)
    expected = before(ids, token_type_ids=0 * ones).logits
    assert torch.equal(after(ids, token_type_ids=0 * ones).logits, expected)
    assert torch.equal(after(ids, token_type_ids=ones).logits, expected) is not kept
    assert ("model_input_names" in json.loads((out / "tokenizer_config.json").read_text())) is kept


def test_an_adapter_in_the_hubs_cache_is_seen(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    from edgeopt.models.source import ModelSource, download

    folder = tmp_path / "snapshot"
    shutil.copytree(classifier, folder)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "/elsewhere"}')
    asked: dict[str, Any] = {}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda id, **more: asked.update(more) or str(folder))
    with pytest.raises(InputError, match=r"E317(.|\n)*has both a model and an adapter \(LORA\)"):
        download(ModelSource("owner/name", None, None, False))
    assert "adapter_config.json" in asked["allow_patterns"]
