"""How long a layer's attention takes with so many heads, and its feed-forward with so many neurons, on a target.

Measured in ONNX Runtime, on one exported layer of the model's own family and widths cut to each size, as ZipLM does
(Kurtic et al. 2023); between the sizes that were measured, interpolated.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from edgeopt.measure.latency import run_worker
from edgeopt.models.structure import FIELD
from edgeopt.spec.recipe import Target
from edgeopt.support import host
from edgeopt.support.errors import InputError, Place
from edgeopt.support.files import write_json
from edgeopt.support.reading import Count, NotNegative, Reader

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Sizes that are measured, as shares of the whole.
_GRID = (0, 1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1)
_ROUNDS, SECONDS = 150, 60.0
#: What configs call the activation of the feed-forward.
_ACTIVATIONS = ("hidden_act", "activation", "hidden_activation")
#: Length of the text where the target has no fixed one.
TOKENS = 128
_KEPT = Reader("measurement", "E157")


class _Sizes(BaseModel):
    model_config = ConfigDict(extra="allow")

    heads_ms: Annotated[list[tuple[Count, NotNegative]], Field(min_length=1)]
    neurons_ms: Annotated[list[tuple[Count, NotNegative]], Field(min_length=1)]


@dataclass(frozen=True)
class Table:
    """Milliseconds by size: heads[h] of an attention with h heads, neurons[f] of a feed-forward with f.

    Size 0 is the norm that stays.
    """

    heads: np.ndarray[Any, np.dtype[np.float64]]
    neurons: np.ndarray[Any, np.dtype[np.float64]]


def tokens_of(target: Target) -> int:
    """The length that is measured: the target's first that is fixed."""
    return next((n for n in target.sequence if n != "task"), TOKENS)


def table(model: PreTrainedModel, target: Target, shared: Path | None) -> Table:
    """The table of a model on a target.

    It is kept in the folder `shared` for this processor, target and shape of layer, and measured where it is not there.
    Raises StepError E409.
    """
    about = _about(model, target)
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    path = None if shared is None else shared / f"blocks-{key}.json"
    sizes = None if path is None else _kept(path, about)
    if sizes is None:
        heads = _grid(about["heads"]) if about["heads"] > 16 else list(range(about["heads"] + 1))
        sizes = {**about, **_measured(model, about, heads, _grid(about["neurons"]))}
        if path is not None:
            write_json(path, sizes)
    return Table(_filled(sizes["heads_ms"], about["heads"]), _filled(sizes["neurons_ms"], about["neurons"]))


def share_of_time(model: PreTrainedModel, target: Target) -> float:
    """The time that the layers of a cut model take, as a share of what those of the dense one do.

    Both are measured now, in the same rounds, at the very sizes that are left. Raises StepError E409.
    """
    from edgeopt.models.slicing import structure_of

    layers, about = structure_of(model).layers, _about(model, target)
    left = {"heads_ms": [x.head_count for x in layers], "neurons_ms": [x.neuron_count for x in layers]}
    whole = {"heads_ms": about["heads"], "neurons_ms": about["neurons"]}
    found = _measured(model, about, *(sorted({*left[kind], whole[kind]}) for kind in left))
    ms = {kind: {int(size): each for size, each in found[kind]} for kind in left}
    dense = structure_of(model).dense.layers * sum(ms[kind][whole[kind]] for kind in left)
    return sum(ms[kind][size] for kind in left for size in left[kind]) / dense


def _about(model: PreTrainedModel, target: Target) -> dict[str, Any]:
    """What the time of a layer depends on."""
    from edgeopt.models.slicing import structure_of

    dense = structure_of(model).dense
    return {
        "model_type": model.config.model_type,
        "hidden": structure_of(model).hidden,
        "heads": dense.heads,
        "head_size": dense.head_size,
        "neurons": dense.neurons,
        "activation": next((a for name in _ACTIVATIONS if (a := getattr(model.config, name, None))), ""),
        "cpu": host.cpu_name(),
        "flags": sorted(host.cpu_flags() & set(host.SHOWN_FLAGS)),
        "onnxruntime": host.installed("onnxruntime"),
        "threads": target.threads,
        "batch": target.batch,
        "tokens": tokens_of(target),
    }


def _kept(path: Path, about: dict[str, Any]) -> dict[str, Any] | None:
    """What was measured before; None where nothing was, or where the file does not hold it any more."""
    try:
        found: dict[str, Any] = _KEPT.json(path)
        checked = _KEPT.check(found, _Sizes, Place.of(path))
    except InputError:
        return None
    grids = ((checked.heads_ms, about["heads"]), (checked.neurons_ms, about["neurons"]))
    whole = all(
        sizes[0][0] == 0 and sizes[-1][0] == most and sizes == sorted(sizes, key=lambda pair: pair[0])
        for sizes, most in grids
    )
    return found if whole and {k: found.get(k) for k in about} == json.loads(json.dumps(about)) else None


def _measured(
    model: PreTrainedModel, about: dict[str, Any], heads: Sequence[int], neurons: Sequence[int]
) -> dict[str, list[list[float]]]:
    """Milliseconds of an attention of each number of heads, and of a feed-forward of each number of neurons."""
    sizes = {"heads_ms": heads, "neurons_ms": neurons}
    with tempfile.TemporaryDirectory() as folder:
        graphs = {
            f"{kind}-{n}": _export(model, about, kind, n, Path(folder) / f"{kind}-{n}.onnx")
            for kind, found in sizes.items()
            for n in found
        }
        task = {k: about[k] for k in ("threads", "batch", "tokens", "hidden")}
        times = run_worker(
            "edgeopt.measure.block_worker", {**task, "graphs": graphs, "rounds": _ROUNDS, "max_seconds": SECONDS}
        )
    return {kind: [[n, round(times[f"{kind}-{n}"], 5)] for n in found] for kind, found in sizes.items()}


def _grid(whole: int) -> list[int]:
    return sorted({round(share * whole) for share in _GRID})


def _filled(measured: Sequence[Sequence[float]], whole: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Every size from 0 to the whole; never less than a smaller one, which only noise could say."""
    sizes, times = zip(*measured, strict=True)
    return np.interp(np.arange(whole + 1), sizes, np.maximum.accumulate(times))


def _export(model: PreTrainedModel, about: dict[str, Any], kind: str, size: int, path: Path) -> str:
    """Write one layer with random weights, of the one block alone, as ONNX; returns the path."""
    import copy
    import warnings

    import torch

    from edgeopt.models.anatomy import anatomy
    from edgeopt.models.slicing import Kept, KeptLayer, cut, take_layers

    config, shape = copy.deepcopy(model.config), anatomy(model.config.model_type)
    number = int(bool(shape.first_lacks))  # the first layer that has all parts
    take_layers(config, range(number + 1))
    if hasattr(config, FIELD):
        delattr(config, FIELD)
    config.vocab_size = (config.pad_token_id or 0) + 2
    whole = getattr(type(model), "uncut", type(model))(config).eval()
    whole.set_attn_implementation("eager")
    attention = kind == "heads_ms"
    cut(
        whole,
        Kept(
            [KeptLayer(number, range(size) if attention else None, None if attention else range(size))],
            range(about["hidden"]),
        ),
    )
    layer = whole.get_submodule(shape.layers)[0]
    more: dict[str, Any] = {}
    if shape.position_bias is not None:
        more["position_bias"] = torch.zeros(1, about["heads"], about["tokens"], about["tokens"])
    if shape.rotary:
        angles = torch.arange(about["tokens"] * about["head_size"]).reshape(1, about["tokens"], -1).float()
        more["position_embeddings"] = (angles.cos(), angles.sin())
    if shape.relative is not None:  # both are the same for every text
        stack = whole.get_submodule(shape.layers.rpartition(".")[0])
        more["relative_pos"] = stack.get_rel_pos(torch.zeros(1, about["tokens"], 1))
        more["rel_embeddings"] = stack.get_rel_embedding()

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            result = self.layer(hidden, attention_mask=mask, **more)
            out: torch.Tensor = result[0] if isinstance(result, tuple) else result
            return out

    given = (
        torch.zeros(about["batch"], about["tokens"], about["hidden"]),
        torch.zeros(about["batch"], 1, 1, about["tokens"]),
    )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Block().eval(),
            given,
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=["hidden", "mask"],
            output_names=["out"],
        )
    return str(path)
