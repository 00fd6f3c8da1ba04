"""What an optimizer step of a training on plain text computes and holds, by formula, for the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from edgeopt.models.cost import Flops, Memory, Pass, Rows, flops, memory
from edgeopt.models.source import CONFIG
from edgeopt.results.figures import Held, StepCost, Told
from edgeopt.support import host
from edgeopt.transforms.pretrain.params import PretrainParams

if TYPE_CHECKING:
    from edgeopt.step.transform import StepContext
    from edgeopt.training.text_feed import TextFeed


def step_cost(passes: Sequence[Pass], params: PretrainParams, context: StepContext, text: TextFeed) -> Told:
    """What an optimizer step computes and holds, for rows of the mean length; of an unknown shape nothing."""
    rows = _rows(params, float(np.mean(text.feed.lengths)))
    batches = params.accumulation * context.processes
    found = {"main": (Flops(0, 0), Memory(0, 0, 0, 0)), "auxiliary": (Flops(0, 0), Memory(0, 0, 0, 0))}
    try:
        found |= {p.part: (flops(p, rows).times(batches), memory(p, rows)) for p in passes if not p.once}
    except ValueError:
        return {}
    (main, main_bytes), (auxiliary, auxiliary_bytes) = found["main"], found["auxiliary"]
    cost: StepCost = {
        "tokens": round(rows.count * rows.tokens * batches),
        "main_flops": main.total,
        "auxiliary_flops": auxiliary.total,
        "main_bytes": cast(Held, main_bytes._asdict()),
        "auxiliary_bytes": cast(Held, auxiliary_bytes._asdict()),
        "processor": None if host.has_cuda() else host.cpu_name(),
        "threads": host.cpus(),
    }
    return {"step_cost": cost}


def _rows(params: PretrainParams, tokens: float) -> Rows:
    """The rows of a batch on a device, each of so many tokens, two of which are special and not guessed."""
    return Rows(params.batch, tokens, max(0.0, tokens - 2) * params.mask)


def config_in(folder: Path) -> dict[str, Any]:
    """The config of a state's model."""
    found: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return found
