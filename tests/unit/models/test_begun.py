"""A model that is begun from nothing: its shapes, its tokenizer, and the folder that is made of both."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import WORDS, edgeopt, tiny_recipe, tiny_task
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from edgeopt.corpus.tokenizer_training import trained
from edgeopt.models.shapes import SHAPES, shape_of
from edgeopt.plan import check, make_plan
from edgeopt.recipe.load import load_recipe
from edgeopt.run.fetch import fetch
from edgeopt.store.store import Store
from edgeopt.support.errors import InputError

TINY = {"like": "bert-tiny", "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    path = tmp_path / "text.txt"
    path.write_text("".join(" ".join(draw.choice(WORDS, size=12)) + ".\n" for _ in range(200)))
    return path


def recipe(folder: Path, data: Path, tokenizer: Any, config: Any = TINY, **more: Any) -> Path:
    given = {"steps": [{"use": "finetune", "max_steps": 2}], "task": tiny_task(data, max_length=32), **more}
    return tiny_recipe(folder, model={"config": config, "tokenizer": tokenizer}, **given)


def made(path: Path, store: Path) -> Path:
    opened = Store(store)
    source = fetch(make_plan(load_recipe(path), opened), opened).source
    assert source.folder is not None
    return source.folder


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("bert-smal", "did you mean 'bert-small'?"),
        ({"like": "bert-tiny", "hidden": 8}, "no key 'hidden'"),
        ({"like": "bert-tiny", "hidden_size": 30}, "4 heads do not divide"),
        ({"like": "bert-tiny", "num_hidden_layers": 0}, "'num_hidden_layers' must be"),
        ({"model_type": "bert"}, "lacks num_hidden_layers"),
        ({"like": "bert-tiny", "model_type": "t5"}, "cannot be begun"),
        ({"like": "modernbert-small", "hidden_dropout_prob": 0.1}, "a shape of modernbert has no key 'hidden_dropout"),
        ({"like": "modernbert-small", "local_attention": 0}, "'local_attention' must be"),
    ],
)
def test_a_shape_that_there_is_not_is_said(given: Any, words: str) -> None:
    if isinstance(given, dict) and given.get("hidden_size") == 30:
        given = {**given, "num_attention_heads": 4}
    with pytest.raises(ValueError, match=words):
        shape_of(given)


def test_named_shapes_have_the_parameters_of_their_papers() -> None:
    import torch
    from transformers import AutoConfig, AutoModel

    papers = {"bert-tiny": 4.4e6, "bert-small": 28.8e6, "bert-base": 109.5e6, "electra-small": 13.5e6}
    papers |= {"modernbert-base": 149e6, "modernbert-large": 395e6, "ettin-17m": 16.8e6, "ettin-68m": 68e6}
    for name, expected in papers.items():
        shape = dict(SHAPES[name])
        with torch.device("meta"):
            model = AutoModel.from_config(AutoConfig.for_model(shape.pop("model_type"), **shape))
        assert sum(p.numel() for p in model.parameters()) == pytest.approx(expected, rel=0.01), name


@pytest.mark.parametrize("algorithm", ["wordpiece", "bpe"])
def test_the_same_text_gives_the_same_tokenizer_in_every_process(text: Path, algorithm: str) -> None:
    program = (
        "import sys, hashlib; from edgeopt.corpus.tokenizer_training import trained\n"
        "made = trained(lambda: open(sys.argv[1]), sys.argv[2], 400, lowercase=True, roberta=False)\n"
        "print(hashlib.sha256(made.to_str().encode()).hexdigest(), made.get_vocab_size())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program, str(text), algorithm], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(3)
    }
    assert len(found) == 1, found


def test_a_trained_tokenizer_reads_its_text_without_unknown_tokens(text: Path) -> None:
    lines = text.read_text().splitlines()
    made = trained(lambda: lines, "wordpiece", 400, lowercase=True, roberta=False)
    assert made.get_vocab_size() <= 400
    assert all("[UNK]" not in made.encode(line).tokens for line in lines)
    pair = made.encode("GOOD1 bad2", "word3")
    assert (pair.tokens[0], pair.tokens[-1], pair.type_ids[-1]) == ("[CLS]", "[SEP]", 1)


def test_the_folder_is_a_checkpoint_and_made_once(tmp_path: Path, tiny_data: Path, text: Path) -> None:
    path = recipe(tmp_path, tiny_data, {"train": {"files": text.name, "vocab": 400}})
    opened = Store(tmp_path / "store")
    assert make_plan(load_recipe(path), opened).source.folder is None
    folder = made(path, tmp_path / "store")
    weights = load_file(folder / "model.safetensors")
    ids = AutoTokenizer.from_pretrained(folder)("good1 word2").input_ids
    assert len(weights["embeddings.word_embeddings.weight"]) > max(ids)
    assert weights["encoder.layer.0.attention.self.query.weight"].shape == (32, 32)
    plan = make_plan(load_recipe(path), opened)
    assert plan.source.folder == folder
    assert plan.chains["candidate"][0].key
    again = made(path, tmp_path / "elsewhere")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {p.name: p.read_bytes() for p in again.iterdir()}
    other = made(recipe(tmp_path, tiny_data, {"train": {"files": text.name, "vocab": 400}}, seed=7), tmp_path / "store")
    assert other != folder


def test_a_modernbert_names_tokens_that_its_tokenizer_has(tmp_path: Path, tiny_data: Path, text: Path) -> None:
    shape = {"like": "modernbert-small", "num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 2}
    shape |= {"global_attn_every_n_layers": 2, "local_attention": 8}
    tokenizer = {"train": {"files": text.name, "vocab": 400, "algorithm": "bpe"}}
    folder = made(recipe(tmp_path, tiny_data, tokenizer, shape), tmp_path / "store")
    config, words = json.loads((folder / "config.json").read_text()), AutoTokenizer.from_pretrained(folder)
    assert config["layer_types"] == ["full_attention", "sliding_attention", "full_attention"]
    assert [config[f"{name}_token_id"] for name in ("pad", "bos", "cls", "eos", "sep")] == [
        words.convert_tokens_to_ids(f"[{name}]") for name in ("PAD", "CLS", "CLS", "SEP", "SEP")
    ]
    assert config["local_attention"] == 8 and config["max_position_embeddings"] == 8192


def test_a_given_tokenizer_is_kept(tmp_path: Path, tiny_data: Path, tiny_model: Path) -> None:
    folder = made(recipe(tmp_path, tiny_data, str(tiny_model)), tmp_path / "store")
    assert (folder / "tokenizer.json").read_bytes() == (tiny_model / "tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    ("tokenizer", "config", "words"),
    [
        ("nowhere", TINY, "E308"),
        ({"train": {"files": "absent.txt"}}, TINY, "E301"),
        ("nowhere", "bert-smal", "did you mean 'bert-small'?"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(
    tmp_path: Path, tiny_data: Path, tokenizer: Any, config: Any, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        check(load_recipe(recipe(tmp_path, tiny_data, tokenizer, config)))


def test_a_model_is_an_id_or_a_config(tmp_path: Path, tiny_data: Path) -> None:
    for model in ({}, {"id": "x", "config": "bert-tiny"}, {"config": "bert-tiny"}, {"id": "x", "tokenizer": "y"}):
        path = tiny_recipe(tmp_path, model=model, task=tiny_task(tiny_data))
        done = edgeopt("validate", path)
        assert done.code == 2
        assert "error[E106]" in done.err


def test_it_is_pre_trained_fine_tuned_and_exported(tmp_path: Path, tiny_data: Path, text: Path) -> None:
    short = {"max_steps": 3, "batch_size": 4, "precision": "fp32"}
    steps = [
        {"use": "pretrain.mlm", "corpus": {"data_files": text.name, "documents": "line"}, "max_length": 16, **short},
        {"use": "finetune", **short},
    ]
    path = recipe(tmp_path, tiny_data, {"train": {"files": text.name, "vocab": 400}}, steps=steps, gates=[])
    done = edgeopt("apply", path, "--out", tmp_path / "run", "--store", tmp_path / "store")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["model"] == "bert-tiny"
    assert [s["use"] for s in report["steps"] if s["chain"] == "candidate"][:2] == ["pretrain.mlm", "load"]
    assert any("On held-out text the loss" in note for note in report["notes"])
