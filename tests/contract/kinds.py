"""Rows of every kind of task besides the classification of the tiny rows, for steps that are to take them all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("text-regression", "token-classification", "multiple-choice", "multi-label-classification")


@dataclass(frozen=True)
class Kind:
    """A kind of task: its name, a folder with rows of it, and the keys that a recipe gives it."""

    type: str
    data: Path
    task: dict[str, Any]


def write_kind(type_: str, data: Path) -> Kind:
    """Write 24 rows of either split to the folder."""

    def row(i: int) -> dict[str, Any]:
        words = ["good1" if (i + k) % 2 else "bad1" for k in range(2 + i % 4)]
        return {
            "text-regression": {"text": " ".join(words), "label": i % 5 / 2},
            "token-classification": {"text": words, "label": ["B-X" if w == "good1" else "O" for w in words]},
            "multi-label-classification": {
                "text": " ".join(words),
                "label": sorted({{"good1": "good", "bad1": "bad"}[w] for w in words}) if i % 5 else [],
            },
            "multiple-choice": {"text": f"word{i % 7}", "choices": [" ".join(words), "bad2", "good3"], "label": i % 3},
        }[type_]

    for split in ("train", "validation"):
        (data / f"{split}.jsonl").write_text("".join(json.dumps(row(i)) + "\n" for i in range(24)))
    return Kind(type_, data, {"type": type_, **({"choices": "choices"} if type_ == "multiple-choice" else {})})
