"""Documents and summaries that a tiny model can learn."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from helpers import WORDS

_GOOD = [w for w in WORDS if w.startswith("good")][:4]
_PLAIN = [w for w in WORDS if w.startswith("word")]
#: The task over the folder `data`.
LENGTHS = {"max_length": 16, "max_target_length": 8}


def summary_task(data: Path) -> dict[str, Any]:
    return {"type": "summarization", "dataset": {"path": str(data)}, "text": "document", "label": "summary", **LENGTHS}


def write_summaries(folder: Path, *, train: int, validation: int) -> Path:
    """folder/train.jsonl and folder/validation.jsonl, whose summaries are their documents' good words, sorted."""
    folder.mkdir()
    rng = random.Random(0)
    for split, count in (("train", train), ("validation", validation)):
        (folder / f"{split}.jsonl").write_text(
            "".join(json.dumps(_row(rng)) + "\n" for _ in range(count)), encoding="utf-8"
        )
    return folder


def _row(rng: random.Random) -> dict[str, str]:
    good = rng.sample(_GOOD, rng.randint(1, 3))
    words = [*good, *rng.choices(_PLAIN, k=rng.randint(2, 8))]
    rng.shuffle(words)
    return {"document": " ".join(words), "summary": " ".join(sorted(good))}
