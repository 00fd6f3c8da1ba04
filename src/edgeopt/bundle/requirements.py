"""A bundle's requirements.txt: the versions that bundles were tested with, and those that this one was made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The first and the last version with which the self-test of a bundle passed: benchmarks/results/bundle_versions.json.
TESTED = {"onnxruntime": ("1.23.0", "1.31.1"), "tokenizers": ("0.20.0", "0.23.3"), "numpy": ("1.26.4", "2.4.6")}


def requirements(made: Mapping[str, Any]) -> str:
    """Lines for pip. made: versions by package, those that the run was made with."""
    lines = ["# tested with bundles of edgeopt; the comments show the versions that this one was made with"]
    for name, (first, last) in TESTED.items():
        lines.append(f"{name}>={first},<={last}" + (f"  # {made[name]}" if made.get(name) else ""))
    return "\n".join(lines) + "\n"
