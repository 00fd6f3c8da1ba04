"""Energy of 1,000 inferences of both models, in one fresh process, interleaved with idling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from edgeopt.export.exporter import Runnable
from edgeopt.measure.emissions import Energy
from edgeopt.measure.latency import run_worker
from edgeopt.results.model import Emissions, InferenceEnergy
from edgeopt.spec.recipe import Target
from edgeopt.tasks.encode import Ids

#: What is measured is cut into so many blocks, so that their spread says how far the mean may be off.
BLOCKS = 5
#: One block: what was used while that many queries were answered.
Block = tuple[Energy, int]
_MODELS: tuple[Literal["baseline", "candidate"], ...] = ("baseline", "candidate")


def measure_energy(
    target: Target, graphs: Mapping[str, Runnable], rows: list[Ids], country: str, seconds: float
) -> Emissions | None:
    """Each model answers rows at their own lengths, one at a time with the target's threads, for `seconds`.

    None where CodeCarbon gave no figures. Raises StepError E409.
    """
    task = {
        "graphs": {name: file.as_json() for name, file in graphs.items()},
        "rows": rows[:1024],
        "threads": target.threads,
        "country": country,
        "seconds": seconds / BLOCKS,
        "blocks": BLOCKS,
    }
    results = run_worker("edgeopt.measure.energy_worker", task)
    blocks = {name: [(Energy(**used), queries) for used, queries in those] for name, those in results.items()}
    return summarize(blocks, target.name, seconds) if all(len(those) == BLOCKS for those in blocks.values()) else None


def summarize(blocks: dict[str, list[Block]], target: str, seconds: float) -> Emissions:
    """The report's figures of energy. blocks: of `idle` and each model, those of one number measured side by side."""
    watts = [used.watts for used, _ in blocks["idle"]]
    last = blocks["idle"][-1][0]
    each = {
        name: np.array(
            [_above(used, idle) / queries * 1000 for (used, queries), idle in zip(blocks[name], watts, strict=True)]
        )
        for name in _MODELS
    }
    intensity = last.co2eq_g / last.kwh if last.kwh else 0.0
    inference = []
    for name in _MODELS:
        mean, low, high = t_bounds(each[name])
        gross = float(np.mean([used.kwh / queries * 1000 for used, queries in blocks[name]]))
        inference.append(
            InferenceEnergy(
                subject=name,
                queries=sum(q for _, q in blocks[name]),
                kwh=mean,
                low=low,
                high=high,
                gross_kwh=gross,
                co2eq_g=mean * intensity,
            )
        )
    ratio = ratio_low = ratio_high = None
    if all((values > 0).all() for values in each.values()):
        ratio, ratio_low, ratio_high = (
            float(np.exp(v)) for v in t_bounds(np.log(each["baseline"] / each["candidate"]))
        )
    return Emissions(
        country=last.country,
        g_per_kwh=intensity,
        estimated=last.estimated,
        how=last.how,
        target=target,
        seconds=seconds,
        blocks=len(watts),
        idle_watts=float(np.mean(watts)),
        inference=inference,
        ratio=ratio,
        ratio_low=ratio_low,
        ratio_high=ratio_high,
    )


def _above(used: Energy, idle_watts: float) -> float:
    """What a block used above idling as long, in kWh."""
    return used.kwh - idle_watts * used.seconds / 3.6e6


def t_bounds(values: Sequence[float] | np.ndarray[Any, Any], confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean with its one-sided bounds by Student's t."""
    from scipy.stats import t

    half = float(t.ppf(confidence, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    mean = float(np.mean(values))
    return mean, mean - half, mean + half


def as_block(used: Energy, queries: int) -> tuple[dict[str, Any], int]:
    """A block as JSON."""
    return asdict(used), queries
