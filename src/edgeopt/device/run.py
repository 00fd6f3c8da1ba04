"""Serves a bundle's model with onnxruntime and tokenizers alone: on the command line, or as a `Model` in Python."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from guard import session_options  # type: ignore[import-not-found]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime from 1.29 on collects figures otherwise
import onnxruntime
import tokenizers

USAGE = 'Serve this model with onnxruntime and tokenizers alone: python run.py "A text." ["The second text of a pair."]'


class Model:
    """The model of a bundle's folder."""

    def __init__(self, folder: Path = Path(__file__).parent) -> None:
        self.about: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        file = self.about["model"]
        options = json.loads((folder / "session.json").read_text(encoding="utf-8")).get(file, {})
        self.session = onnxruntime.InferenceSession(
            str(folder / file), session_options(onnxruntime, options), providers=["CPUExecutionProvider"]
        )
        self.inputs = {i.name for i in self.session.get_inputs()}
        self.tokenizer: Any = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.about["task"]["max_length"])

    def feed(self, *texts: str) -> dict[str, Any]:
        """Inputs of one text, or of the two of a pair, each of shape (1, tokens).

        Raises ValueError for another number of texts: a model that reads one at a time answers two as well, and
        wrongly.
        """
        need = self.about["task"]["texts"]
        if len(texts) != need or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"this model reads {need} text{'s' * (need > 1)} at a time, not {len(texts)}")
        encoded = self.tokenizer.encode(*texts)
        found = {"input_ids": encoded.ids, "attention_mask": encoded.attention_mask, "token_type_ids": encoded.type_ids}
        return {name: np.array([values], dtype=np.int64) for name, values in found.items() if name in self.inputs}

    def logits(self, *texts: str) -> Any:
        """The model's outputs for one text, or for the two of a pair, one number for each label."""
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
    try:
        label, probability = model.answer(*sys.argv[1:])
    except ValueError as error:
        sys.exit(f"{USAGE}\n{error}")
    print(label if probability is None else f"{label}\t{probability:.4f}")
