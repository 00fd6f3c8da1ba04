"""What the benchmarks share: their arguments, their result files, ratios with spread."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from edgeopt import host

RESULTS = Path(__file__).parent / "results"
DEMO = Path(__file__).parents[1] / "build" / "quickstart"


def arguments(description: str) -> argparse.ArgumentParser:
    """--model and --data, which default to what `make demo` lays out."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, default=DEMO / "model", help="model folder")
    parser.add_argument("--data", type=Path, default=DEMO, help="folder with train.jsonl and validation.jsonl, columns text and label")
    parser.add_argument("--repeats", type=int, default=5)
    return parser


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": round(median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def save(name: str, result: dict[str, Any]) -> None:
    """Write results/<name>.json with the machine it was measured on, and print it."""
    environment = {k: v for k, v in host.environment().items() if k in ("cpu", "cpus", "cpu_flags", "packages")}
    text = json.dumps({**result, "environment": environment}, indent=1, ensure_ascii=False)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)
