"""A peer to compare with: heads and neurons cut by Torch-Pruning (PyPI torch-pruning 1.6), to a share of the MACs.

Global pruning with its group importance, whole heads, the residual stream left as it is: what can be compared with a
cut of heads and neurons. What it leaves is written as a checkpoint that a recipe can start from.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from edgeopt.models.anatomy import anatomy
from edgeopt.models.files import copy_tokenizer
from edgeopt.models.load import load_model, save_model
from edgeopt.models.slicing import structure_of
from edgeopt.models.structure import FIELD, Layer, Structure

TOKENS = 128


def cut_to(folder: Path, importance: str, macs: float, batches: list[dict[str, Any]], out: Path) -> Structure:
    """Cut the BERT of a torch state and write it to `out`.

    importance: l1, or taylor, whose gradients are of the batches, each with labels. The ratio is the least, in steps of
    0.005, that leaves at most the share `macs`.
    """
    model: Any = load_model(folder)
    model.set_attn_implementation("eager")  # what it can trace
    model.requires_grad_(True)
    if importance == "taylor":
        for batch in batches:
            model(**batch).loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    dense = structure_of(model).macs(TOKENS)
    low, high = 0, 200
    while low < high:
        middle = (low + high) // 2
        if _pruned(model, gradients, importance, middle / 200)[1].macs(TOKENS) <= macs * dense:
            high = middle
        else:
            low = middle + 1
    pruned, structure = _pruned(model, gradients, importance, low / 200)
    setattr(pruned.config, FIELD, structure.as_json())
    out.mkdir(parents=True)
    save_model(pruned, out)
    copy_tokenizer(folder, out)
    return structure


def _pruned(whole: Any, gradients: dict[str, Any], importance: str, ratio: float) -> tuple[Any, Structure]:
    import torch
    import torch_pruning as tp

    model = copy.deepcopy(whole)
    for name, parameter in model.named_parameters():  # a copy has none
        parameter.grad = None if gradients[name] is None else gradients[name].clone()
    stack = model.get_submodule(anatomy(model.config.model_type).layers)
    dense, before = structure_of(model).dense, structure_of(model)
    heads = {getattr(layer.attention.self, name): dense.heads for layer in stack for name in ("query", "key", "value")}
    inside = {
        id(m)
        for layer in stack
        for m in (
            layer.attention.self.query,
            layer.attention.self.key,
            layer.attention.self.value,
            layer.intermediate.dense,
        )
    }
    pruner = tp.pruner.BasePruner(
        model,
        {"input_ids": torch.zeros(2, 16, dtype=torch.long), "attention_mask": torch.ones(2, 16, dtype=torch.long)},
        importance=tp.importance.GroupMagnitudeImportance(p=1)
        if importance == "l1"
        else tp.importance.GroupTaylorImportance(),
        global_pruning=True,
        pruning_ratio=ratio,
        head_pruning_ratio=ratio,
        num_heads=heads,
        prune_num_heads=True,
        prune_head_dims=False,
        ignored_layers=[m for m in model.modules() if isinstance(m, torch.nn.Linear) and id(m) not in inside],
        output_transform=lambda output: output.logits.sum(),
    )
    pruner.step()
    layers = tuple(
        Layer(
            was.origin,
            tuple(range(layer.attention.self.query.out_features // dense.head_size)),
            layer.intermediate.dense.out_features,
        )
        for was, layer in zip(before.layers, stack, strict=True)
    )
    return model, Structure(layers, before.hidden, dense)
