"""What each training of a run cost: parameters, seconds, memory, bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgeopt.report import format as fmt
from edgeopt.report.table import Table, numbers
from edgeopt.results.model import Report, Step

NOTE = (
    "Loading is the time that the training waited for batches. Computing is the time of the optimizer steps. "
    "An interrupted training counts from its last checkpoint. Peak memory is that of the whole process."
)


def trained(report: Report) -> list[Step]:
    """The steps that trained, a training that both chains share once."""
    return list({s.key: s for s in reversed(report.steps) if "train_seconds" in s.told}.values())[::-1]


def table(report: Report) -> Table:
    """A line a figure, a column a trained step; figures that no step has are left out."""
    steps = trained(report)
    rows = [
        [name, *(show(value) if (value := of(step)) is not None else fmt.ABSENT for step in steps)]
        for name, of, show in _FIGURES
    ]
    return Table(
        numbers("Figure", *(step_name(s, report) for s in steps)), [row for row in rows if set(row[1:]) - {fmt.ABSENT}]
    )


def step_name(step: Step, report: Report) -> str:
    """A step's name with its chain, or with the remark that both chains share it."""
    chains = {s.chain for s in report.steps if s.key == step.key}
    return f"{step.chain}.{step.id}" if len(chains) == 1 else f"{step.id}, both chains"


def batches(found: Mapping[str, int]) -> str:
    """`8`, or `32, recover 8`: of each training with `batch_size: auto` the rows that it came to."""
    return ", ".join(str(rows) if name == "." else f"{name} {rows}" for name, rows in found.items())


def _of_step(step: Step, figure: str) -> Any:
    """A figure of an optimizer step; None where there is none of it."""
    return step.told.get("step_cost", {}).get(figure) or None


def _bytes(step: Step, figure: str) -> Any:
    """What a model holds, by part; None where there is no such model."""
    found = _of_step(step, figure)
    return found if found and sum(found.values()) else None


def _shares(held: Mapping[str, float]) -> str:
    """`270 MB: weights 54, gradients 54, optimizer 108, activations 54`."""
    named = {"parameters": "weights", "gradients": "gradients", "optimizer": "optimizer", "activations": "activations"}
    parts = ", ".join(f"{word} {held[name] / 1e6:,.0f}" for name, word in named.items() if held[name])
    return f"{fmt.megabytes(round(sum(held.values())))}: {parts}"


def _speed(step: Step) -> float | None:
    """FLOPs by formula that were computed a second; None where they are not counted."""
    cost, seconds = step.told.get("step_cost"), step.told.get("computing_seconds")
    if not cost or not seconds:
        return None
    return (cost["main_flops"] + cost["auxiliary_flops"]) * step.told.get("computed_steps", 0) / seconds


def _corruption(step: Step, figure: str) -> Any:
    """A figure of what was replaced in the text before the training."""
    return step.told.get("corruption", {}).get(figure)


_FIGURES: list[tuple[str, Callable[[Step], Any], Callable[[Any], str]]] = [
    ("trained parameters", lambda step: step.told.get("trainable_parameters"), fmt.count),
    ("all parameters", lambda step: step.told.get("parameters"), fmt.count),
    ("share trained", lambda step: step.told.get("trainable_share"), fmt.share),
    ("loading", lambda step: step.told.get("loading_seconds"), fmt.duration),
    ("computing", lambda step: step.told.get("computing_seconds"), fmt.duration),
    ("training in total", lambda step: step.told.get("train_seconds"), fmt.duration),
    ("FLOPs of a step, model, by formula", lambda step: _of_step(step, "main_flops"), fmt.flops),
    ("FLOPs of a step, auxiliary model", lambda step: _of_step(step, "auxiliary_flops"), fmt.flops),
    ("tokens of a step", lambda step: _of_step(step, "tokens"), fmt.count),
    ("FLOPs a second", lambda step: _speed(step), fmt.flops),
    ("memory of the model, by formula", lambda step: _bytes(step, "main_bytes"), _shares),
    ("memory of the auxiliary model", lambda step: _bytes(step, "auxiliary_bytes"), _shares),
    ("tokens replaced before, processor", lambda step: _corruption(step, "processor_seconds"), fmt.duration),
    ("tokens replaced before, kept", lambda step: _corruption(step, "bytes"), fmt.megabytes),
    ("examples a second", lambda step: step.told.get("examples_per_second"), fmt.significant),
    ("peak memory", lambda step: step.told.get("peak_rss_bytes"), fmt.megabytes),
    ("peak memory of the GPU", lambda step: step.told.get("peak_gpu_bytes"), fmt.megabytes),
    ("checkpoint", lambda step: step.size_bytes, fmt.megabytes),
    ("adapter alone", lambda step: step.told.get("adapter_bytes"), fmt.megabytes),
    ("rows of a batch", lambda step: step.told.get("batches"), batches),
    ("precision", lambda step: step.told.get("precision"), str),
    ("chosen because", lambda step: step.told.get("precision_chosen"), str),
]
