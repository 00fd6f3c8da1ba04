"""Embedding models that answer and are timed, in a process of their own that is asked by lines of JSON.

    python -m benchmarks.embedding_peers

It runs in edgeopt's Python and in that of the library which is compared with: what it needs is imported when it is
asked for. Times are processor seconds, because other work may share the machine.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: Gives the embeddings of texts in batches, (texts, width): (texts, prompt, batch size).
Embed = Callable[[Sequence[str], str, int], Any]


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print, and answers are lines of JSON
    warnings.simplefilter("ignore")
    opened: dict[str, Embed] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(_answer(asked, opened)), file=answers, flush=True)


def _answer(asked: dict[str, Any], opened: dict[str, Embed]) -> dict[str, Any]:
    if asked["do"] == "open":
        try:
            opened[asked["name"]], size = OPENERS[asked["how"]](asked)
        except Exception as error:  # whatever a library raises is a row without figures
            return {"error": f"{type(error).__name__}: {error}"[:300]}
        return {"size_bytes": size}
    embed, texts, prompt = opened[asked["name"]], asked["texts"], asked["prompt"]
    if asked["do"] == "embed":
        np.save(asked["to"], embed(texts, prompt, 1))
        return {}
    begun = time.process_time()
    embed(texts, prompt, asked["batch"])
    return {"cpu": time.process_time() - begun}


def ours(asked: dict[str, Any]) -> tuple[Embed, int]:
    """A graph of edgeopt's, with the options that were chosen for it, or with those that all have."""
    from edgeopt.run.predict import Predictor, onnx_asked
    from edgeopt.spec.recipe import TaskSpec
    from edgeopt.tasks import task_of

    graph = Path(asked["graph"])
    spec = {"type": "embedding", "dataset": {"path": "."}, "text": "text", "max_length": asked["max_length"]}
    task = task_of(TaskSpec.model_validate(spec))
    options = {"intra_op_num_threads": 1, **asked["options"]}
    predict = Predictor(onnx_asked(graph.parents[1], graph, task, options))

    def embed(texts: Sequence[str], prompt: str, batch: int) -> Any:
        return np.stack([found.logits for found in predict([prompt + text for text in texts], batch)])

    return embed, graph.stat().st_size


def sentence_transformers(asked: dict[str, Any]) -> tuple[Embed, int]:
    """The library's own model of a folder: in torch, exported by it, and quantized by it."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    folder, made = asked["folder"], Path(asked["to"])
    backend, int8 = asked["backend"], asked.get("int8")
    if backend == "torch":
        model, size = SentenceTransformer(folder, device="cpu"), (Path(folder) / "model.safetensors").stat().st_size
    else:
        make = {None: _exported, "static": _openvino_int8}.get(int8, _onnx_int8)
        if not (made / "modules.json").is_file():  # one that was interrupted goes on where it was
            make(folder, made, asked)
        name = next((p.name for p in made.glob("onnx/*int8*.onnx")), None)
        kwargs = {"file_name": f"onnx/{name}"} if name else {}
        model = SentenceTransformer(str(made), backend=backend, device="cpu", model_kwargs=kwargs)
        size = (made / "onnx" / name).stat().st_size if name else _size(made)
    model.max_seq_length = asked["max_length"]

    def embed(texts: Sequence[str], prompt: str, batch: int) -> Any:
        return model.encode([prompt + t for t in texts], batch_size=batch, normalize_embeddings=True)

    return embed, size


def _exported(folder: str, made: Path, asked: dict[str, Any]) -> None:
    from sentence_transformers import SentenceTransformer

    backend = asked["backend"]
    model = SentenceTransformer(folder, backend=backend, device="cpu", model_kwargs={"export": True})
    model.save_pretrained(str(made))


def _onnx_int8(folder: str, made: Path, asked: dict[str, Any]) -> None:
    from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model

    plain = SentenceTransformer(folder, backend="onnx", device="cpu", model_kwargs={"export": True})
    export_dynamic_quantized_onnx_model(plain, asked["int8"], str(made))
    plain.save_pretrained(str(made))


def _openvino_int8(folder: str, made: Path, asked: dict[str, Any]) -> None:
    """What `export_static_quantized_openvino_model` does, with own texts in the place of a dataset of the hub."""
    import nncf
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, backend="openvino", device="cpu", model_kwargs={"export": True})
    inner = model[0].auto_model
    names = {i.get_any_name() for i in inner.model.inputs}
    rows = [dict(model.tokenizer(text, return_tensors="np", truncation=True)) for text in asked["calibration"]]
    rows = [{name: row[name] for name in names} for row in rows]
    kind = nncf.ModelType.TRANSFORMER
    inner.model = nncf.quantize(inner.model, nncf.Dataset(rows), model_type=kind, subset_size=len(rows))
    model.save_pretrained(str(made))


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for pattern in ("**/*.onnx*", "**/*.bin", "**/*.xml") for p in folder.glob(pattern))


OPENERS = {"edgeopt": ours, "sentence-transformers": sentence_transformers}

if __name__ == "__main__":
    main()
