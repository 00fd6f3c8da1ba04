"""What this machine has, and what a recipe needs of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeopt.export.exporter import EXPORTERS, absent
from edgeopt.measure.profile import unfit
from edgeopt.plan import Plan, make_plans
from edgeopt.plan.inputs import model_in_words, rows_in_words
from edgeopt.plan.matrix import plan_cells
from edgeopt.recipe.expand import Grid, load
from edgeopt.store.store import Store
from edgeopt.support import host
from edgeopt.support.registry import every
from edgeopt.support.version import __version__
from edgeopt.training.precision import decisions

CORE = ("torch", "transformers", "peft", "accelerate", "datasets", "onnx", "onnxruntime", "tokenizers", "safetensors")


@dataclass(frozen=True)
class Finding:
    """One line of what the doctor finds."""

    name: str
    status: Literal["ok", "warn", "missing"]
    text: str


def diagnose(store: Store) -> list[Finding]:
    """The machine, the packages, the exporters, the plugins of other packages, and the store."""
    found = [Finding("edgeopt", "ok", __version__), *_machine(store), *(_package(p) for p in CORE)]
    for name, made in sorted(EXPORTERS.usable().items()):
        lacking = absent(made)
        text = f"needs {', '.join(lacking)}" if lacking else made.summary
        found.append(Finding(f"exporter {name}", "warn" if lacking else "ok", text))
    return [*found, *_plugins()]


def diagnose_recipe(recipe: Path, overrides: Sequence[str], store: Store) -> list[Finding]:
    """What a recipe needs of this machine, of a matrix what any cell needs.

    Raises InputError where the recipe is wrong.
    """
    loaded = load(recipe, overrides)
    cells = plan_cells(loaded, store) if isinstance(loaded, Grid) else [make_plans(loaded, store)]
    return list(dict.fromkeys(finding for plans in cells for finding in _needs(plans)))


def _package(name: str) -> Finding:
    version = host.installed(name)
    return Finding(name, "ok" if version else "missing", version or "not installed")


def _plugins() -> list[Finding]:
    healthy = [
        Finding("plugin", "ok", f"the {registry.what} '{name}' of {whose}")
        for registry in every()
        for name, whose in sorted(registry.installed().items())
    ]
    return healthy + [Finding("plugin", "warn", fault.message) for registry in every() for fault in registry.faults()]


def _machine(store: Store) -> list[Finding]:
    flags = host.cpu_flags()
    int8 = sorted(flags & set(host.INT8_FLAGS))
    bf16, decided = sorted(flags & set(host.BF16_FLAGS)), decisions(store.measured)
    memory = host.memory_bytes()
    return [
        Finding("processor", "ok", f"{host.cpu_name()}, {host.cpus()} threads"),
        Finding(
            "int8", "ok" if int8 else "warn", ", ".join(int8) or "no VNNI or dotprod: int8 is slow and may saturate"
        ),
        Finding("bf16", "ok" if bf16 else "warn", ", ".join(bf16) or "none: precision auto trains in fp32"),
        *(Finding("precision auto", "ok", text) for text in decided),
        Finding("memory", "ok", f"{memory / 1e9:.1f} GB" if memory else "unknown"),
        Finding(
            "GPU",
            "ok" if host.has_cuda() else "warn",
            "CUDA" if host.has_cuda() else "none: the torch reference is measured on the CPU",
        ),
        _store(store),
    ]


def _store(store: Store) -> Finding:
    folder = next(p for p in (store.root, *store.root.parents) if p.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Finding("store", "missing", f"{store.root} cannot be written: set EDGEOPT_STORE or give --store")
    return Finding("store", "ok", f"{store.root}, {shutil.disk_usage(folder).free / 1e9:.1f} GB free")


def _needs(plans: Sequence[Plan]) -> list[Finding]:
    """What a recipe's steps and targets need of this machine.

    plans: one a seed, which differ in what is cached alone.
    """
    found, plan = [], plans[0]
    for name in sorted({p for s in plan.steps for p in s.contract.needs} - set(CORE)):
        found.append(_package(name))
    for target in plan.recipe.targets:
        against = unfit(target)
        found.append(
            Finding(
                f"target {target.name}",
                "missing" if against else "ok",
                "; ".join(against) or f"{target.threads} threads",
            )
        )
    new = [s for p in plans for s in p.steps if s.status != "cached"]
    found.append(
        Finding("model", "ok" if plan.source.folder else "warn", str(plan.source.folder or model_in_words(plan.source)))
    )
    found.append(Finding("data", "ok" if plan.data else "warn", rows_in_words(plan.recipe, plan.data)))
    weights = plan.source.folder and sum((plan.source.folder / n).stat().st_size for n in plan.source.weights())
    if weights:
        # weights, gradients and the two moments of AdamW in float32, and twice the weights for what is loaded beside
        need = 6 * weights
        memory = host.memory_bytes() or 0
        found.append(
            Finding(
                "memory needed",
                "ok" if need < memory else "warn",
                f"about {need / 1e9:.1f} GB and the activations of a batch",
            )
        )
        found.append(
            Finding(
                "disk needed", "ok", f"about {len(new) * weights / 1e9:.1f} GB in the store for {len(new)} new steps"
            )
        )
    return found
