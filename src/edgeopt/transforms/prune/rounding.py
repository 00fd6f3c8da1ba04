"""Sizes that a runtime's kernels like: what kept neurons and hidden dimensions are rounded to."""

from __future__ import annotations

from typing import Literal

Multiple = Literal["auto", 1, 8, 16, 32]
DESCRIPTION = "the number of neurons{} in a layer is a multiple of this; auto: 16, or less below 256 neurons"
#: What auto is. ONNX Runtime on x86 with AVX-512 takes 3 to 5 % longer at sizes just above a multiple of 16 than
#: between them, FP32 and int8, up to 3 % at other multiples of 8, and no more at 16 than at 32
#: (benchmarks/kernel_sizes.py).
_KERNEL = 16


def resolved(asked: Multiple, whole: int) -> int:
    """The multiple for a dimension of that size; by itself at most a sixteenth of it, or too little could be chosen."""
    return asked if asked != "auto" else max(1, min(_KERNEL, whole // 16))
