"""One flat folder: the graph, the tokenizer, and the labels a line each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeopt.plugins import Exported, Exporter, ExportInput, Fact, facts


class FlatExporter(Exporter):
    """For services that read three files and nothing else."""

    name = "flat"
    summary = "model.onnx, tokenizer.json and labels.txt in one folder"
    requires = facts(Fact.ONNX)
    needs = ("onnxruntime",)

    def write(self, given: ExportInput, folder: Path, options: Mapping[str, Any]) -> Exported:
        for name in ("model.onnx", "tokenizer.json"):
            shutil.copyfile(given.state.folder / name, folder / name)
        labels = json.loads((given.state.folder / "config.json").read_text(encoding="utf-8")).get("id2label", {})
        (folder / "labels.txt").write_text("".join(f"{labels[str(i)]}\n" for i in range(len(labels))), encoding="utf-8")
        return Exported(Path("model.onnx"))
