"""Activations of a graph on rows, one row at a time: nothing is kept of them but what the observers keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from edgeopt.data import Split
from edgeopt.export.graph_files import remove, save_graph
from edgeopt.spec.recipe import Strict
from edgeopt.support.progress import Bar
from edgeopt.tasks import Task
from edgeopt.transforms.quantize import clipping
from edgeopt.transforms.quantize.observers import Array, Histogram, MinMax, MovingAverage, Observer, Range, Ranging
from edgeopt.transforms.quantize.scope import weighted

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto
    from onnxruntime import InferenceSession

Method = Literal["minmax", "moving-average", "percentile", "entropy", "mse"]
Feeds = Callable[[], Iterator[dict[str, Array]]]
_CHUNK = 64


class Calibration(Strict):
    """How activation ranges are measured: on rows of train that no checkpoint was selected with."""

    samples: int = Field(256, ge=1, description="rows")
    method: Method = Field(
        "minmax",
        description="how ranges are chosen. minmax: the widest range seen; moving-average: the mean of the "
        "rows' ranges; "
        "percentile, entropy and mse cut off rare values, which may be outliers that matter",
    )
    percentile: float | None = Field(
        None,
        gt=50,
        le=100,
        description="with `method: percentile`: percentage of the values inside the range; default: 99.999",
    )

    @model_validator(mode="after")
    def _percentile_fits(self) -> Calibration:
        if self.percentile is not None and self.method != "percentile":
            raise ValueError("'percentile' belongs to 'method: percentile'")
        return self


def observer(method: Method) -> Ranging:
    """A new observer that keeps enough of a tensor for the method."""
    return MinMax() if method == "minmax" else MovingAverage() if method == "moving-average" else Histogram()


def range_of(seen: Ranging, method: Method, percentile: float | None, *, symmetric: bool) -> Range:
    """The range that the method makes of what was seen."""
    if not isinstance(seen, Histogram):
        return seen.range()
    if method == "minmax":
        return seen.extremes.range()
    if method == "percentile":
        return clipping.percentile(seen, percentile or 99.999, symmetric=symmetric)
    return (clipping.entropy if method == "entropy" else clipping.mean_squared_error)(seen, symmetric=symmetric)


def activations(graph: GraphProto, excluded: Sequence[str]) -> list[str]:
    """The tensors that are multiplied by a constant matrix in the nodes to be quantized."""
    nodes = [n for n in weighted(graph) if n.op_type != "Gather" and n.name not in excluded]
    return list(dict.fromkeys(n.input[0] for n in nodes))


def feeds(folder: Path, split: Split, task: Task) -> Feeds:
    """The inputs of each query of a split, alone and so without padding, encoded a few rows at a time."""
    from edgeopt.tasks.encode import Encoder

    def rows() -> Iterator[dict[str, Array]]:
        encoder = Encoder(folder, task.spec.max_length)
        for start in range(0, len(split), _CHUNK):
            for ids in task.encode(encoder, split.texts[start : start + _CHUNK]).ids:
                yield encoder.pad([ids])

    return rows


def observe(
    model: ModelProto, observers: Mapping[str, Sequence[Observer]], rows: Feeds, scratch: Path, bar: Bar | None = None
) -> None:
    """Show the observers of each tensor its values, row by row.

    Where a query has parts of several lengths, as choices have, their padding is left out.
    """
    from onnx import TensorProto, helper

    outputs = [o.name for o in model.graph.output]
    names = list(observers)
    path = scratch / "watched.onnx"
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in outputs
    )
    save_graph(model, path)
    del model.graph.output[len(outputs) :]
    session = _plain_session(path)
    wanted = {i.name for i in session.get_inputs()}
    for done, feed in enumerate(rows(), 1):
        mask = feed["attention_mask"].reshape(-1, feed["attention_mask"].shape[-1]).astype(bool)
        values = session.run(names, {k: v for k, v in feed.items() if k in wanted})
        for name, found in zip(names, values, strict=True):
            real = found if mask.all() or found.shape[:2] != mask.shape else found[mask]
            for each in observers[name]:
                each.add(real)
        if bar is not None:
            bar.update(done)
    remove(path)


def _plain_session(path: Path) -> InferenceSession:
    """The graph as it was exported: nothing is fused, no memory is kept between rows."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
