"""One int8 model made as its library makes it by default, and its answers, with the task on stdin.

    python -m benchmarks.int8_peers

In a process of its own, so that the peak memory is that library's, and in the Python that has the library.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.export.session import QUIET, Options, onnx_query
from edgeopt.measure.cold_worker import peak_bytes
from edgeopt.measure.session_choice import Query

#: Inputs of a query as lists of numbers.
Rows = list[dict[str, list[int]]]


def main() -> None:
    task = json.load(sys.stdin)
    folder, graph, rows = Path(task["folder"]), Path(task["graph"]), task["rows"]
    started = time.monotonic()
    made = MAKERS[task["peer"]](graph, Path(task["torch"]), rows, folder)
    found = {"seconds": round(time.monotonic() - started, 1), "peak_bytes": peak_bytes()}
    ask: Any = query(made, QUIET)
    np.save(folder / "logits.npy", np.concatenate([ask(feed) for feed in feeds(task["report"])]))
    size = sum(p.stat().st_size for p in made.parent.glob(f"{made.stem}.*"))
    (folder / "made.json").write_text(json.dumps({**found, "file": made.name, "size_bytes": size}))


def made_of(folder: Path) -> dict[str, Any]:
    """What `main` left beside a peer's model: seconds, peak_bytes, file, size_bytes."""
    found: dict[str, Any] = json.loads((folder / "made.json").read_text(encoding="utf-8"))
    return found


def feeds(rows: Rows) -> list[dict[str, Any]]:
    return [{name: np.array([values], dtype=np.int64) for name, values in row.items()} for row in rows]


def query(path: Path, options: Options) -> Query:
    """What answers a query from a file, by the runtime that it is for.

    options: of ONNX Runtime; OpenVINO's are those for latency, on as many threads.
    """
    if path.suffix in (".onnx", ".ort"):
        return onnx_query(path, options)
    import openvino

    threads = {"INFERENCE_NUM_THREADS": options["intra_op_num_threads"]} if "intra_op_num_threads" in options else {}
    compiled = openvino.Core().compile_model(path, "CPU", {"PERFORMANCE_HINT": "LATENCY", **threads})
    names, request = [i.get_any_name() for i in compiled.inputs], compiled.create_infer_request()
    return lambda feed: request.infer({name: feed[name] for name in names})[compiled.output(0)]


class Reader:
    """The rows as onnxruntime's calibrators ask for them: those inputs that the graph has."""

    def __init__(self, graph: Path, rows: Rows) -> None:
        import onnx

        names = {i.name for i in onnx.load(str(graph)).graph.input}
        self.feeds = iter([{k: v for k, v in feed.items() if k in names} for feed in feeds(rows)])

    def get_next(self) -> Any:
        return next(self.feeds, None)


def ort_dynamic(graph: Path, _: Path, rows: Rows, folder: Path) -> Path:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(graph, folder / "model.onnx")
    return folder / "model.onnx"


def ort_static(graph: Path, _: Path, rows: Rows, folder: Path) -> Path:
    from onnxruntime.quantization import quantize_static

    quantize_static(graph, folder / "model.onnx", Reader(graph, rows))
    return folder / "model.onnx"


def nncf_static(graph: Path, _: Path, rows: Rows, folder: Path) -> Path:
    import nncf
    import openvino

    model = openvino.Core().read_model(graph)
    names = {i.get_any_name() for i in model.inputs}
    dataset = nncf.Dataset([{k: v for k, v in feed.items() if k in names} for feed in feeds(rows)])
    made = nncf.quantize(model, dataset, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(rows))
    openvino.save_model(made, folder / "model.xml")
    return folder / "model.xml"


def neural_compressor_static(_: Path, torch_folder: Path, rows: Rows, folder: Path) -> Path:
    """PT2E: exported, calibrated and converted in torch, then written as QDQ by the exporter that can."""
    import torch
    from neural_compressor.torch.export import export
    from neural_compressor.torch.quantization import convert, get_default_static_config, prepare
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(torch_folder, attn_implementation="eager").eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits

    given = [{name: torch.from_numpy(values) for name, values in feed.items()} for feed in feeds(rows)]
    example = tuple(torch.cat([given[0][n]] * 2) for n in names)
    axes = tuple(
        {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("sequence", min=3, max=512)} for _ in example
    )
    prepared = prepare(export(Logits().eval(), example, dynamic_shapes=axes), get_default_static_config())
    with torch.no_grad():
        for row in given:
            prepared(*(row[n] for n in names))
    made = folder / "model.onnx"
    torch.onnx.export(
        convert(prepared),
        example,
        str(made),
        dynamo=True,
        opset_version=20,
        external_data=False,
        dynamic_shapes=axes,
        input_names=names,
        output_names=["logits"],
    )
    return made


MAKERS = {
    "onnxruntime-dynamic": ort_dynamic,
    "onnxruntime-static": ort_static,
    "neural-compressor": neural_compressor_static,
    "openvino-nncf": nncf_static,
}

if __name__ == "__main__":
    main()
