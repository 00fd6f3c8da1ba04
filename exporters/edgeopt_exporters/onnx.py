"""The folder that ONNX Runtime, optimum and transformers.js load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from edgeopt.export.exporter import Exported, Exporter, ExportInput
from edgeopt.export.graph_files import copy_graph
from edgeopt.models.files import GRAPH
from edgeopt.store.facts import Fact, facts
from edgeopt_exporters.files import copy_texts

FP32, INT8, OPTIMIZED = "model.onnx", "model_quantized.onnx", "model_optimized.onnx"


class OnnxExporter(Exporter):
    """Writes config.json and tokenizer beside onnx/.

    int8 is `model_quantized.onnx` and float is `model.onnx`, which are the names that ONNX Runtime's users, optimum and
    transformers.js look for.
    """

    name = "onnx"
    summary = "ONNX in the layout of optimum and transformers.js"
    requires = facts(Fact.ONNX)
    needs = ("onnxruntime",)
    options: ClassVar[dict[str, Any]] = {
        "fp32": True,  # beside an int8 graph, keep the float one it came from
        "optimized": False,  # beside the graph, save it as the runtime optimizes it for this processor
    }

    def write(self, given: ExportInput, folder: Path, options: Mapping[str, Any]) -> Exported:
        copy_texts(given.state, folder)
        quantized = Fact.INT8 in given.state.facts
        artifact = Path("onnx") / (INT8 if quantized else FP32)
        copy_graph(given.state.folder / GRAPH, folder / artifact)
        if quantized and given.fp32 is not None and options["fp32"]:
            copy_graph(given.fp32.folder / GRAPH, folder / "onnx" / FP32)
        return Exported(artifact, optimized=Path("onnx") / OPTIMIZED if options["optimized"] else None)
