"""The two trainings of CoFi: which masks are learned and where they start, and what the model that is left follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeopt.models.structure import Structure
from edgeopt.step.transform import StepContext
from edgeopt.store.store import State
from edgeopt.support import host
from edgeopt.transforms.prune.figures import TOLERANCE
from edgeopt.transforms.prune.rounding import resolved

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from edgeopt.models.hard_concrete import HardConcrete
    from edgeopt.training.objective import Objective
    from edgeopt.training.teacher import Teacher
    from edgeopt.transforms.prune.cofi_params import CofiParams, Kind

#: What a mask may stand for, and how the gates call it.
_GATES: dict[Kind, tuple[str, ...]] = {
    "heads": ("heads",),
    "neurons": ("neurons",),
    "hidden": ("hidden",),
    "blocks": ("mha", "ffn"),
}
#: Optimizer steps from which on the masks of everything have time to settle, one at a time.
_LONG = 2_000
#: What heads and neurons are to learn at most: beyond it layers would be left with a head and a few neurons each.
_MOST_OF_FEW = 0.94
#: Rows that importance is estimated from, and the sparsity that masks in its order start at.
_SAMPLES, _FIRST = 1024, 0.05


def learn(
    model: PreTrainedModel, teacher: Teacher, state: State, params: CofiParams, context: StepContext, zeros: bool
) -> nn.Linear:
    """Train weights and masks together, and cut away what the masks close; in place.

    Returns the map that was learned from what is left of the model's width to the teacher's.
    """
    from edgeopt.models.masks import kept
    from edgeopt.models.slicing import cut, structure_of
    from edgeopt.training import train
    from edgeopt.training.follow import narrowed
    from edgeopt.training.sparsify import Sparsify

    dense = structure_of(model).dense
    multiples = resolved(params.multiple, dense.neurons), resolved(params.multiple, dense.hidden)
    objective = Sparsify(
        model,
        teacher,
        _gates(model, params, state, context),
        target=params.sparsity,
        warmup=params.sparsity_warmup,
        rate=params.mask_learning_rate,
        multiples=multiples,
        pairs=_pairs(params, structure_of(model), teacher),
        **_terms(params),
    )
    context.figures.update(train(model, state.folder, params, context, keep_zeros=zeros, objective=objective))
    masks = objective.cut()
    cut(model, kept(model, masks))
    got = 1 - structure_of(model).weights / dense.structure.weights
    context.told["multiple"] = multiples[0]
    context.told["asked_sparsity"] = {
        "asked": params.sparsity,
        "learned": round(float(objective.gates.sparsity().detach()), 4),
        "got": round(got, 4),
        "reached": abs(got - params.sparsity) <= TOLERANCE,
    }
    return narrowed(objective.transform, masks.of("hidden") > 0)


def _gates(model: PreTrainedModel, params: CofiParams, state: State, context: StepContext) -> HardConcrete:
    """The gates that are learned, as they start."""
    import torch

    from edgeopt.models.hard_concrete import LEAST, LEAST_SHORT, HardConcrete
    from edgeopt.models.slicing import structure_of
    from edgeopt.transforms.prune.importance import batches, gradients

    batch = params.batch * params.accumulation * context.processes
    short = (params.max_steps or len(context.data.train) * params.epochs / batch) < _LONG
    few = short and params.sparsity <= _MOST_OF_FEW
    learned = (list(_GATES)[:2] if few else list(_GATES)) if params.masks == "auto" else params.masks
    kinds = [gate for kind in learned for gate in _GATES[kind]]
    gates = HardConcrete(structure_of(model), kinds, LEAST_SHORT if short else LEAST)
    context.told["masks"] = [*learned]
    ranked = [kind for kind in ("heads", "neurons") if kind in learned]
    if params.start == "open" or (params.start == "auto" and not short) or not ranked:
        return gates
    asked, _ = batches(model.to("cuda" if host.has_cuda() else "cpu"), state.folder, _SAMPLES, context)
    with context.progress.bar("gradients", len(asked)) as bar:
        found = gradients(model, asked, bf16=params.precision == "bf16", tick=bar.update)
    layers = zip(("heads", "neurons"), found, strict=True)
    values = {kind: torch.from_numpy(np.concatenate([(g**2).sum(0) for g in each])) for kind, each in layers}
    gates.rank({kind: values[kind] for kind in ranked}, _FIRST)
    return gates


def _terms(params: CofiParams) -> dict[str, Any]:
    """How both trainings follow the teacher."""
    return {
        **params.losses.model_dump(),
        "temperature": params.temperature,
        "dynamic": params.match == "dynamic",
    }


def _pairs(params: CofiParams, structure: Structure, teacher: Teacher) -> list[tuple[int, int]]:
    from edgeopt.models.slicing import structure_of
    from edgeopt.training.matching import matched

    return matched(params.match, len(structure.layers), len(structure_of(teacher.model).layers))


def follow(
    model: PreTrainedModel, teacher: Teacher, before: Structure, params: CofiParams, transform: nn.Linear
) -> Objective:
    """What the model that is left learns from: what it learned from while it was pruned. before: what it was then."""
    from edgeopt.models.slicing import structure_of
    from edgeopt.training.follow import Follow

    pairs = _pairs(params, before, teacher)
    if params.match != "dynamic":  # whole layers may be gone
        left = {layer.origin: i for i, layer in enumerate(structure_of(model).layers)}
        last = len(left) - 1, pairs[-1][1]
        # of a teacher with fewer layers only some are compared, and just those may be gone
        pairs = [(left[origin], t) for s, t in pairs if (origin := before.layers[s].origin) in left] or [last]
    return Follow(model, teacher, pairs=pairs, transform=transform, **_terms(params))
