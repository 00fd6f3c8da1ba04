"""The folder that ONNX Runtime, optimum and transformers.js load."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

from edgeopt.contract import Fact, facts
from edgeopt.export import Exported, Exporter, ExportInput
from edgeopt.models.source import CONFIG, TOKENIZER_FILES

FP32, INT8, OPTIMIZED = "model.onnx", "model_quantized.onnx", "model_optimized.onnx"


class OnnxExporter(Exporter):
    """config.json and tokenizer beside onnx/; int8 is `model_quantized.onnx` and float is `model.onnx`,
    which are the names those loaders look for."""

    name = "onnx"
    summary = "ONNX in the layout of optimum and transformers.js"
    requires = facts(Fact.ONNX)
    needs = ("onnxruntime",)
    options: ClassVar[dict[str, Any]] = {
        "fp32": True,  # beside an int8 graph, keep the float one it came from
        "optimized": False,  # beside the graph, save it as the runtime optimises it for this processor
    }

    def write(self, given: ExportInput, folder: Path, options: dict[str, Any]) -> Exported:
        for name in (CONFIG, *TOKENIZER_FILES):
            if (given.state.folder / name).is_file():
                shutil.copyfile(given.state.folder / name, folder / name)
        (folder / "onnx").mkdir()
        quantized = Fact.INT8 in given.state.facts
        artifact = Path("onnx") / (INT8 if quantized else FP32)
        _copy_graph(given.state.folder, folder / artifact)
        chosen = {**self.options, **options}
        if quantized and given.fp32 is not None and chosen["fp32"]:
            _copy_graph(given.fp32.folder, folder / "onnx" / FP32)
        return Exported(artifact, Path("onnx") / OPTIMIZED if chosen["optimized"] else None)

    def logits(self, folder: Path, exported: Exported, feed: dict[str, Any]) -> Any:
        import onnxruntime as ort

        session = ort.InferenceSession(str(folder / exported.artifact), providers=["CPUExecutionProvider"])
        names = {i.name for i in session.get_inputs()}
        return session.run(["logits"], {k: v for k, v in feed.items() if k in names})[0]


def _copy_graph(source: Path, target: Path) -> None:
    shutil.copyfile(source / "model.onnx", target)
