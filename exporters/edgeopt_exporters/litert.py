"""LiteRT, once TensorFlow Lite: int8 weights, activations quantized as they come, one signature a length.

Weights: symmetric, a scale for each output channel, `dynamic_wi8_afp32` of ai-edge-quantizer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from edgeopt.export.exporter import Exported, Exporter, ExportInput, Query
from edgeopt.export.padding import LENGTHS, lengths_of, padded
from edgeopt.export.session import Options
from edgeopt.store.facts import Fact, facts
from edgeopt_exporters.files import copy_texts
from edgeopt_exporters.module import INPUTS, example, logits_module, method

MODEL = "model.tflite"


class LiteRtExporter(Exporter):
    """Writes model.tflite beside config.json and the tokenizer. The signatures share their weights."""

    name = "litert"
    summary = "LiteRT (TensorFlow Lite), int8 weights"
    runtime = "litert"
    requires = facts(Fact.ONNX)
    source = "torch"
    paddings = ("buckets", "max_length")
    needs = ("litert-torch", "ai-edge-quantizer", "ai-edge-litert")
    extra = "litert"
    imports = ("ai_edge_litert.interpreter",)
    options: ClassVar[dict[str, Any]] = {
        "int8": True,  # else the weights stay in float32
    }

    def write(self, given: ExportInput, folder: Path, options: Mapping[str, Any]) -> Exported:
        import litert_torch
        import torch

        copy_texts(given, folder)
        model, names = logits_module(given)
        lengths = lengths_of(self.padding(options), given.max_length)
        converter: Any = litert_torch
        for length in lengths:
            converter = converter.signature(method(length), model, tuple(example(names, length).values()))
        with torch.no_grad():
            converter.convert().export(str(folder / MODEL))
        if options["int8"]:
            from ai_edge_quantizer import quantizer, recipe

            made = quantizer.Quantizer(str(folder / MODEL), recipe.dynamic_wi8_afp32())
            made.quantize().export_model(str(folder / MODEL), overwrite=True)
        return Exported(Path(MODEL), {LENGTHS: lengths, INPUTS: names}, precision="int8" if options["int8"] else "fp32")

    def defaults(self, threads: int | None) -> dict[str, Any]:
        return {} if threads is None else {"num_threads": threads}

    def changes(self, threads: int) -> list[dict[str, Any]]:
        return []

    def open(self, path: Path, options: Options) -> Query:
        import numpy as np
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path), num_threads=options.get("num_threads"))
        runners = {length: interpreter.get_signature_runner(method(length)) for length in options[LENGTHS]}

        def run(feed: Mapping[str, Any]) -> Any:
            runner = runners[feed["input_ids"].shape[1]]
            given = {f"args_{i}": feed[name].astype(np.int32) for i, name in enumerate(options[INPUTS])}
            return next(iter(runner(**given).values()))

        return padded(run, options[LENGTHS])

    def loading(self, lengths: Sequence[int] | None) -> str:
        return """\
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_path=str(folder / file), num_threads=options["num_threads"])


def run(feeds):
    runner = interpreter.get_signature_runner(f"length_{feeds['input_ids'].shape[1]}")
    return next(iter(runner(**{f"args_{i}": feeds[name].astype(np.int32) \
for i, name in enumerate(options["inputs"])}).values()))"""
