"""What pruning left, in numbers: parameters, multiply-accumulates, bytes when compressed, what each layer keeps."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import cast

from edgeopt.models.source import WEIGHTS, structure_in
from edgeopt.models.structure import survival
from edgeopt.results.figures import Dense, Told
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step.transform import Found
from edgeopt.tasks import task_type

#: Tokens of the text whose multiply-accumulates are counted.
TOKENS = 128
#: How far a sparsity may be from the one asked for, to count as reached.
TOLERANCE = 0.01


def of_one_stack(name: str, task: TaskSpec) -> Found:
    """Why the step cannot cut the task's model: it is an encoder and a decoder. Nothing where it is an encoder."""
    if not task_type(task.type).has_decoder:
        return []
    return [
        (
            (),
            f"{name} only prunes encoders, but the model of {task.type} also has a decoder",
            "use prune.magnitude with granularity: unstructured",
        )
    ]


def shape_figures(after: Path) -> Told:
    """Figures of the shape: what is left of the model as it was before anything was cut.

    macs: of the layers, for one text of 128 tokens. promised_speedup: what they would bring if nothing else took time.
    """
    structure = structure_in(after)
    dense = structure.dense.structure
    left = survival(structure)
    macs, dense_macs = structure.macs(TOKENS), dense.macs(TOKENS)
    return {
        "structure": {
            "heads": left["heads"],
            "head_numbers": left["head_numbers"],
            "neurons": left["neurons"],
            "hidden": structure.hidden,
            "dense": cast(Dense, dict(vars(structure.dense))),
            "weights": structure.weights,
            "dense_weights": dense.weights,
            "sparsity": round(1 - structure.weights / dense.weights, 6),
            "macs": macs,
            "dense_macs": dense_macs,
            "macs_tokens": TOKENS,
            "promised_speedup": round(dense_macs / macs, 3) if macs else None,
        }
    }


def size_figures(after: Path) -> Told:
    """Figures of the weights file: parameters, and bytes when compressed.

    That is by zlib at its quickest, which gzip and zstd better.
    """
    from safetensors import safe_open

    with safe_open(after / WEIGHTS, "numpy") as weights:
        parameters = 0
        for name in weights.keys():  # noqa: SIM118
            size = 1
            for length in weights.get_slice(name).get_shape():
                size *= length
            parameters += size
    packer, packed = zlib.compressobj(1), 0
    with (after / WEIGHTS).open("rb") as file:
        while chunk := file.read(1 << 20):
            packed += len(packer.compress(chunk))
    return {"parameters": parameters, "compressed_bytes": packed + len(packer.flush())}
