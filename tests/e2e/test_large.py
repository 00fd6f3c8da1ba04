"""A model of more than 2 GB, as XLM-R large: exported, made int8 both ways, gated, bundled.

Run alone: 9 GB of memory, 20 of disk.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import edgeopt_process

from edgeopt.support import host

pytestmark = pytest.mark.slow  # a quarter of an hour, and memory that other tests have no use for
#: Words, hidden and inner width, layers, heads.
WORDS, HIDDEN, INNER, LAYERS, HEADS = 250_002, 1024, 4096, 24, 16
WAYS: dict[str, dict[str, Any]] = {"quantize.static": {"calibration": {"samples": 4}}, "quantize.dynamic": {}}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model` (random, its head trained as far as its config knows) and `data`."""
    folder = tmp_path_factory.mktemp("large")
    if (host.memory_bytes() or 0) < 12e9 or shutil.disk_usage(folder).free < 20e9:
        pytest.skip("needs 12 GB of memory and 20 GB of disk")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForSequenceClassification

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    words = {word: i for i, word in enumerate([*special, *(f"w{i}" for i in range(WORDS - len(special)))])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names).save_pretrained(folder / "model")
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=WORDS,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        id2label={0: "bad", 1: "good"},
        label2id={"bad": 0, "good": 1},
    )
    XLMRobertaForSequenceClassification(config).save_pretrained(folder / "model")
    (folder / "data").mkdir()
    rng = random.Random(0)
    for split, count in (("train", 16), ("validation", 8)):
        rows = [
            {
                "text": " ".join(f"w{rng.randrange(WORDS - 5)}" for _ in range(rng.randint(3, 10))),
                "label": ["bad", "good"][i % 2],
            }
            for i in range(count)
        ]
        (folder / "data" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize("use", WAYS)
def test_every_file_of_it_is_counted_carried_and_checked(use: str, large: Path) -> None:
    target = {"name": "cpu", "threads": 1, "sequence": ["task"], "queries": 64, "max_seconds": 20}
    recipe = {
        "edgeopt": 1,
        "name": "large",
        "model": {"id": "model"},
        "task": {
            "type": "text-classification",
            "dataset": {"path": "data"},
            "text": "text",
            "max_length": 16,
            "selection": 0.25,
        },
        "steps": [{"use": use, **WAYS[use]}],
        "export": [{"format": "onnx"}],
        "targets": [target],
        "gates": [{"metric": "size", "max_ratio": 0.3}],
    }
    (large / "recipe.yaml").write_text(yaml.safe_dump(recipe))

    def run(*args: object) -> str:
        done = edgeopt_process(*args, cwd=large, timeout=3600, EDGEOPT_THREADS="1")
        assert done.code == 0, done
        print(done.err)
        return done.out

    run("apply", "recipe.yaml", "--store", large / "store", "--out", "run")
    report = json.loads((large / "run" / "report.json").read_text())
    weights = 4 * (WORDS * HIDDEN + LAYERS * (4 * HIDDEN**2 + 2 * HIDDEN * INNER))
    assert (
        weights < report["baseline"]["size_bytes"] < 1.01 * weights
        and report["candidate"]["size_bytes"] < 0.26 * weights
    )
    carried = sum(
        p.stat().st_size for p in (large / "run" / "model" / "onnx").iterdir() if p.name.startswith("model.onnx")
    )
    assert carried == report["baseline"]["size_bytes"]
    steps = {step["id"]: step["figures"] for step in report["steps"]}
    assert all(weights < figures["peak_rss_bytes"] < 6 * weights for figures in steps.values()), steps
    assert json.loads(run("gate", "run", "--json"))["verdict"] == "pass"
    assert (
        json.loads(
            run(
                "gate",
                "run/model/onnx/model.onnx",
                "--recipe",
                "recipe.yaml",
                "--set",
                'gates=[{"metric": "size", "max_mb": 2300}]',
                "--json",
            )
        )["verdict"]
        == "pass"
    )
    run("bundle", "run", "--count", 4, "--out", "bundle.zip")
    assert "whole" in run("bundle", "verify", "bundle.zip")
    print(
        {name: round(f["peak_rss_bytes"] / 1e9, 2) for name, f in steps.items()}, (large / "bundle.zip").stat().st_size
    )
    for path in (large / "run", large / "bundle.zip"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
