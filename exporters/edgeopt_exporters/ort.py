"""ONNX Runtime's own format, for builds that are reduced to what a model needs, as those for phones are.

https://onnxruntime.ai/docs/performance/model-optimizations/ort-format-models.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from edgeopt.device import guard
from edgeopt.export.exporter import Exported, Exporter, ExportInput
from edgeopt.export.graph_files import is_large, size_of
from edgeopt.export.session import changes, save_optimized
from edgeopt.models.files import GRAPH
from edgeopt.store.facts import Fact, facts
from edgeopt_exporters.files import copy_texts
from edgeopt_exporters.ort_biases import float_biases

MODEL, OPERATORS = "model.ort", "required_operators.config"


class OrtExporter(Exporter):
    """Writes model.ort and required_operators.config, which `build.py --include_ops_by_config` takes.

    The graph is optimized when it is written, for the kind of processor that it is written on, and not when it is
    loaded; there the biases of int8 products become float, which on several threads is quicker.
    """

    name = "ort"
    summary = "ONNX Runtime's .ort format, with the list of operators for a reduced build"
    reproducible = False  # the runtime writes a table of the file in the order of a hash map
    requires = facts(Fact.ONNX)
    needs = ("onnxruntime",)
    options: ClassVar[dict[str, Any]] = {
        "disabled_optimizers": [],  # optimizers of the runtime that are left out, by their names
    }

    def variants(self) -> dict[str, dict[str, Any]]:
        # when the file is loaded it is too late to leave the optimizer out
        return {"": {}, "without SkipLayerNormFusion": {"disabled_optimizers": ["SkipLayerNormFusion"]}}

    def write(self, given: ExportInput, folder: Path, options: Mapping[str, Any]) -> Exported:
        if is_large(given.state.folder / GRAPH):
            raise ValueError(
                f"the format holds 2 GB at most, and the graph has {size_of(given.state.folder / GRAPH) / 1e9:.2f} GB"
            )
        copy_texts(given, folder)
        target = folder / MODEL
        # blocked layouts are for one processor, and for convolutions
        left_out = ["NchwcTransformer", *options["disabled_optimizers"]]
        optimized = target.with_suffix(".onnx")
        as_it_is = save_optimized(given.state.folder / GRAPH, {"disabled_optimizers": left_out}, optimized)
        float_biases(optimized)
        save_optimized(optimized, as_it_is, target)
        optimized.unlink()
        (folder / OPERATORS).write_text(_operators(target), encoding="utf-8")
        return Exported(Path(MODEL))

    def misfit(self, options: Mapping[str, Any]) -> str | None:
        return guard.problem({guard.OPTIMIZERS: options["disabled_optimizers"]})

    def changes(self, threads: int) -> list[dict[str, Any]]:
        return changes(threads, kernels=False)


def _operators(model: Path) -> str:
    """A line for each domain and version: `ai.onnx;17;Add,Gather`."""
    from onnxruntime.tools.ort_format_model.ort_model_processor import OrtFormatModelProcessor

    found: dict[str, dict[int, set[str]]] = {}
    OrtFormatModelProcessor(str(model), found, None).process()
    return "".join(
        f"{domain};{version};{','.join(sorted(names))}\n"
        for domain in sorted(found)
        for version, names in sorted(found[domain].items())
        if names
    )
