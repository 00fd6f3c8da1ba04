"""Dynamic int8: weights ahead of time, activation ranges as they come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from edgeopt.export.graph_files import save_graph, structure_of
from edgeopt.export.tied import untie
from edgeopt.models.files import GRAPH
from edgeopt.models.source import family_of
from edgeopt.spec.recipe import StepParams
from edgeopt.step.transform import Figures, StepContext, Transform
from edgeopt.store.store import State
from edgeopt.transforms.quantize import common, qdq
from edgeopt.transforms.quantize.scope import OPERATORS, SCOPE, WORD_TABLE, Scope, WordTable, excluded
from edgeopt.transforms.quantize.tables import to_int4, word_tables

if TYPE_CHECKING:
    from onnx import ModelProto


class DynamicParams(StepParams):
    """What becomes int8, and how; by channel weights are as fast here as by tensor, and lose less."""

    scope: Scope = Field("all", description=SCOPE)
    word_table: WordTable = Field("int8", description=WORD_TABLE)
    per_channel: bool = True
    reduce_range: bool = Field(
        False,
        description="use 7 bits for weights, for x86 processors without VNNI, where sums of 8-bit products overflow",
    )


class DynamicQuantize(Transform[DynamicParams]):
    """int8 weights; each MatMul measures the range of its input at run time. Needs no rows."""

    name = "quantize.dynamic"
    summary = "int8 weights, activation ranges at run time"
    Params = DynamicParams
    seeded = False
    contract = common.contract(None)

    def apply(self, state: State, params: DynamicParams, context: StepContext) -> None:
        source = state.folder / GRAPH
        graph = untie(structure_of(source)).graph
        # each Gemm becomes a MatMul of this name before the quantizer looks at the list
        left_out = excluded(graph, params.scope, family_of(state.folder))
        int4 = word_tables(graph, left_out) if params.word_table == "int4" else []
        outside = [name for node in [*left_out, *int4] for name in (node, f"{node}_MatMul")]
        with common.quiet_quantizer(context.work):
            model = _quantized(qdq.load(source), params, outside)
        to_int4(model, int4)
        save_graph(model, context.output / GRAPH)
        common.finish(state, context.output, context.figures, params.scope, params.word_table)

    def observe(self, before: State, after: Path, params: DynamicParams) -> Figures:
        return common.observe(before, after)


def _quantized(model: ModelProto, params: DynamicParams, excluded: Sequence[str]) -> ModelProto:
    """What onnxruntime's `quantize_dynamic` makes of a model, which is used up.

    That function itself writes beside the file that it reads, and serializes what may be larger than protobuf can.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode, update_opset_version

    quantizer = ONNXQuantizer(
        update_opset_version(model, QuantType.QInt8),
        params.per_channel,
        params.reduce_range,
        QuantizationMode.IntegerOps,
        False,
        QuantType.QInt8,
        QuantType.QUInt8,
        None,
        [],
        excluded,
        OPERATORS,
        {"MatMulConstBOnly": True},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return quantizer.model.model
