"""The folder of a run as `edgeopt bundle` reads it, with a real graph of a few hundred weights; no torch is needed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from helpers import seal_run, tiny_task
from onnx import TensorProto, helper, numpy_helper
from report_sample import sample_report, subject
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from edgeopt.data import load_data
from edgeopt.export.graph_files import save_graph, size_of
from edgeopt.models.sentence import Sentence
from edgeopt.models.source import find_model
from edgeopt.results.model import RecipeInfo, Task
from edgeopt.spec.recipe import ModelSpec, TaskSpec
from edgeopt.support import host
from edgeopt.tasks import task_of, task_type

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    *(f"{kind}{i}" for kind, n in (("good", 10), ("bad", 10), ("word", 75)) for i in range(n)),
]
MODEL = "onnx/model_quantized.onnx"
#: What the config of an embedding model says.
READING = Sentence(query="word1 ", passage="word2 ", normalize=False).as_json()
#: As long as a test has patience for.
TARGET = {"name": "brief", "queries": 64, "max_seconds": 5.0, "sequence": [16, "task"], "threads": 1, "batch": 2}


def make_run(
    folder: Path,
    data: Path,
    *,
    width: int = 2,
    seed: int = 0,
    model: Path | None = None,
    gates: list[Any] | None = None,
    **task: Any,
) -> Path:
    """A run over the rows of `data`, whose model is the mean of the tokens' vectors.

    width: logits. model: what it started from.
    """
    run = folder / "run"
    (run / "model" / "onnx").mkdir(parents=True)
    spec = TaskSpec.model_validate(tiny_task(data, **task))
    kind = task_type(spec.type)
    _save_graph(run / "model" / MODEL, width, seed, task_of(spec).graph_outputs[0])
    _save_tokenizer(run / "model" / "tokenizer.json")
    (run / "model" / "session.json").write_text(
        json.dumps(
            {MODEL: {"intra_op_num_threads": 1, "disabled_optimizers": ["BiasGeluFusion"]}, "onnx/model.onnx": {}}
        )
    )
    if kind.embeds:
        (run / "model" / "config.json").write_text(json.dumps({"edgeopt_embedding": READING}))
    split = load_data(spec, folder).report
    told: Any = _cosines if kind.embeds else logits_of
    kept = [told(run / "model", *texts) for texts in split.texts]
    blank = [0.0, 0] if kind.grouped else 0
    rows = [
        {"index": i, "label": blank, "baseline": [0.0] * len(row), "candidate": [float(x) for x in row]}
        for i, row in enumerate(kept)
    ]
    (run / "predictions.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    about = Task(
        type=spec.type,
        dataset=str(data),
        split=split.name,
        rows=len(split),
        labels=["bad", "good"][:width] if kind.has_classes else [],
        max_length=spec.max_length,
        fingerprint=split.fingerprint,
    )
    size = size_of(run / "model" / MODEL)
    report = sample_report(
        task=about,
        environment={"cpu": host.cpu_name(), "packages": {"onnxruntime": ort.__version__}},
        recipe=RecipeInfo(name="tiny", source=str(folder / "recipe.yaml"), digest="0" * 64),
        candidate=subject(f"model/{MODEL}", 0.8, 0.8, size, 200, "int8"),
    )
    (run / "report.json").write_text(report.model_dump_json())
    (run / "log.txt").write_text("")
    spec_of = ModelSpec(id=str(model or folder / "gone"))
    resolved = {
        "name": "tiny",
        "model": spec_of.model_dump(mode="json"),
        "task": spec.model_dump(mode="json"),
        "targets": [TARGET],
        "gates": gates or [],
    }
    fingerprint = find_model(spec_of, folder).fingerprint() if model else None
    return seal_run(run, {"lock": 1, "model": fingerprint, "recipe": {"digest": "0" * 64, "resolved": resolved}})


def logits_of(folder: Path, *texts: str) -> np.ndarray[Any, Any]:
    """What the model answers, written down once more without edgeopt."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(16)
    encoded = tokenizer.encode(*texts)
    feed = {"input_ids": np.array([encoded.ids]), "attention_mask": np.array([encoded.attention_mask])}
    found: np.ndarray[Any, Any] = ort.InferenceSession(str(folder / MODEL)).run(None, feed)[0][0]
    return found


def _cosines(folder: Path, *texts: str) -> list[float]:
    """What a run keeps of texts that are embedded: the cosine of a pair, and two numbers beside the baseline."""
    prompts = (READING["query"], *[READING["passage"]] * (len(texts) - 1))
    vectors = [logits_of(folder, prompt + text) for prompt, text in zip(prompts, texts, strict=True)]
    one, *other = [v / np.linalg.norm(v) for v in vectors]
    return [*(float(one @ v) for v in other), 1.0, 0.5]


def _save_graph(path: Path, width: int, seed: int, output: str) -> None:
    table = np.random.default_rng(seed).standard_normal((len(WORDS), width)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["x"]),
        helper.make_node("Cast", ["attention_mask"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["seen", "last"], ["mask"]),
        helper.make_node("Mul", ["x", "mask"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "tokens"], [output], keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "s"]) for name in ("input_ids", "attention_mask")
    ]
    values = {"table": table, "last": np.array([2]), "tokens": np.array([1])}
    made = helper.make_graph(
        nodes,
        "g",
        inputs,
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["b", width])],
        [numpy_helper.from_array(v, k) for k, v in values.items()],
    )
    save_graph(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def _save_tokenizer(path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(path))


def reseal(folder: Path) -> None:
    """Write the manifest anew for what is in the folder, as someone would who cannot sign."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in manifest["files"]:
        data = (folder / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
