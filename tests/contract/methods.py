"""The adapter methods with parameters of every kind, each trained for four steps."""

from __future__ import annotations

from typing import Any

SHORT = {"max_steps": 4, "batch_size": 8, "learning_rate": 3e-2, "precision": "fp32"}
#: Those that a merge leaves no trace of, those that stay beside the base, and those that change the base itself.
MERGEABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("adapter.lora", {"r": 4}),
    "lora-all-linear": ("adapter.lora", {"r": 4, "target_modules": "all-linear", "dropout": 0.1}),
    "lora-by-name": ("adapter.lora", {"r": 4, "target_modules": ["query", "output.dense"]}),
    "lora-rslora": ("adapter.lora", {"r": 4, "use_rslora": True}),
    "lora-dora": ("adapter.lora", {"r": 4, "use_dora": True}),
    "lora-bias-all": ("adapter.lora", {"r": 4, "bias": "all"}),
    "lora-bias-lora-only": ("adapter.lora", {"r": 4, "bias": "lora_only"}),
    "adalora": ("adapter.adalora", {"init_r": 4, "target_r": 2}),
    "adalora-few": (
        "adapter.adalora",
        {"init_r": 2, "target_r": 1, "tinit": 0.0, "tfinal": 0.25, "target_modules": "all-linear"},
    ),
    "ia3": ("adapter.ia3", {}),
}
STAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "prompt": ("adapter.prompt", {"virtual_tokens": 5}),
    "prefix": ("adapter.prefix", {"virtual_tokens": 5}),
    "bottleneck-houlsby": ("adapter.bottleneck", {"placement": "houlsby", "reduction": 4, "activation": "relu"}),
    "bottleneck-pfeiffer": ("adapter.bottleneck", {"placement": "pfeiffer", "reduction": 8}),
}
PLAIN: dict[str, tuple[str, dict[str, Any]]] = {"bitfit": ("adapter.bitfit", {})}
ALL = {**MERGEABLE, **STAYS, **PLAIN}
