"""The costs of a plan's trainings in lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeopt.plan.cost import Costs, PassCost


def lines(found: Costs) -> Iterator[str]:
    """What `edgeopt plan --cost` prints."""
    from edgeopt.plan.cost import NOT_COUNTED
    from edgeopt.report import format as fmt

    yield "cost of the trainings, by formula, in float32, forward and backward:"
    for each in found.trainings:
        name = ".".join(part for part in (each.step.chain, each.step.id, each.at) if part)
        most, longest = ("at most " if open_ else "" for open_ in (each.most, each.longest))
        length = "" if each.steps is None else f", {each.steps:,} optimizer steps"
        several = "" if each.sequences == 1 else f"{each.sequences:.3g} sequences of "
        yield f"  {name}: {each.rows} rows of {several}{longest}{each.tokens:.0f} tokens a step{length}"
        for model in each.passes:
            yield f"    {_model(model, most)}"
        total = "" if each.steps is None else f", {fmt.flops(each.flops * each.steps)}FLOPs in all"
        if len(each.passes) > 1 or total:
            yield f"    together {most}{fmt.flops(each.flops)}FLOPs a step{total}, {fmt.megabytes(each.held)}"
        yield f"    time: {each.why}" if each.seconds is None else f"    time: {fmt.duration(each.seconds)}, {each.why}"
    yield from (f"  {why}" for why in found.unknown)
    yield f"not counted: {NOT_COUNTED}"


def _model(model: PassCost, most: str) -> str:
    from edgeopt.report import format as fmt

    if model.held is None:
        once = "" if model.before is None else f": {most}{fmt.flops(model.before)}FLOPs"
        return f"{model.part}: each row once, before the training{once}"
    parts = (
        f"{name} {fmt.megabytes(value)}"
        for name, value in zip(("weights", "gradients", "optimizer", "activations"), model.held, strict=True)
        if value
    )
    return f"{model.part}: {most}{fmt.flops(model.step.total)}FLOPs a step; {', '.join(parts)}"
