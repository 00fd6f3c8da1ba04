"""Dynamic int8: weights ahead of time, activation ranges as they come."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from edgeopt.recipe.schema import StepParams
from edgeopt.store import State
from edgeopt.transforms.base import Figures, StepContext, Transform
from edgeopt.transforms.lower import GRAPH
from edgeopt.transforms.quantize import common
from edgeopt.transforms.quantize.scope import OPERATORS, SCOPE, WORD_TABLE, Scope, WordTable, excluded
from edgeopt.transforms.quantize.tables import to_int4, word_tables


class DynamicParams(StepParams):
    """Per-channel weights are as fast here as per-tensor ones and lose less."""

    scope: Scope = Field("all", description=SCOPE)
    word_table: WordTable = Field("int8", description=WORD_TABLE)
    per_channel: bool = True
    reduce_range: bool = Field(False, description="weights in 7 bits, for x86 processors without VNNI, whose sums overflow with 8")


class DynamicQuantize(Transform[DynamicParams]):
    """int8 weights; each MatMul measures the range of its input at run time. Needs no rows."""

    name = "quantize.dynamic"
    summary = "int8 weights, activation ranges at run time"
    Params = DynamicParams
    seeded = False
    contract = common.contract(None)

    def apply(self, state: State, params: DynamicParams, context: StepContext) -> None:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        source = state.folder / GRAPH
        graph = onnx.load(str(source), load_external_data=False).graph
        # each Gemm becomes a MatMul of this name before the quantiser looks at the list
        left_out = excluded(graph, params.scope)
        int4 = word_tables(graph, left_out) if params.word_table == "int4" else []
        outside = [name for node in [*left_out, *int4] for name in (node, f"{node}_MatMul")]
        with common.quiet_quantizer(context.work):
            quantize_dynamic(
                source, context.output / GRAPH, op_types_to_quantize=OPERATORS, per_channel=params.per_channel,
                reduce_range=params.reduce_range, weight_type=QuantType.QInt8, nodes_to_exclude=outside,
                extra_options={"MatMulConstBOnly": True},
            )  # fmt: skip
        if int4:
            model = onnx.load(str(context.output / GRAPH))
            to_int4(model, int4)
            onnx.save(model, str(context.output / GRAPH))
        common.finish(state, context.output, context.figures, params.scope, params.word_table)

    def observe(self, before: State, after: Path, params: DynamicParams) -> Figures:
        return common.observe(before, after)
