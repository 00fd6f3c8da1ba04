"""The files of an adapter beside its base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"

ADAPTER = "adapter"

#: Methods that add to the computation instead of changing matrices: there is nothing to merge them into.
STAY = ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING", "BOTTLENECK")


def method_of(folder: Path) -> str | None:
    """The `peft_type` of the adapter in a state's folder; None where it has no adapter."""
    path = folder / ADAPTER / ADAPTER_CONFIG
    if not path.is_file() or not (folder / ADAPTER / ADAPTER_WEIGHTS).is_file():
        return None
    return str(json.loads(path.read_text(encoding="utf-8"))["peft_type"])


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write adapter_config.json with all keys and the lists of modules in order: equal configs give equal bytes."""
    config = {
        k: sorted(v) if k in ("target_modules", "modules_to_save", "feedforward_modules") and isinstance(v, list) else v
        for k, v in config.items()
    }
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
