"""OpenVINO's intermediate representation of the graph, int8 as it is in its QDQ nodes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from edgeopt.export.exporter import Exported, Exporter, ExportInput, Query
from edgeopt.export.padding import LENGTHS, lengths_of, padded
from edgeopt.export.session import Options
from edgeopt.models.files import GRAPH
from edgeopt.store.facts import Fact, facts
from edgeopt.support.telemetry import OPENVINO_LINES
from edgeopt_exporters.files import copy_texts

#: The name that optimum-intel looks for.
MODEL = "openvino_model.xml"
#: A layer's name that is made of its type and a number that counts through the process: other bytes each time. Edges go
#: by the id.
_COUNTED = re.compile(r'(<layer id="(\d+)" name=")([A-Z][A-Za-z]*)_\d+(?:_\d+)?(")')

#: All that is ever set of the runtime: other properties write files.
_SET = ("PERFORMANCE_HINT", "INFERENCE_PRECISION_HINT", "ENABLE_CPU_PINNING", "INFERENCE_NUM_THREADS")


class OpenVinoExporter(Exporter):
    """Writes openvino_model.xml with its weights in openvino_model.bin beside config.json and the tokenizer.

    The file has dynamic shapes; where queries are padded it is compiled for each length when it is opened.
    """

    name = "openvino"
    summary = "OpenVINO IR in the layout of optimum-intel"
    runtime = "openvino"
    requires = facts(Fact.ONNX)
    paddings = ("dynamic", "buckets", "max_length")
    needs = ("openvino",)
    extra = "openvino"
    imports = ("openvino",)
    options: ClassVar[dict[str, Any]] = {}

    def write(self, given: ExportInput, folder: Path, options: Mapping[str, Any]) -> Exported:
        import openvino

        copy_texts(given, folder)
        model = openvino.Core().read_model(given.state.folder / GRAPH)
        openvino.save_model(model, folder / MODEL, compress_to_fp16=False)
        text = (folder / MODEL).read_text(encoding="utf-8")
        (folder / MODEL).write_text(_COUNTED.sub(r"\1\3.\2\4", text), encoding="utf-8")
        lengths = lengths_of(self.padding(options), given.max_length)
        return Exported(Path(MODEL), {LENGTHS: lengths} if lengths else {})

    def defaults(self, threads: int | None) -> dict[str, Any]:
        # float32 is not rounded to bfloat16 where the processor has that; threads are pinned by whoever measures
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        return options if threads is None else {**options, "INFERENCE_NUM_THREADS": threads}

    def changes(self, threads: int) -> list[dict[str, Any]]:
        return []

    def open(self, path: Path, options: Options) -> Query:
        import openvino

        core = openvino.Core()
        model = core.read_model(path)
        names = [i.any_name for i in model.inputs]
        given = {k: options[k] for k in _SET if k in options}

        def compiled(length: int | None) -> Query:
            if length is not None:
                model.reshape({name: [1, length] for name in names})
            request = core.compile_model(model, "CPU", given).create_infer_request()

            def run(feed: Mapping[str, Any]) -> Any:
                request.infer({name: feed[name] for name in names}, share_inputs=True)
                return request.get_output_tensor(0).data.copy()

            return run

        lengths = options.get(LENGTHS)
        if not lengths:
            return compiled(None)
        runs = {length: compiled(length) for length in lengths}
        return padded(lambda feed: runs[feed["input_ids"].shape[1]](feed), lengths)

    def loading(self, lengths: Sequence[int] | None) -> str:
        return _FIXED if lengths else _DYNAMIC


_OPENED = f"""\
import sys

{OPENVINO_LINES}
import openvino

core = openvino.Core()
model = core.read_model(folder / file)
names = [each.any_name for each in model.inputs]
settings = {{key: options[key] for key in {_SET} if key in options}}  # others may write files
"""
_DYNAMIC = (
    _OPENED
    + """\
compiled = core.compile_model(model, "CPU", settings)


def run(feeds):
    return compiled({name: feeds[name] for name in names})[0]"""
)
_FIXED = (
    _OPENED
    + """\
compiled = {}
for length in lengths:
    model.reshape({name: [1, length] for name in names})
    compiled[length] = core.compile_model(model, "CPU", settings)


def run(feeds):
    return compiled[feeds["input_ids"].shape[1]]({name: feeds[name] for name in names})[0]"""
)
