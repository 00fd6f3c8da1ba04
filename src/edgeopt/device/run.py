"""Serves a bundle's model with onnxruntime and tokenizers alone: on the command line, or as a `Model` in Python."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from guard import session_options  # type: ignore[import-not-found]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime from 1.29 on collects figures otherwise
import onnxruntime
import tokenizers

USAGE = """Serve this model with onnxruntime and tokenizers alone: python run.py "A text." ["The other text of a pair."]
Of an embedding: python run.py [--passage] "A text."; --passage for a text that is searched for."""


Query = str | Sequence[str]
Answer = tuple[str | float | list[float], float | None]


class Model:
    """The model of a bundle's folder. Several threads may ask it at once."""

    def __init__(self, folder: Path = Path(__file__).parent) -> None:
        self.about: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        file = self.about["model"]
        options = json.loads((folder / "session.json").read_text(encoding="utf-8")).get(file, {})
        self.session = onnxruntime.InferenceSession(
            str(folder / file), session_options(onnxruntime, options), providers=["CPUExecutionProvider"]
        )
        config = folder / "config.json"  # of an embedding: it says what stands before a text
        said = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        self.reading: dict[str, Any] = said.get("edgeopt_embedding", {})
        self.inputs = {i.name for i in self.session.get_inputs()}
        self.tokenizer: Any = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.about["task"]["max_length"])
        found = (self.tokenizer.token_to_id(word) for word in ("[PAD]", "<pad>"))
        self.pad: int = next((number for number in found if number is not None), 0)

    def answer(self, *texts: str, passage: bool = False) -> Answer:
        """The label and its probability; of a regression the score and None, of an embedding its numbers and None.

        passage: whether the text is one that is searched for, before which another prompt may stand.
        """
        return self.answers([texts], passage=passage)[0]

    def answers(
        self, queries: Sequence[Query], batch_size: int | None = None, *, passage: bool = False
    ) -> list[Answer]:
        """What `answer` says of each query, in their order. A query: a text, or a tuple of the two of a pair.

        Queries of like length share a batch, which is padded to its longest, so that little is computed in vain.
        batch_size: by default 32, and 1 where what a query gets would depend on what shares its batch.
        """
        logits = self.all_logits(queries, batch_size, passage=passage)
        if self.about["task"].get("vector"):
            return [(row.tolist(), None) for row in logits]
        if not self.about["labels"]:
            return [(float(row[0]), None) for row in logits]
        shares = [np.exp(row - row.max()) for row in logits]
        return [(self.about["labels"][s.argmax()], float(s.max() / s.sum())) for s in shares]

    def logits(self, *texts: str, passage: bool = False) -> Any:
        """The model's outputs for one text, or for the two of a pair: a number for each label, or the embedding."""
        return self.all_logits([texts], passage=passage)[0]

    def all_logits(
        self, queries: Sequence[Query], batch_size: int | None = None, *, passage: bool = False
    ) -> list[Any]:
        """What `logits` gives for each query, in their order, computed as `answers` does."""
        encoded, usual = self._encoded(queries, passage), 1 if self.about["alone"] else 32
        size = usual if batch_size is None else batch_size
        name, found = self.about["task"].get("output", "logits"), [None] * len(encoded)
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i].ids))
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            rows = self.session.run([name], self._feed([encoded[i] for i in batch]))[0]
            for i, row in zip(batch, rows, strict=True):
                found[i] = row
        return found

    def feed(self, *texts: str) -> dict[str, Any]:
        """Inputs of one text, or of the two of a pair, each of shape (1, tokens)."""
        return self._feed(self._encoded([texts]))

    def _encoded(self, queries: Sequence[Query], passage: bool = False) -> list[Any]:
        """What the tokenizer makes of each query.

        Raises ValueError for another number of texts: a model that reads one at a time answers two as well, and
        wrongly.
        """
        need = self.about["task"]["texts"]
        if isinstance(queries, str):
            raise ValueError("give a list of queries; one query is for `answer`")
        rows = [(query,) if isinstance(query, str) else tuple(query) for query in queries]
        for row in rows:
            if len(row) != need or not all(isinstance(text, str) for text in row):
                raise ValueError(f"this model reads {need} text{'s' * (need > 1)} at a time, not {len(row)}")
        rows = [tuple(self._read(text, passage) for text in row) for row in rows]
        return list(self.tokenizer.encode_batch([row if need > 1 else row[0] for row in rows]))

    def _read(self, text: str, passage: bool) -> str:
        """A text as the tokenizer is given it: of an embedding behind its prompt."""
        if not self.reading:
            return text
        whole: str = (self.reading["passage" if passage else "query"] + text).strip()
        return whole.lower() if self.reading["lower"] else whole

    def _feed(self, batch: list[Any]) -> dict[str, Any]:
        """Inputs of encoded queries, each of shape (queries, tokens of the longest); the mask hides what fills up."""
        width = max(len(encoded.ids) for encoded in batch)
        for encoded in batch:
            encoded.pad(width, pad_id=self.pad)
        found = {
            "input_ids": [encoded.ids for encoded in batch],
            "attention_mask": [encoded.attention_mask for encoded in batch],
            "token_type_ids": [encoded.type_ids for encoded in batch],
        }
        return {name: np.array(values, dtype=np.int64) for name, values in found.items() if name in self.inputs}


if __name__ == "__main__":
    model, texts = Model(), sys.argv[1:]
    passage = bool(model.reading) and texts[:1] == ["--passage"]
    try:
        label, probability = model.answer(*texts[passage:], passage=passage)
    except ValueError as error:
        sys.exit(f"{USAGE}\n{error}")
    print(label if probability is None else f"{label}\t{probability:.4f}")
