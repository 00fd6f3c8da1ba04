"""ExecuTorch with XNNPACK: int8 weights, activations quantized as they come, one method a length.

Weights: symmetric, a scale for each output channel, `get_symmetric_quantization_config(is_per_channel=True,
is_dynamic=True)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgeopt.export.exporter import Exported, Exporter, ExportInput, Query
from edgeopt.export.padding import LENGTHS, lengths_of, padded
from edgeopt.export.session import Options
from edgeopt.store.facts import Fact, facts
from edgeopt_exporters.files import copy_texts
from edgeopt_exporters.module import INPUTS, example, logits_module, method

if TYPE_CHECKING:
    import torch

MODEL = "model.pte"
#: What is added to the attention of a padding token.
_HIDDEN = -1e9


class ExecuTorchExporter(Exporter):
    """Writes model.pte beside config.json and the tokenizer.

    The methods share their weights. The attention mask is given as what is added to the scores, shape (1, 1, 1,
    length): XNNPACK's quantizer cannot take the graph that makes it of ones and zeros.
    """

    name = "executorch"
    summary = "ExecuTorch with XNNPACK, int8 weights"
    runtime = "executorch"
    requires = facts(Fact.ONNX)
    source = "torch"
    paddings = ("buckets", "max_length")
    needs = ("executorch", "torchao")
    extra = "executorch"
    imports = ("executorch.runtime",)
    options: ClassVar[dict[str, Any]] = {
        "int8": True,  # else the weights stay in float32
    }

    def write(self, given: ExportInput, folder: Path, options: Mapping[str, Any]) -> Exported:
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        copy_texts(given, folder)
        model, names = logits_module(given)
        lengths = lengths_of(self.padding(options), given.max_length)
        programs = {}
        for length in lengths:
            inputs = tuple(
                map(torch.from_numpy, _prepared({k: v.numpy() for k, v in example(names, length).items()}, names))
            )
            with torch.no_grad():
                exported = torch.export.export(model, inputs, strict=False)
                if options["int8"]:
                    exported = torch.export.export(_quantized(exported.module(), inputs), inputs, strict=False)
            programs[method(length)] = exported
        lowered = to_edge_transform_and_lower(programs, partitioner=[XnnpackPartitioner()]).to_executorch()
        (folder / MODEL).write_bytes(lowered.buffer)
        return Exported(Path(MODEL), {LENGTHS: lengths, INPUTS: names}, precision="int8" if options["int8"] else "fp32")

    def defaults(self, threads: int | None) -> dict[str, Any]:
        return {} if threads is None else {"threads": threads}

    def changes(self, threads: int) -> list[dict[str, Any]]:
        return []

    def open(self, path: Path, options: Options) -> Query:
        import torch
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        if "threads" in options:
            portable_lib._unsafe_reset_threadpool(options["threads"])  # of the process: there is no other way
        program = Runtime.get().load_program(path)
        methods = {length: program.load_method(method(length)) for length in options[LENGTHS]}

        def run(feed: Mapping[str, Any]) -> Any:
            length = feed["input_ids"].shape[1]
            return methods[length].execute([torch.from_numpy(v) for v in _prepared(feed, options[INPUTS])])[0].numpy()

        return padded(run, options[LENGTHS])

    def loading(self, lengths: Sequence[int] | None) -> str:
        return f"""\
import torch
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Runtime

portable_lib._unsafe_reset_threadpool(options["threads"])
program = Runtime.get().load_program(folder / file)


def run(feeds):
    # what is added to the attention of each token: nothing, or for padding so much that it is not seen
    feeds = {{**feeds, "attention_mask": (1 - feeds["attention_mask"][:, None, None, :]).astype(np.float32) \
* {_HIDDEN}}}
    loaded = program.load_method(f"length_{{feeds['input_ids'].shape[1]}}")
    return loaded.execute([torch.from_numpy(feeds[name]) for name in options["{INPUTS}"]])[0].numpy()"""


def _prepared(feed: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    """The inputs of the model in their order, the mask as what is added to the scores."""
    import numpy as np

    hidden = (1 - feed["attention_mask"][:, None, None, :]).astype(np.float32) * np.float32(_HIDDEN)
    return [hidden if name == "attention_mask" else feed[name] for name in names]


def _quantized(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.nn.Module:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
    prepared = prepare_pt2e(module, quantizer)
    prepared(*inputs)
    quantized: torch.nn.Module = convert_pt2e(prepared)
    return quantized
