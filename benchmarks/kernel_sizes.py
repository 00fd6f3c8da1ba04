"""What multiple the kept neurons and the kept hidden dimensions should be of.

One feed-forward block in ONNX Runtime, FP32 and int8 (QDQ, as quantize.static writes it), at sizes around a multiple of
32; batch 1, 128 tokens, one thread, interleaved. A penalty is the time at a size over what a straight line between the
two multiples of 32 around it says: 1 is none.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.common import arguments, save, spread
from edgeopt.export.session import defaults, onnx_query
from edgeopt.measure.latency_worker import pin
from edgeopt.measure.rounds import interleaved

TOKENS, ROUNDS, SECONDS = 128, 200, 60.0
OFFSETS = (0, 1, 2, 4, 6, 8, 12, 16, 20, 24, 28, 31, 32)
#: name → (hidden, neurons) of the base; which of the two is varied
VARIED = {"neurons": (384, 512), "hidden": (256, 1024)}


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        pin(1)
        for varied, base in VARIED.items():
            for precision in ("fp32", "int8"):
                results[f"{varied}, {precision}"] = _penalties(varied, base, precision, options.repeats, Path(scratch))
    save(
        "kernel_sizes",
        {
            "what": "time of a feed-forward block at a size, over the straight line between the multiples of 32 "
            "around it; batch 1, 128 tokens, one thread",
            "bases": VARIED,
            "repeats": options.repeats,
            "penalty": results,
        },
    )


def _penalties(varied: str, base: tuple[int, int], precision: str, repeats: int, folder: Path) -> dict[str, Any]:
    queries, feeds = {}, {}
    for offset in OFFSETS:
        hidden, neurons = (base[0] + offset, base[1]) if varied == "hidden" else (base[0], base[1] + offset)
        path = _block(hidden, neurons, precision, folder / f"{varied}-{precision}-{offset}.onnx")
        x = np.random.default_rng(0).standard_normal((1, TOKENS, hidden), dtype=np.float32)
        query, feeds[offset] = onnx_query(path, defaults(1)), {"x": x}
        queries[str(offset)] = lambda _, query=query, feed=feeds[offset]: query(feed)
    found: dict[int, list[float]] = {offset: [] for offset in OFFSETS}
    for _ in range(repeats):
        medians = {int(k): float(np.median(v)) for k, v in interleaved(queries, [{}], 1, ROUNDS, SECONDS).items()}
        for offset, ms in medians.items():
            line = medians[0] + (medians[32] - medians[0]) * offset / 32
            found[offset].append(ms / line)
    return {str(offset): spread(values) for offset, values in found.items() if offset not in (0, 32)}


def _block(hidden: int, neurons: int, precision: str, path: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape, dtype=np.float32), name)
        for shape, name in (((hidden, neurons), "w"), ((neurons, hidden), "v"))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "v"], ["y"]),
    ]
    io = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, TOKENS, hidden]) for name in ("x", "y")]
    model = helper.make_model(
        helper.make_graph(nodes, "block", io[:1], io[1:], weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.save(model, path)
    return path if precision == "fp32" else _quantized(path, hidden)


def _quantized(path: Path, hidden: int) -> Path:
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    from edgeopt.transforms.quantize.common import quiet_quantizer

    class Rows(CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter([{"x": np.random.default_rng(1).standard_normal((1, TOKENS, hidden), dtype=np.float32)}])

        def get_next(self) -> Any:
            return next(self.rows, None)

    out = path.with_suffix(".int8.onnx")
    with quiet_quantizer(path.parent):
        quantize_static(
            path,
            out,
            Rows(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"],
            extra_options={"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": ["MatMul"]},
        )
    return out


if __name__ == "__main__":
    main()
