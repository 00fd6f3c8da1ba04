"""What static and dynamic quantisation share: which nodes, and what must be true afterwards."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from edgeopt.contract import Contract, Fact, facts
from edgeopt.errors import step_failed
from edgeopt.models.source import CONFIG
from edgeopt.store import State
from edgeopt.transforms.base import Figures
from edgeopt.transforms.lower import GRAPH


def contract(data: Literal["calibration"] | None) -> Contract:
    # removes TORCH: already gone with the lowering, and it is this step that a later training step ran into
    return Contract(
        requires=facts(Fact.ONNX), forbids=facts(Fact.INT8), adds=facts(Fact.INT8), removes=facts(Fact.TORCH), data=data, needs=("onnx", "onnxruntime")
    )


def finish(state: State, output: Path, figures: Figures) -> None:
    """Take the tokenizer and config along, and what is still true of the model."""
    from edgeopt.models.load import copy_files, copy_tokenizer

    copy_files(state.folder, output, (CONFIG,))
    copy_tokenizer(state.folder, output)
    figures.update({k: v for k, v in state.figures.items() if k in ("sparsity", "parameters", "parity")})


def observe(before: State, after: Path, file: str = GRAPH) -> Figures:
    """Share of the weights that are int8 in the written graph, and its size as a share of `file` of the state before.
    Raises StepError E402 where there is none."""
    from edgeopt.measure.graph import weigh

    weights = weigh(after / GRAPH)
    if not weights.int8:
        raise step_failed("E402", "no weight of the graph became int8", help="widen `scope`")
    return {
        "int8_share": round(weights.int8 / weights.parameters, 4),
        "size_ratio": round((after / GRAPH).stat().st_size / (before.folder / file).stat().st_size, 4),
    }


@contextmanager
def quiet_quantizer(work: Path) -> Iterator[Path]:
    """A scratch folder, and onnxruntime's advice to pre-process kept out of sight: it does not fit here."""
    scratch = work / "quantize"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    root = logging.getLogger()
    level = root.level
    logging.disable(logging.WARNING)
    try:
        yield scratch
    finally:
        logging.disable(logging.NOTSET)
        root.setLevel(level)
        shutil.rmtree(scratch, ignore_errors=True)
