"""The folder that ONNX Runtime, optimum and transformers.js load."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from edgeopt.export.exporter import Exported, Exporter, ExportInput
from edgeopt.export.graph_files import copy_graph
from edgeopt.models.files import GRAPH
from edgeopt.models.source import WEIGHTS
from edgeopt.store.facts import Fact, facts
from edgeopt.support.errors import step_failed
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
        "torch": False,  # beside the graph, the weights of the model that it was made of, for transformers
        "optimized": False,  # beside the graph, save it as the runtime optimizes it for this processor
    }

    def write(self, given: ExportInput, folder: Path, options: Mapping[str, Any]) -> Exported:
        copy_texts(given, folder)
        quantized = Fact.INT8 in given.state.facts
        artifact = Path("onnx") / (INT8 if quantized else FP32)
        copy_graph(given.state.folder / GRAPH, folder / artifact)
        if quantized and given.fp32 is not None and options["fp32"]:
            copy_graph(given.fp32.folder / GRAPH, folder / "onnx" / FP32)
        if options["torch"]:
            _copy_weights(given, folder)
        return Exported(artifact, optimized=Path("onnx") / OPTIMIZED if options["optimized"] else None)


def _copy_weights(given: ExportInput, folder: Path) -> None:
    """Copy model.safetensors of the torch state. Raises StepError E410 where transformers would not read it."""
    why = None
    if given.torch is None:
        why = "the model was trained in int8 and has none"
    elif given.torch.facts & {Fact.UNEVEN, Fact.GRAPH_ADAPTER}:
        why = "the model is cut, or has an adapter inside, and transformers would not read it"
    if why is not None:
        raise step_failed("E410", f"exporter 'onnx' has no torch weights: {why}", help="leave out the option 'torch'")
    assert given.torch is not None
    shutil.copyfile(given.torch.folder / WEIGHTS, folder / WEIGHTS)
