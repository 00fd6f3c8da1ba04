"""How embeddings are made, read from folders of sentence-transformers and written into them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgeopt.models.sentence import FIELD, Dense, Sentence, sentence_in, write_modules
from edgeopt.support.errors import InputError

_OLD = "sentence_transformers.models."
_NEW = "sentence_transformers.sentence_transformer.modules."


def folder_of(
    folder: Path, kinds: list[str], prefix: str = _OLD, prompts: dict[str, Any] | None = None, **files: Any
) -> Path:
    """A folder with these modules; files: config.json of a module by its number, as `m1`."""
    paths = ["", *(f"{i}_{kind}" for i, kind in enumerate(kinds[1:], 1))]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 8}))
    modules = [{"idx": i, "path": p, "type": f"{prefix}{k}"} for i, (k, p) in enumerate(zip(kinds, paths, strict=True))]
    (folder / "modules.json").write_text(json.dumps(modules))
    for i, path in enumerate(paths):
        (folder / path).mkdir(exist_ok=True)
        if path and f"m{i}" in files:
            (folder / path / "config.json").write_text(json.dumps(files[f"m{i}"]))
    if prompts is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    return folder


_MEAN = {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}


def test_a_folder_without_modules_says_nothing(tmp_path: Path) -> None:
    assert sentence_in(tmp_path) is None


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        (_MEAN, "mean"),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "max", "embedding_dimension": 8, "include_prompt": True}, "max"),
        ({"pooling_mode": ["mean"]}, "mean"),
    ],
)
def test_poolings_in_the_words_of_all_versions(tmp_path: Path, config: dict[str, Any], pooling: str) -> None:
    found = sentence_in(folder_of(tmp_path, ["Transformer", "Pooling"], _NEW, m1=config))
    assert found == Sentence(pooling=pooling, normalize=False)  # type: ignore[arg-type]


def test_dense_layers_normalization_prompts_and_small_letters(tmp_path: Path) -> None:
    dense = {"in_features": 8, "out_features": 4, "activation_function": "torch.nn.modules.activation.Tanh"}
    prompts = {"prompts": {"q": "query: ", "p": "passage: "}, "default_prompt_name": "q"}
    folder = folder_of(tmp_path, ["Transformer", "Pooling", "Dense", "Normalize"], prompts=prompts, m1=_MEAN, m2=dense)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 256, "do_lower_case": True}))
    found = sentence_in(folder)
    assert found == Sentence(
        dense=(Dense(8, 4, True, "Tanh"),), normalize=True, query="query: ", passage="query: ", lower=True
    )
    assert found.width(8) == 4
    assert found.read(" A Text ", passage=True) == "query:  a text"


@pytest.mark.parametrize(
    ("kinds", "files", "why"),
    [
        (["Transformer", "Pooling", "LayerNorm"], {"m1": _MEAN}, "its modules are Transformer, Pooling, LayerNorm"),
        (["Transformer", "Pooling", "Normalize", "Dense"], {"m1": _MEAN}, "its modules are"),
        (["StaticEmbedding"], {}, "its modules are StaticEmbedding"),
        (["Transformer", "Pooling"], {"m1": {"pooling_mode": ["mean", "max"]}}, "mean and max"),
        (["Transformer", "Pooling"], {"m1": {"pooling_mode_weightedmean_tokens": True}}, "weightedmean"),
        (["Transformer", "Pooling"], {"m1": {**_MEAN, "include_prompt": False}}, "leaves out the prompt"),
        (
            ["Transformer", "Pooling", "Dense"],
            {"m1": _MEAN, "m2": {"in_features": 8, "out_features": 8, "activation_function": "os.system"}},
            "the activation of a Dense layer is system",
        ),
    ],
)
def test_modules_that_would_make_other_embeddings_are_refused(
    tmp_path: Path, kinds: list[str], files: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why) as error:
        sentence_in(folder_of(tmp_path, kinds, **files))
    assert error.value.issues[0].code == "E326"


@pytest.mark.parametrize("text", ["{", "[]", '[{"type": 1}]', "[1]", '{"a": 1}'])
def test_damaged_modules_are_an_error_that_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "modules.json").write_text(text)
    with pytest.raises(InputError) as error:
        sentence_in(tmp_path)
    assert error.value.issues[0].code in ("E315", "E326")


def test_what_is_written_is_read_back_as_it_was(tmp_path: Path) -> None:
    sentence = Sentence("cls", (Dense(8, 4, True, "Tanh"),), None, True, "q: ", "q: ", True)
    weights = {"dense.0.weight": np.ones((4, 8), np.float32), "dense.0.bias": np.zeros(4, np.float32)}
    save_file(weights, tmp_path / "weights")
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8, FIELD: sentence.as_json()}))
    assert sentence_in(tmp_path) == sentence
    write_modules(tmp_path, 64, tmp_path / "weights")
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8}))
    assert sentence_in(tmp_path) == sentence
    assert json.loads((tmp_path / "sentence_bert_config.json").read_text())["max_seq_length"] == 64
    found = load_file(tmp_path / "2_Dense" / "model.safetensors")
    assert np.array_equal(found["linear.weight"], weights["dense.0.weight"])


def test_fewer_dimensions_are_a_dense_layer_that_keeps_the_first(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8, FIELD: Sentence(dimensions=3).as_json()}))
    write_modules(tmp_path, 64, None)
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8}))
    assert sentence_in(tmp_path) == Sentence(dense=(Dense(8, 3, False, "Identity"),))
    assert np.array_equal(load_file(tmp_path / "2_Dense" / "model.safetensors")["linear.weight"], np.eye(3, 8))


def test_dense_layers_whose_weights_are_not_there_write_no_modules(tmp_path: Path) -> None:
    sentence = Sentence(dense=(Dense(8, 4, True, "Tanh"),))
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8, FIELD: sentence.as_json()}))
    write_modules(tmp_path, 64, None)
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]
