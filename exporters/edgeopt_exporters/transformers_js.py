"""The folder that transformers.js loads, with a file for each of its data types that the state has.

Layout and names: `DEFAULT_DTYPE_SUFFIX_MAPPING` in src/utils/dtypes.js of huggingface/transformers.js.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from edgeopt.export.exporter import Exported, Exporter, ExportInput
from edgeopt.export.graph_files import copy_graph, files_of
from edgeopt.models.files import GRAPH
from edgeopt.models.source import CONFIG
from edgeopt.store.facts import Fact, facts
from edgeopt_exporters.files import copy_texts

#: Data types by the suffix of their files.
_SUFFIXES = {"fp32": "", "q8": "_quantized", "int8": "_int8", "uint8": "_uint8"}
FIELD = "transformers.js_config"


class TransformersJsExporter(Exporter):
    """Writes config.json, which names the default data type, the tokenizer's files, and the graphs in onnx/.

    The tokenizer's are tokenizer.json and tokenizer_config.json; the graphs are `model.onnx`, `model_quantized.onnx`
    (q8) or further names of the int8 graph.
    """

    name = "transformers-js"
    summary = "transformers.js: its folder and the file names of its data types; measured in native ONNX Runtime"
    requires = facts(Fact.ONNX)
    needs = ("onnxruntime",)
    native = False  # a browser or node runs it
    options: ClassVar[dict[str, Any]] = {
        "dtypes": ["q8"],  # names for the int8 graph, of q8, int8 and uint8; the first is the default
        "fp32": False,  # beside an int8 graph, the float one it came from
    }

    def write(self, given: ExportInput, folder: Path, options: Mapping[str, Any]) -> Exported:
        copy_texts(given, folder)
        quantized = Fact.INT8 in given.state.facts
        dtypes = list(options["dtypes"]) if quantized else ["fp32"]
        for dtype in dtypes:
            copy_graph(given.state.folder / GRAPH, folder / _file(dtype))
        if quantized and given.fp32 is not None and options["fp32"]:
            copy_graph(given.fp32.folder / GRAPH, folder / _file("fp32"))
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        # else transformers.js looks for q8 on WASM and for fp32 on all other devices
        config[FIELD] = {"dtype": dtypes[0]}
        files = {path.name: len(files_of(path)) - 1 for path in sorted((folder / "onnx").glob("*.onnx"))}
        if any(files.values()):
            config[FIELD]["use_external_data_format"] = files
        (folder / CONFIG).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return Exported(_file(dtypes[0]))

    def misfit(self, options: Mapping[str, Any]) -> str | None:
        known = [d for d in _SUFFIXES if d != "fp32"]
        if not options["dtypes"] or not set(options["dtypes"]) <= set(known):
            return f"'dtypes' must be some of {', '.join(known)}"
        return None


def _file(dtype: str) -> Path:
    return Path("onnx") / f"model{_SUFFIXES[dtype]}.onnx"
