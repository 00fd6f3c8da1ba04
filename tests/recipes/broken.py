"""Inputs that are better made than kept: model folders broken in one way each, and files no editor would open.

To add one, write it here under the name by which a recipe in bad/ calls it.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"

#: A step of breaking: what is done to a copy of a sound model folder.
Break = Callable[[Path], object]


def write(name: str, content: str | bytes) -> Break:
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def remove(name: str) -> Break:
    return lambda folder: (folder / name).unlink()


def configure(**changes: Any) -> Break:
    def change(folder: Path) -> None:
        path = folder / CONFIG
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def header(content: Any, data: bytes = b"") -> bytes:
    """A safetensors file of that header."""
    head = content.encode() if isinstance(content, str) else json.dumps(content).encode()
    return struct.pack("<Q", len(head)) + head + data


def indexed(weight_map: Any) -> list[Break]:
    return [remove(WEIGHTS), write(INDEX, json.dumps({"metadata": {}, "weight_map": weight_map}))]


def loop(name: str) -> Break:
    return lambda folder: (folder / name).symlink_to(name)


def cut(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def positions(count: int) -> Break:
    """The model has that many."""

    def change(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        name = next(n for n in tensors if n.endswith("position_embeddings.weight"))
        table = tensors[name]
        save_file({**tensors, name: np.resize(table, (count, table.shape[1]))}, folder / WEIGHTS, {"format": "pt"})
        configure(max_position_embeddings=count)(folder)

    return change


def add_token(folder: Path) -> None:
    """To the tokenizer, and not to the model."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["added_tokens"].append({**content["added_tokens"][-1], "id": 100, "content": "<prod>"})
    path.write_text(json.dumps(content))


def rename_word(word: str) -> Break:
    """The tokenizer has another word in its place."""

    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        path.write_text(path.read_text().replace(f'"{word}"', f'"{word}x"'))

    return change


def retokenize(**parts: Any) -> Break:
    """Words of the texts found in another way."""

    def change(folder: Path) -> None:
        path = folder / "tokenizer.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **parts}))

    return change


_CLASSIFIER = {"architectures": ["BertForSequenceClassification"]}

#: models/<name> → what is done to the sound folder
MODELS: dict[str, list[Break]] = {
    "no-config": [remove(CONFIG)],
    "config-loop": [remove(CONFIG), loop(CONFIG)],
    "broken-config": [write(CONFIG, '{"model_type": "bert"')],
    "config-is-list": [write(CONFIG, "[]")],
    "config-not-utf8": [write(CONFIG, b'{"model_type": "\xe9"}')],
    "structure-is-text": [configure(edgeopt_structure="small")],
    "structure-too-wide": [
        configure(
            edgeopt_structure={
                "hidden": 99,
                "layers": [],
                "dense": {"layers": 2, "heads": 2, "head_size": 16, "neurons": 64, "hidden": 32},
            }
        )
    ],
    "unknown-type": [configure(model_type="gpt2")],
    "type-is-list": [configure(model_type=["bert"])],
    "remote-code": [configure(model_type="mine", auto_map={"AutoModel": "code.Mine"})],
    "pickle-only": [remove(WEIGHTS), write("pytorch_model.bin", b"\x80\x04.")],
    "no-weights": [remove(WEIGHTS)],
    "onnx-only": [remove(WEIGHTS), write("model.onnx", b"")],
    "truncated": [cut],
    "garbage": [write(WEIGHTS, b"\xff" * 64)],
    "empty-weights": [write(WEIGHTS, b"")],
    "header-garbage": [write(WEIGHTS, header("{no json}"))],
    "header-offsets-text": [
        write(WEIGHTS, header({"a": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "four"]}}, b"\0" * 4))
    ],
    "header-too-deep": [write(WEIGHTS, header("[" * 100_000))],
    "index-outside": indexed({"a": "../model/model.safetensors"}),
    "index-pickle": indexed({"a": "pytorch_model-00001-of-00001.bin"}),
    "index-garbage": indexed([1, 2]),
    "index-names-nothing": indexed({}),
    "index-shard-absent": indexed({"a": "model-00001-of-00002.safetensors"}),
    "adapter-alone": [
        remove(CONFIG),
        remove(WEIGHTS),
        write("adapter_config.json", '{"peft_type": "LORA", "base_model_name_or_path": "/etc"}'),
    ],
    "adapter-beside": [write("adapter_config.json", "{")],
    "tokens-added": [add_token],
    "another-size": [configure(hidden_size=64)],
    "more-layers": [configure(num_hidden_layers=10**9)],
    "tokenizer-damaged": [write("tokenizer.json", "{}")],
    "tokenizer-doubted": [write("tokenizer_config.json", '{"added_tokens_decoder": {"3": {"content": "[CLS]"}}}')],
    "head-of-one": [configure(**_CLASSIFIER, id2label={"0": "LABEL_0"})],
    "head-of-many-labels": [configure(**_CLASSIFIER, problem_type="multi_label_classification")],
    "no-tokenizer": [remove("tokenizer.json")],
    "roberta-positions": [positions(132), configure(model_type="roberta", pad_token_id=3)],
    "distilbert": [configure(model_type="distilbert")],
    "pair": [configure(model_type="encoder-decoder", encoder={"model_type": "bert"}, decoder={"model_type": "bert"})],
    "pair-of-unknown": [
        configure(model_type="encoder-decoder", encoder={"model_type": "bert"}, decoder={"model_type": "gpt2"})
    ],
    "head-of-three": [configure(**_CLASSIFIER, id2label={"0": "a", "1": "b", "2": "c"})],
    "head-of-two-for-scores": [configure(**_CLASSIFIER)],
    "classes-swapped": [configure(**_CLASSIFIER, id2label={"0": "good", "1": "bad"})],
    "other-words": [configure(**_CLASSIFIER), rename_word("good0")],
    "other-normalizer": [retokenize(normalizer={"type": "Replace", "pattern": {"String": "good"}, "content": "bad"})],
    "other-splits": [retokenize(pre_tokenizer={"type": "Digits", "individual_digits": True})],
    "other-ends": [retokenize(post_processor=None)],
}


def make_models(sound: Path, folder: Path) -> None:
    """Write every broken model folder below `folder`."""
    folder.mkdir()
    loop("symlink-loop")(folder)
    for name, breaks in MODELS.items():
        shutil.copytree(sound, folder / name)
        for step in breaks:
            step(folder / name)


def make_files(folder: Path) -> None:
    """Write the data files that are not text, or not of a size to keep."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    loop("loop.jsonl")(folder)
    (folder / "deep.jsonl").write_text("[" * 100_000 + "\n")
    (folder / "long-number.jsonl").write_text('{"text": "a", "label": ' + "1" * 5000 + "}\n")
    (folder / "corrupt.parquet").write_bytes(b"PAR1" + b"\xff" * 100 + b"PAR1")
    pq.write_table(pa.table({"text": ["good0", "bad0"], "label": [1, None]}), folder / "null-label.parquet")
