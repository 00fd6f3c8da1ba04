"""Every adapter method on real sentence pairs: the graph answers in a bare onnxruntime as the model does in torch.

EDGEOPT_TEST_DATA names a folder with mrpc/train.jsonl and mrpc/validation.jsonl (columns sentence1, sentence2, label).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

from edgeopt.models.load import load_model
from edgeopt.step import registry
from edgeopt.testing.build import build, step

ROWS = Path(os.environ.get("EDGEOPT_TEST_DATA", "")) / "mrpc"
pytestmark = pytest.mark.skipif(
    not (ROWS / "train.jsonl").is_file(), reason="EDGEOPT_TEST_DATA names no folder with mrpc/"
)

PAIR = ["sentence1", "sentence2"]
SHORT = {"max_steps": 3, "batch_size": 8, "learning_rate": 1e-2, "precision": "fp32"}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("finetune", {}),
    "lora": ("adapter.lora", {}),
    "rslora": ("adapter.lora", {"use_rslora": True}),
    "dora": ("adapter.lora", {"use_dora": True}),
    "qlora": ("adapter.qlora", {}),
    "adalora": ("adapter.adalora", {}),
    "ia3": ("adapter.ia3", {}),
    "bitfit": ("adapter.bitfit", {}),
    "prompt": ("adapter.prompt", {}),
    "prefix": ("adapter.prefix", {}),
    "houlsby": ("adapter.bottleneck", {"placement": "houlsby"}),
    "pfeiffer": ("adapter.bottleneck", {"placement": "pfeiffer"}),
}
MERGED = ("lora", "rslora", "dora", "qlora", "adalora", "ia3")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first rows of both splits."""
    folder = tmp_path_factory.mktemp("real") / "data"
    folder.mkdir()
    for split, count in (("train", 200), ("validation", 64)):
        lines = (ROWS / f"{split}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / f"{split}.jsonl").write_text("".join(lines[:count]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ELECTRA that knows the rows' words, its own rows whole blocks of NF4."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import ElectraConfig, ElectraModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(
        (t for row in rows(data, "train") for t in row), trainers.WordLevelTrainer(special_tokens=special)
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    folder = tmp_path_factory.mktemp("real") / "model"
    torch.manual_seed(0)
    ElectraModel(
        ElectraConfig(
            vocab_size=tokenizer.get_vocab_size(),
            embedding_size=64,
            hidden_size=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=192,
            max_position_embeddings=128,
        )
    ).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]").save_pretrained(folder)
    return folder


def rows(data: Path, split: str) -> list[tuple[str, str]]:
    return [
        (row["sentence1"], row["sentence2"])
        for row in map(json.loads, (data / f"{split}.jsonl").read_text(encoding="utf-8").splitlines())
    ]


@pytest.mark.parametrize("name", METHODS)
def test_the_graph_answers_as_the_adapted_model(name: str, model: Path, data: Path, tmp_path: Path) -> None:
    if name == "qlora":
        pytest.importorskip("bitsandbytes")
    use, params = METHODS[name]
    merge = [step(registry.get("merge"), {}, "merge")] if name in MERGED else []
    done = build(
        [step(registry.get(use), {**SHORT, **params}, "adapt"), *merge],
        model=model,
        data=data,
        store=tmp_path,
        text=PAIR,
    )
    adapted = load_model(next(d.state for d in done.chains["candidate"] if d.step.id == "adapt").folder)
    graph = done.final("candidate").folder

    session = ort.InferenceSession(graph / "model.onnx", providers=["CPUExecutionProvider"])
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(graph / "tokenizer.json"))
    tokenizer.enable_padding()
    found = []
    for batch in (rows(data, "validation")[:1], rows(data, "validation")[:32]):
        encoded = tokenizer.encode_batch(batch)
        feed = {
            "input_ids": [e.ids for e in encoded],
            "attention_mask": [e.attention_mask for e in encoded],
            "token_type_ids": [e.type_ids for e in encoded],
        }
        arrays = {k: np.array(v, dtype=np.int64) for k, v in feed.items()}
        with torch.no_grad():
            expected = adapted(**{k: torch.from_numpy(v) for k, v in arrays.items()}).logits.numpy()
        found.append(session.run(["logits"], {i.name: arrays[i.name] for i in session.get_inputs()})[0])
        np.testing.assert_allclose(found[-1], expected, atol=2e-4 if name == "qlora" else 1e-5)
    assert np.ptp(found[-1][:, 0]) > 1e-3, "every row gets the same answer: the comparison proves little"
