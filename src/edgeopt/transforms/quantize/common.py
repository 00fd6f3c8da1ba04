"""What static and dynamic quantization share: which nodes, and what must be true afterwards."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from edgeopt.models.anatomy import Anatomy
from edgeopt.models.files import GRAPH
from edgeopt.models.source import CONFIG, family_of
from edgeopt.results.figures import told
from edgeopt.step.contract import Contract
from edgeopt.step.transform import Figures
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State
from edgeopt.support.errors import step_failed
from edgeopt.transforms.quantize.scope import Scope, Weights, WordTable, excluded, weighted
from edgeopt.transforms.quantize.tables import word_tables


def contract(data: Literal["calibration"] | None) -> Contract:
    """The contract of a step that makes an int8 graph of a float one. data: which rows it looks at, if any."""
    # removes TORCH: already gone with the lowering, and it is this step that a later training step ran into
    return Contract(
        requires=facts(Fact.ONNX),
        forbids=facts(Fact.INT8),
        adds=facts(Fact.INT8),
        removes=facts(Fact.TORCH),
        data=data,
        needs=("onnx", "onnxruntime"),
    )


def finish(state: State, output: Path, figures: Figures, scope: Scope, word_table: WordTable) -> None:
    """Take the tokenizer and config along, and what is still true of the model. Raises as `covers` does."""
    from edgeopt.models.files import copy_files, copy_tokenizer

    kept = told(figures).get("kept_float", ())
    covers(state.folder / GRAPH, output / GRAPH, scope, kept, word_table, family_of(state.folder))
    copy_files(state.folder, output, (CONFIG,))
    copy_tokenizer(state.folder, output)
    figures.update({k: v for k, v in state.figures.items() if k in ("sparsity", "parameters", "parity")})


def covers(
    source: Path, graph: Path, scope: Scope, kept: Collection[str], word_table: WordTable, family: Anatomy
) -> None:
    """Raise StepError E403 where a part that the scope names is not quantized in the written graph.

    That is a product or a table that is still float, or no table in 4 bits where that was asked for. source: the float
    graph. kept: nodes that stay in float by choice.
    """
    import onnx
    from onnx import TensorProto

    before, after = (onnx.load(str(path), load_external_data=False).graph for path in (source, graph))
    outside = {*excluded(before, scope, family), *kept}
    # onnxruntime makes MatMuls of Gemms, and names them so
    left = [n.name for n in weighted(after) if not {n.name, n.name.removesuffix("_MatMul")} & outside]
    if left:
        raise step_failed(
            "E403",
            f"{len(left)} parts that were to be int8 are still float: {', '.join(left[:5])}",
            help="report it with the recipe",
        )
    if (
        word_table == "int4"
        and word_tables(before, outside)
        and not any(t.data_type == TensorProto.UINT4 for t in after.initializer)
    ):
        raise step_failed("E403", "no word table is in 4 bits", help="report it with the recipe")


def observe(before: State, after: Path, file: str = GRAPH, *, weights: Weights = "int8") -> Figures:
    """Share of the weights that are int8 in the written graph, and its size as a share of `file` of the state before.

    Raises StepError E402 where there is none, or none in 4 bits where that was asked for.
    """
    from onnx import TensorProto

    from edgeopt.export.graph_files import size_of, structure_of
    from edgeopt.measure.graph import weigh

    found = weigh(after / GRAPH)
    if not found.int8:
        raise step_failed("E402", "no weight of the graph became int8", help="widen `scope`")
    if weights == "int4" and all(
        t.data_type != TensorProto.INT4 for t in structure_of(after / GRAPH).graph.initializer
    ):
        raise step_failed("E402", "no matrix of the layers became int4", help="widen `scope`")
    return {
        "int8_share": round(found.int8 / found.parameters, 4),
        "size_ratio": round(size_of(after / GRAPH) / size_of(before.folder / file), 4),
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
