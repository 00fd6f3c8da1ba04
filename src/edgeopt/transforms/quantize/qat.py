"""Quantization-aware training: fine-tune through the rounding, then int8 with the ranges that were trained with.

The step leaves an ONNX graph and no torch state, because a later training would move the weights without their
ranges. The float weights are exported as any are, and the trained integers and scales are written into that graph
(`int8_graph.py`). Evaluation sums integers and scales last, as the kernels do. What torch and ONNX Runtime still add
up in another order (norms, softmax) may be rounded to a neighboring integer, so the bound on parity is wider than in
float.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from edgeopt.models.files import GRAPH
from edgeopt.models.source import WEIGHTS
from edgeopt.spec.recipe import Mended, TaskSpec, TrainedStepParams
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Figures, Found, StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import step_failed
from edgeopt.tasks import task_type
from edgeopt.transforms.quantize import common
from edgeopt.transforms.quantize.scope import Block, in_block, weighted

if TYPE_CHECKING:
    from edgeopt.models.fake_quant import Activation, FakeQuantEmbedding, FakeQuantLinear, Quantizers

#: Largest difference of a logit between torch and ONNX Runtime, as a share of the largest logit: a value that the one
#: rounds up and the other down, after sums in another order, is one integer off from there on. 0.1 to 4 % are usual;
#: torch is as far from itself where its attention adds up in another order.
TOLERANCE = 0.1


class QatParams(TrainedStepParams):
    """What is quantized, and how the ranges of activations are found."""

    scope: Block = Field(
        "all", description="all: the whole model with embeddings and head; mlp or attention: only those blocks"
    )
    ranges: Literal["moving-average", "learned"] = Field(
        "moving-average",
        description="ranges of activations; learned: start with the observed ranges and train them by gradient (LSQ: "
        "Esser et al. 2020)",
    )
    range_learning_rate: float = Field(
        1e-3,
        gt=0,
        lt=1,
        description="highest learning rate of learned ranges, as the share of its size that a range moves "
        "per optimizer "
        "step",
    )
    averaging: float = Field(
        0.05,
        gt=0,
        le=1,
        description="how far a range moves per optimizer step towards the smallest and largest value it saw",
    )
    observe: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of the training in which ranges are only observed, before quantization starts",
    )
    freeze_after: float = Field(
        0.8, gt=0, le=1, description="share of the training after which ranges no longer change"
    )

    @field_validator("freeze")
    @classmethod
    def _weights_learn(cls, freeze: str) -> str:
        if freeze == "encoder":
            raise Mended(
                "the step trains weights to bear the rounding, and would train the head alone",
                "leave 'freeze' out, or use quantize.static",
            )
        return freeze


class Qat(Transform[QatParams]):
    """Train every weight while weights and activations are rounded as int8 will round them, and export that.

    ONNX Runtime computes what was trained, but for the order of sums. Evaluation, and so the choice of a checkpoint, is
    of the rounded model. Zeros that an earlier step pruned stay zero.
    """

    name = "quantize.qat"
    version = 3  # one token type is no input
    summary = "train through the rounding; int8 weights and activations"
    Params = QatParams
    contract = Contract(
        requires=facts(Fact.TORCH, Fact.TRAINED_HEAD),
        forbids=facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER, Fact.NF4),
        adds=facts(Fact.ONNX, Fact.INT8),
        removes=facts(Fact.TORCH),
        data="train",
        needs=("onnx", "onnxruntime"),
    )
    training = ""

    def check(self, params: QatParams, task: TaskSpec) -> Found:
        found: Found = []
        if task_type(task.type).has_decoder:
            found.append(
                (
                    (),
                    f"{self.name} only trains encoders, but the model of {task.type} also has a decoder",
                    "use quantize.static or quantize.dynamic",
                )
            )
        if params.freeze_after < params.observe:
            found.append(
                (
                    ("freeze_after",),
                    f"ranges are observed for {params.observe:g} of the training, "
                    f"and kept after {params.freeze_after:g}",
                    "make 'freeze_after' larger than 'observe'",
                )
            )
        return found

    def apply(self, state: State, params: QatParams, context: StepContext) -> None:
        from edgeopt.models.fake_quant import fake_quantized
        from edgeopt.models.load import load_base
        from edgeopt.training import train
        from edgeopt.training.ranges import RangeSchedule
        from edgeopt.transforms.lower import lower

        model, learned = load_base(state.folder), params.ranges == "learned"
        rate = params.range_learning_rate / params.learning_rate if learned else 0.0
        quantizers = fake_quantized(model, lambda name: in_block(name, params.scope), learned=rate)
        if not quantizers.linears:
            raise step_failed(
                "E402", f"the model has nothing to quantize in its {params.scope} part", help="widen `scope`"
            )
        schedule = RangeSchedule(
            quantizers,
            learned=learned,
            averaging=params.averaging,
            observe=params.observe,
            freeze_after=params.freeze_after,
        )
        context.figures.update(
            train(model, state.folder, params, context, keep_zeros=Fact.SPARSE in state.facts, callbacks=[schedule])
        )
        model.cpu().eval()
        plain = load_base(state.folder)
        plain.load_state_dict(model.state_dict(), strict=False)
        lower(model, state, context, traced=plain, rewrite=lambda path: write(path, quantizers), relative=TOLERANCE)

    def observe(self, before: State, after: Path, params: QatParams) -> Figures:
        import onnx

        left = [
            n.name
            for n in weighted(onnx.load(str(after / GRAPH), load_external_data=False).graph)
            if in_block(n.name, params.scope)
        ]
        if left:
            raise step_failed(
                "E403",
                f"{len(left)} parts that were to be int8 are still float: {', '.join(left[:5])}",
                help="report it with the recipe",
            )
        return common.observe(before, after, WEIGHTS)


def write(path: Path, quantizers: Quantizers) -> None:
    """Rewrite the exported graph of a model with the integers and grids of its quantizers."""
    from edgeopt.models.fake_quant import S8, U8, graph_name
    from edgeopt.transforms.quantize.int8_graph import Grid, Integers, write_qdq

    def integers(module: FakeQuantLinear | FakeQuantEmbedding, low: int, high: int, kind: str) -> Integers:
        scale, zero = (t.detach() for t in module.grid())
        values = (module.weight.detach() / scale).round().add(zero).clamp(low, high)
        if scale.dim():
            scale, zero = scale.flatten(), zero.expand_as(scale).flatten()
        return Integers(values.numpy().astype(kind), scale.numpy(), zero.numpy().astype(kind))

    def grid(module: Activation) -> Grid:
        scale, zero = (t.detach().numpy() for t in module.grid())
        return Grid(scale, zero.astype("uint8"))

    # the exporter wraps the model, and names its nodes after that
    write_qdq(
        path,
        {f"/model{graph_name(n)}": (integers(m, -S8, S8, "int8"), grid(r)) for n, (m, r) in quantizers.linears.items()},
        {f"/model{graph_name(n)}": integers(m, 0, U8, "uint8") for n, m in quantizers.tables.items()},
    )
