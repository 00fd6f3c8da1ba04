"""Static int8 in QDQ form: weights and activation ranges ahead of time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from edgeopt.recipe.schema import StepParams, Strict
from edgeopt.store import State
from edgeopt.tasks import Task, task_of
from edgeopt.transforms.base import Figures, StepContext, Transform
from edgeopt.transforms.lower import GRAPH
from edgeopt.transforms.quantize import common


class Calibration(Strict):
    """How activation ranges are measured: on rows of train that no checkpoint was selected with."""

    samples: int = Field(256, ge=1, description="rows")
    method: Literal["minmax", "moving-average"] = "minmax"


class StaticParams(StepParams):
    """Activations unsigned 8 bit per tensor, weights signed 8 bit per channel."""

    calibration: Calibration = Calibration()
    scope: common.Scope = Field("all", description="all: embeddings and head too; mlp or attention: those alone")


class StaticQuantize(Transform[StaticParams]):
    """Quantise the plain graph and let the runtime fuse it when it loads: of the orders measured, the
    fastest. Only products with constant weights are quantised and their outputs stay float, because
    quantising all operators, onnxruntime's default, costs most of the accuracy."""

    name = "quantize.static"
    summary = "int8 weights and activations, ranges from train rows"
    Params = StaticParams
    contract = common.contract("calibration")

    def apply(self, state: State, params: StaticParams, context: StepContext) -> None:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

        source = state.folder / GRAPH
        rows = context.data.calibration(params.calibration.samples, context.task.selection, context.seed)
        with common.quiet_quantizer(context.work) as scratch, context.progress.bar("calibrate", len(rows)) as bar:
            quantize_static(
                source, scratch / GRAPH, _Feed(source, rows, state.folder, task_of(context.task, context.data.label_names), bar),
                quant_format=QuantFormat.QDQ, op_types_to_quantize=common.OPERATORS, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
                nodes_to_exclude=common.excluded_nodes(source, params.scope),
                extra_options={
                    "MatMulConstBOnly": True,
                    "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],
                    "CalibMovingAverage": params.calibration.method == "moving-average",
                },
            )  # fmt: skip
            (scratch / GRAPH).rename(context.output / GRAPH)
        context.figures["calibration_rows"] = len(rows)
        context.figures["calibration_fingerprint"] = rows.fingerprint
        common.finish(state, context.output, context.figures)

    def observe(self, before: State, after: Path, params: StaticParams) -> Figures:
        return common.observe(before, after)


class _Feed:
    """One row at a time and without padding, so that padding never widens a range."""

    def __init__(self, graph: Path, rows: Any, folder: Path, task: Task, bar: Any) -> None:
        from edgeopt.measure.session import input_names, open_session
        from edgeopt.tasks.encode import Encoder

        encoder = Encoder(folder, task.spec.max_length)
        names = input_names(open_session(graph))
        self.bar, self.done = bar, 0
        self.feeds: Iterator[dict[str, Any]] = ({k: v for k, v in encoder.pad([ids]).items() if k in names} for ids in task.encode(encoder, rows.texts).ids)

    def get_next(self) -> dict[str, Any] | None:
        feed = next(self.feeds, None)
        self.done += feed is not None
        self.bar.update(self.done)
        return feed

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> dict[str, Any]:
        feed = self.get_next()
        if feed is None:
            raise StopIteration
        return feed

    def set_range(self, start_index: int, end_index: int) -> None:
        """onnxruntime's protocol for strided calibration, which is not used here."""
        raise NotImplementedError
