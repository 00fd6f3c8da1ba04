"""Quantization-aware training: fine-tune through the rounding, then int8 with the ranges that were trained with.

The step leaves an ONNX graph and no torch state, because a later training would move the weights without their
ranges. The float weights are exported as any are, and the trained integers and scales are written into that graph
(`int8_graph.py`). Evaluation sums integers and scales last, as the kernels do. What torch and ONNX Runtime still add
up in another order (norms, softmax) may be rounded to a neighboring integer, so the bound on parity is wider than in
float.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from edgeopt.models.cost import Pass
from edgeopt.models.files import GRAPH
from edgeopt.models.source import WEIGHTS, family_of
from edgeopt.spec.recipe import Distillation, Mended, TaskSpec, TrainedStepParams, Training
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Figures, Found, StepContext, Transform
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import step_failed
from edgeopt.tasks import task_of, task_type
from edgeopt.transforms.quantize import common
from edgeopt.transforms.quantize.scope import INT4, Block, Weights, in_block, weighted

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from edgeopt.models.fake_quant import Activation, FakeQuantEmbedding, FakeQuantLinear, Quantizers

#: Largest difference of a logit between torch and ONNX Runtime, as a share of the largest logit: a value that the one
#: rounds up and the other down, after sums in another order, is one integer off from there on. 0.1 to 4 % are usual;
#: torch is as far from itself where its attention adds up in another order.
TOLERANCE = 0.1
#: Rows that ranges are measured on, and how many of them at once.
ROWS, _BATCH = 256, 16
#: The learning rate: Adam moves every weight by about as much in each step, and a step of 8 bits is small.
RATE = 5e-6
#: The rates with 4 bits. A short training mends the most in the biases and norms, which are few.
INT4_RATES = {"learning_rate": 1e-5, "bias_learning_rate": 5e-4}
#: By which name the step's input is its own teacher; and how soft its answers are, so that rows it is sure of count.
BEFORE, TEMPERATURE = "before", 8.0


class QatParams(TrainedStepParams):
    """What is quantized, what it learns from, and what becomes of the ranges of activations.

    The defaults keep the model where it is: rounding moves it little, and so must the training. Dropout, and a rate
    that is right for fine-tuning, move it further than 8 bits do.
    """

    learning_rate: float = Field(
        RATE,
        gt=0,
        lt=1,
        description="default: 5e-6, or 1e-5 with `weights: int4`; more moves the model, not its rounding",
    )
    bias_learning_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="rate of biases and norms, which stay in float; default: `learning_rate`, or 5e-4 with "
        "`weights: int4`, where they mend the most",
    )
    dropout: float | None = Field(
        0.0,
        ge=0,
        lt=1,
        description="probability of every dropout in the model during this training; null: those of its config",
    )
    distill: Distillation | None = Field(
        None,
        description="learn from a teacher or the labels, see [training.distill](#trainingdistill); default: learn what "
        "the model answered before the step, by the logits at temperature 8",
    )
    scope: Block = Field(
        "all", description="all: the whole model with embeddings and head; mlp or attention: only those blocks"
    )
    weights: Weights = Field("int8", description=INT4)
    ranges: Literal["calibrated", "moving-average", "learned"] = Field(
        "calibrated",
        description="ranges of activations; all start with the widest seen on 256 rows. calibrated: they stay; "
        "moving-average: they follow what is seen; learned: train them by gradient (LSQ: Esser et al. 2020)",
    )
    range_learning_rate: float = Field(
        1e-3,
        gt=0,
        lt=1,
        description="highest learning rate of learned ranges, as the share of its size that a range moves per "
        "optimizer step",
    )
    averaging: float = Field(
        0.05,
        gt=0,
        le=1,
        description="how far a moving average goes per optimizer step towards the smallest and largest value it saw",
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

    @model_validator(mode="before")
    @classmethod
    def _rate(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("weights") == "int4":
            return {**INT4_RATES, **given}
        return given

    @property
    def vector_rate(self) -> float | None:
        return self.bias_learning_rate


class Qat(Transform[QatParams]):
    """Train every weight while weights and activations are rounded as the graph rounds them, and export that.

    ONNX Runtime computes what was trained, but for the order of sums. Evaluation, and so the choice of a checkpoint, is
    of the rounded model. Zeros that an earlier step pruned stay zero.
    """

    name = "quantize.qat"
    version = 4  # ranges are measured before, and the model before is the teacher
    summary = "train through the rounding; int8 activations, int8 or int4 weights"
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

    def passes(self, params: QatParams, training: Training, models: Mapping[str, Mapping[str, Any]]) -> list[Pass]:
        before = [Pass("teacher", models[""], "none", once=True)] if params.distill is None else []
        return [*super().passes(params, training, models), *before]

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
        if params.distill is None:
            found += [
                (
                    (key,),
                    f"'{key}' needs labels, but without `distill` the step learns from what the model answers",
                    "take the key out, or learn from labels: `distill: {losses: {labels: 1}}`",
                )
                for key in ("class_weights", "label_smoothing")
                if getattr(params, key)
            ]
        return found

    def apply(self, state: State, params: QatParams, context: StepContext) -> None:
        from edgeopt.models.fake_quant import fake_quantized
        from edgeopt.models.load import load_base
        from edgeopt.training import train
        from edgeopt.training.ranges import RangeSchedule, calibrate
        from edgeopt.transforms.lower import lower

        model, family = load_base(state.folder), family_of(state.folder)
        rate = params.range_learning_rate / params.learning_rate if params.ranges == "learned" else 0.0
        quantizers = fake_quantized(
            model, lambda name: in_block(name, params.scope, family), learned=rate, int4=params.weights == "int4"
        )
        if not quantizers.linears:
            raise step_failed(
                "E402", f"the model has nothing to quantize in its {params.scope} part", help="widen `scope`"
            )
        calibrate(model, quantizers, _batches(state.folder, model, context))
        schedule = RangeSchedule(
            quantizers,
            follow=params.averaging if params.ranges == "moving-average" else 0.0,
            freeze_after=params.freeze_after,
        )
        if params.distill is None:  # a teacher that the recipe need not name, because it is the step's input
            params = params.model_copy(update={"distill": Distillation(teacher=BEFORE, temperature=TEMPERATURE)})
            context = replace(context, states={**context.states, BEFORE: state})
        context.figures.update(
            train(model, state.folder, params, context, keep_zeros=Fact.SPARSE in state.facts, callbacks=[schedule])
        )
        model.cpu().eval()
        plain = load_base(state.folder)
        plain.load_state_dict(model.state_dict(), strict=False)
        lower(model, state, context, traced=plain, rewrite=lambda path: write(path, quantizers), relative=TOLERANCE)

    def observe(self, before: State, after: Path, params: QatParams) -> Figures:
        import onnx

        graph, family = onnx.load(str(after / GRAPH), load_external_data=False).graph, family_of(after)
        left = [n.name for n in weighted(graph) if in_block(n.name, params.scope, family)]
        if left:
            raise step_failed(
                "E403",
                f"{len(left)} parts that were to be int8 are still float: {', '.join(left[:5])}",
                help="report it with the recipe",
            )
        return common.observe(before, after, WEIGHTS, weights=params.weights)


def _batches(folder: Path, model: PreTrainedModel, context: StepContext) -> Iterator[dict[str, Any]]:
    """The rows that ranges are measured on, without their labels."""
    from edgeopt.models.load import takes
    from edgeopt.tasks.encode import Encoder

    task, encoder = task_of(context.task, context.data.label_names), Encoder(folder, context.task.max_length)
    split = context.data.calibration(ROWS, context.task.selection, context.seed)
    rows, _ = task.training_rows(encoder, split, takes(model))
    collate = task.collator(encoder)
    for start in range(0, len(rows), _BATCH):
        yield {k: v for k, v in collate(rows[start : start + _BATCH]).items() if k != "labels"}


def write(path: Path, quantizers: Quantizers) -> None:
    """Rewrite the exported graph of a model with the integers and grids of its quantizers."""
    from edgeopt.models.fake_quant import U8, graph_name
    from edgeopt.models.four_bits import S4
    from edgeopt.transforms.quantize.int8_graph import Grid, Integers, write_qdq

    def integers(module: FakeQuantLinear | FakeQuantEmbedding, low: int, high: int, kind: str) -> Integers:
        scale, zero = (t.detach() for t in module.grid())
        values = (module.weight.detach() / scale).round().add(zero).clamp(low, high)
        if scale.dim():
            scale, zero = scale.flatten(), zero.expand_as(scale).flatten()
        return Integers(values.numpy().astype(kind), scale.numpy(), zero.numpy().astype(kind), int4=high == S4)

    def grid(module: Activation) -> Grid:
        scale, zero = (t.detach().numpy() for t in module.grid())
        return Grid(scale, zero.astype("uint8"))

    # the exporter wraps the model, and names its nodes after that
    write_qdq(
        path,
        {
            f"/model{graph_name(n)}": (integers(m, -m.most, m.most, "int8"), grid(r))
            for n, (m, r) in quantizers.linears.items()
        },
        {f"/model{graph_name(n)}": integers(m, 0, U8, "uint8") for n, m in quantizers.tables.items()},
    )
