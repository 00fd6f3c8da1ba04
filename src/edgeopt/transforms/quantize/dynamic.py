"""Dynamic int8: weights ahead of time, activation ranges as they come."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from edgeopt.recipe.schema import StepParams
from edgeopt.store import State
from edgeopt.transforms.base import Figures, StepContext, Transform
from edgeopt.transforms.lower import GRAPH
from edgeopt.transforms.quantize import common


class DynamicParams(StepParams):
    """Per-channel weights are as fast here as per-tensor ones and lose less."""

    scope: common.Scope = Field("all", description="all: embeddings and head too; mlp or attention: those alone")
    per_channel: bool = True


class DynamicQuantize(Transform[DynamicParams]):
    """int8 weights; each MatMul measures the range of its input at run time. Needs no rows."""

    name = "quantize.dynamic"
    summary = "int8 weights, activation ranges at run time"
    Params = DynamicParams
    seeded = False
    contract = common.contract(None)

    def apply(self, state: State, params: DynamicParams, context: StepContext) -> None:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        source = state.folder / GRAPH
        with common.quiet_quantizer(context.work):
            quantize_dynamic(
                source, context.output / GRAPH, op_types_to_quantize=common.OPERATORS, per_channel=params.per_channel,
                weight_type=QuantType.QInt8, nodes_to_exclude=common.excluded_nodes(source, params.scope),
                extra_options={"MatMulConstBOnly": True},
            )  # fmt: skip
        common.finish(state, context.output, context.figures)

    def observe(self, before: State, after: Path, params: DynamicParams) -> Figures:
        return common.observe(before, after)
