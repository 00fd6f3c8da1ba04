"""Serve this model with onnxruntime and tokenizers alone: python run.py "A text." ["The second text of a pair."]"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before onnxruntime is imported, which from 1.29 on collects figures
import onnxruntime as ort
from tokenizers import Tokenizer


class Model:
    """The model of a bundle's folder."""

    def __init__(self, folder: Path = Path(__file__).parent) -> None:
        self.about: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        file, options = self.about["model"], ort.SessionOptions()
        for name, value in json.loads((folder / "session.json").read_text(encoding="utf-8")).get(file, {}).items():
            if name == "disabled_optimizers":
                options.add_session_config_entry("optimization.disable_specified_optimizers", ";".join(value))
            elif name == "graph_optimization_level":
                options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, value)
            elif "." in name:
                options.add_session_config_entry(name, value)
            else:
                setattr(options, name, value)
        self.session = ort.InferenceSession(str(folder / file), options, providers=["CPUExecutionProvider"])
        self.inputs = {i.name for i in self.session.get_inputs()}
        self.tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.about["task"]["max_length"])

    def feed(self, *texts: str) -> dict[str, Any]:
        """Inputs of one text or pair, each of shape (1, tokens)."""
        encoded = self.tokenizer.encode(*texts)
        found = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask, "token_type_ids": encoded.type_ids}
        return {name: np.array([values], dtype=np.int64) for name, values in found.items() if name in self.inputs}

    def logits(self, *texts: str) -> Any:
        return self.session.run(["logits"], self.feed(*texts))[0][0]

    def answer(self, *texts: str) -> tuple[str | float, float | None]:
        """The label and its probability; of a regression the score and None."""
        logits = self.logits(*texts)
        if not self.about["labels"]:
            return float(logits[0]), None
        shares = np.exp(logits - logits.max())
        return self.about["labels"][logits.argmax()], float(shares.max() / shares.sum())


if __name__ == "__main__":
    model = Model()
    if len(sys.argv) - 1 != model.about["task"]["texts"]:
        sys.exit(f"{__doc__}\nThis model reads {model.about['task']['texts']} at a time.")
    label, probability = model.answer(*sys.argv[1:])
    print(label if probability is None else f"{label}\t{probability:.4f}")
