"""Post-training structured pruning by Fisher information (Kwon et al. 2022): minutes, no training.

A budget in milliseconds is held by a table of how long each size of a layer takes (`measure/blocks.py`), which the
store keeps. The table is not in the step's key: the target's name is, and stands for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from edgeopt.models.source import ModelSource, structure_in
from edgeopt.models.structure import Structure, of_config
from edgeopt.recipe.library import shipped_target, target_files
from edgeopt.results.figures import Budget, Told
from edgeopt.spec.recipe import Mended, StepParams, Target, TaskSpec
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Found, StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support import host
from edgeopt.support.errors import bad_input, step_failed
from edgeopt.support.words import meant
from edgeopt.tasks import task_type
from edgeopt.transforms.prune.budget import Costs, choose, counted, least_left
from edgeopt.transforms.prune.figures import TOKENS, of_one_stack, shape_figures, size_figures
from edgeopt.transforms.prune.rounding import DESCRIPTION, Multiple, resolved

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Rows that the factors of what is left are fitted on: each gives tokens · width equations.
_FIT_ROWS = 512


class FisherParams(StepParams):
    """How much is left, as exactly one of `macs`, `sparsity` and `latency`, and what it is judged by."""

    macs: float | None = Field(
        None, gt=0, lt=1, description="share of the layers' multiply-accumulates to keep, for a text of 128 tokens"
    )
    sparsity: float | None = Field(
        None, gt=0, lt=1, description="or: share of the weights in the layers' matrices to remove"
    )
    latency: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="or: share of the layers' time on `target` to keep, by a table measured on this machine",
    )
    target: str | Target | None = Field(
        None,
        description="with `latency`: a device profile or its name, see [targets](#targets); default: cpu-1-thread",
    )
    samples: int = Field(
        2048, ge=1, description="number of train rows from which the importance of heads and neurons is estimated"
    )
    multiple: Multiple = Field("auto", description=DESCRIPTION.format(""))
    rescale: bool = Field(
        True, description="rescale the remaining parts so that each layer's output is closest to the dense layer's"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="precision of the gradients; auto: as in training"
    )

    @property
    def kind(self) -> Literal["macs", "sparsity", "latency"]:
        """Which of the three is given."""
        return "macs" if self.macs is not None else "sparsity" if self.sparsity is not None else "latency"

    @property
    def left(self) -> float:
        """The share of the dense layers' cost that is allowed."""
        return self.macs or self.latency or 1 - (self.sparsity or 0.0)

    @model_validator(mode="after")
    def _one_budget(self) -> FisherParams:
        given = [key for key in ("macs", "sparsity", "latency") if getattr(self, key) is not None]
        if len(given) != 1:
            help = f"keep one of {', '.join(given)}" if given else "say how much to keep, such as `macs: 0.5`"
            raise Mended("give exactly one of 'macs', 'sparsity' and 'latency'", help)
        if self.target is not None and self.latency is None:
            raise ValueError("'target' belongs to 'latency'")
        return self


class FisherPrune(Transform[FisherParams]):
    """Cut away the heads and neurons that the loss feels least, to a budget, and scale what is left.

    The budget is exactly one of `macs`, `sparsity` and `latency`. It takes minutes on a CPU, and a short fine-tune
    behind it wins back most of what it costs.
    """

    name = "prune.fisher"
    version = 3
    summary = "remove heads and neurons to meet a budget, by Fisher information"
    Params = FisherParams
    contract = Contract(
        requires=facts(Fact.TORCH, Fact.TRAINED_HEAD),
        forbids=facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER),
        adds=facts(Fact.UNEVEN),
        data="calibration",
        needs=("torch", "transformers", "scipy"),
    )

    def check(self, params: FisherParams, task: TaskSpec) -> Found:
        name, known = params.target, target_files()
        if isinstance(name, str) and name not in known:
            return [(("target",), f"there is no target '{name}'", meant(name, known, "targets"))]
        if task_type(task.type).embeds and task.texts_a_row < 2:
            return [((), f"{self.name} needs pairs, whose loss tells what matters", "give task.text two columns")]
        return of_one_stack(self.name, task)

    def fit(self, params: FisherParams, task: TaskSpec, model: ModelSource) -> Found:
        try:
            structure = of_config(model.config or {})
        except ValueError:  # not downloaded yet, or a config that leaves numbers to transformers' defaults
            return []
        if params.kind == "latency":
            return []
        costs, dense = _counted(structure, params)
        least = least_left(costs, resolved(params.multiple, structure.dense.neurons)) / dense
        return [] if least <= params.left else [((params.kind,), *_nothing(params, least))]

    def leaves(self, params: FisherParams, shape: Structure) -> float | None:
        return params.macs if params.sparsity is None else 1 - params.sparsity

    def apply(self, state: State, params: FisherParams, context: StepContext) -> None:
        import torch

        from edgeopt.measure.blocks import SECONDS, share_of_time
        from edgeopt.models.files import copy_tokenizer
        from edgeopt.models.load import load_model, save_model
        from edgeopt.models.masks import kept, ones
        from edgeopt.models.slicing import cut, structure_of
        from edgeopt.transforms.prune.importance import batches, gradients, loss_of, rearranged
        from edgeopt.transforms.prune.rescale import fold, rescale

        torch.set_num_threads(host.cpus())
        model: Any = load_model(state.folder)
        multiple = resolved(params.multiple, structure_of(model).dense.neurons)
        costs, dense = _costs(model, params, context)
        model = model.to("cuda" if host.has_cuda() else "cpu")
        asked, rows = batches(model, state.folder, params.samples, context)
        with context.progress.bar("gradients", len(asked)) as bar:
            bf16 = params.precision == "bf16"
            heads, neurons = gradients(model, asked, bf16=bf16, tick=bar.update, mean_loss=loss_of(context))
        counts = choose(
            [(g**2).sum(0) for g in heads],
            [(g**2).sum(0) for g in neurons],
            costs,
            params.left * dense,
            multiple,
        )
        if counts is None:
            least = costs.total([0] * len(heads), [0] * len(neurons)) / dense
            raise bad_input(
                "E106",
                f"'{params.kind}' cannot be met: norms and biases alone take {least:.2f}",
                help="allow more",
            )
        if not (any(counts[0]) or any(counts[1])):
            what, help = _nothing(params, least_left(costs, multiple) / dense)
            raise bad_input("E106", what, help=help)
        masks = ones(model, gates=False, hidden=False)
        assert masks.heads is not None and masks.neurons is not None
        for all_masks, all_gradients, left in zip((masks.heads, masks.neurons), (heads, neurons), counts, strict=True):
            for mask, found, count in zip(all_masks, all_gradients, left, strict=True):
                alive = torch.zeros(len(mask), dtype=torch.bool)
                alive[torch.tensor(rearranged(found, count), dtype=torch.long)] = True
                mask.mul_(alive.to(mask))
        if params.rescale:
            some = [
                {k: v for k, v in batch.items() if k != "labels"}
                for batch in asked[: max(1, _FIT_ROWS // len(next(iter(asked[0].values()))))]
            ]
            with context.progress.bar("rescale", len(heads)) as bar:
                rescale(model, masks, some, bar.update)
        left_over = kept(model, masks)
        fold(model, masks)
        cut(model, left_over)
        save_model(model.to("cpu"), context.output)
        copy_tokenizer(state.folder, context.output)
        context.figures.update(fisher_rows=rows, fisher_batches=len(asked))
        context.told["multiple"] = multiple
        reached = held(params, context.output, costs, dense)
        budget: Budget = {"kind": params.kind, "left": params.left, "reached": round(reached, 4)}
        if params.kind == "latency":
            with context.progress.during("the layers that are left are timed", SECONDS, most=True):
                budget["measured"] = round(share_of_time(model, _profile(params.target or "cpu-1-thread")), 4)
        context.told["budget"] = budget

    def observe(self, before: State, after: Path, params: FisherParams) -> Told:
        return {**shape_figures(after), **size_figures(after)}


def held(params: FisherParams, folder: Path, costs: Costs, dense: float) -> float:
    """The share of the dense layers' cost that the layers of the written model have.

    Their sizes are read from its files. In milliseconds it is the table's. costs: of the layers before the cut. Raises
    StepError E403 where the share is above the budget.
    """
    layers = structure_in(folder).layers
    reached = costs.total([x.head_count for x in layers], [x.neuron_count for x in layers]) / dense
    if not reached <= params.left + 1e-9:
        raise step_failed(
            "E403",
            f"{reached:.3f} of the layers' {params.kind} is left, and the budget is {params.left:g}",
            help="report it with the recipe",
        )
    return reached


def _costs(model: PreTrainedModel, params: FisherParams, context: StepContext) -> tuple[Costs, float]:
    """Costs of the layers as they are, and what the dense model's cost together, in the budget's unit."""
    from edgeopt.models.slicing import structure_of

    structure = structure_of(model)
    if params.kind != "latency":
        return _counted(structure, params)
    from edgeopt.measure.blocks import SECONDS, table

    with context.progress.during("each size of a layer is timed, once on a machine", SECONDS, most=True):
        times = table(model, _profile(params.target or "cpu-1-thread"), context.shared)
    costs = Costs(
        [times.heads[: x.head_count + 1] for x in structure.layers],
        [times.neurons[: x.neuron_count + 1] for x in structure.layers],
    )
    return costs, structure.dense.layers * float(times.heads[-1] + times.neurons[-1])


def _counted(structure: Structure, params: FisherParams) -> tuple[Costs, float]:
    tokens = TOKENS if params.kind == "macs" else None
    return counted(structure, tokens), counted(structure.dense.structure, tokens).dense


def _nothing(params: FisherParams, least: float) -> tuple[str, str]:
    """That the budget leaves no head and no neuron, and how to mend it. least: the share that something takes."""
    given = getattr(params, params.kind)
    cheapest = f"{1 - least:.4f} or less" if params.kind == "sparsity" else f"{least:.4f} or more"
    return f"'{params.kind}' of {given:g} leaves no head and no neuron in any layer", f"give {cheapest}"


def _profile(target: str | Target) -> Target:
    return target if isinstance(target, Target) else shipped_target(target_files()[target])
