"""The conformance test check_family: does the anatomy of a model family match its models?"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.models.anatomy import FAMILIES, Anatomy, part
from edgeopt.models.source import CONFIG, find_model
from edgeopt.spec.recipe import ModelSpec
from edgeopt.store.facts import Fact
from edgeopt.store.store import State
from edgeopt.support.errors import InputError
from edgeopt.support.words import a, first_line
from edgeopt.testing.build import build, prefix_step, steps_towards
from edgeopt.testing.failing import failing

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

_CLOSE = 1e-4


@failing
def check_family(anatomy: Anatomy, *, model: Path, data: Path, work: Path) -> State:
    """Find every part of the anatomy in a small model of the family, cut the model, fine-tune it and quantize it.

    Returns the last state. Raises AssertionError, which names the part that is missing or wrong.

    The checks:

    - Every name leads to the right kind of module (linear layer, norm or embedding table). The config states the sizes
      that the weights have.
    - The model answers a text of the longest length, and no longer one, unless its positions are rotary.
    - Cutting heads, neurons, hidden dimensions and blocks has the same effect as masking them.
    - Prefix tuning works if `takes_prefix` is true.
    - The model can be trained, pruned to zeros, exported and quantized, and agrees with torch.

    model: a folder with config.json, model.safetensors and the tokenizer of a bare encoder of the family. It has at
    least two layers with at least two heads each. data: a folder with train.jsonl and validation.jsonl, with columns
    `text` and `label`. work: an empty folder.
    """
    model_type = str(json.loads((model / CONFIG).read_text(encoding="utf-8"))["model_type"])
    with FAMILIES.holding(model_type, anatomy):
        try:
            source = find_model(ModelSpec(id=str(model.resolve())), model)
        except InputError as error:
            raise AssertionError(f"{model} is not taken for a model of the family: {error}") from error
        whole = _classifier(model)
        if missing := list(_missing(whole, anatomy)):
            raise AssertionError(f"the anatomy of {model_type} is not that of its models: {'; '.join(missing)}")
        if anatomy.has_positions(whole.config.to_dict()):
            _longest(whole, source.positions, whole.config.vocab_size)
        _cut_is_masked(whole)
        if anatomy.takes_prefix:
            _takes_prefix(model, data, work)
        return build(
            steps_towards(frozenset({Fact.SPARSE, Fact.INT8})), model=model, data=data, store=work / "store"
        ).final("candidate")


def _takes_prefix(model: Path, data: Path, work: Path) -> None:
    try:
        build([prefix_step()], model=model, data=data, store=work / "store")
    except Exception as error:
        raise AssertionError(f"`takes_prefix` is not true of the family: {first_line(error)}") from error


def _classifier(folder: Path) -> PreTrainedModel:
    """A model with a two-class head. Every parameter is moved off its initial value, so norms and biases matter."""
    import torch
    import transformers

    torch.manual_seed(0)
    whole = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, local_files_only=True, num_labels=2, dtype="float32"
    ).eval()
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return whole


def _missing(whole: nn.Module, anatomy: Anatomy) -> Iterator[str]:
    """Names that lead to nothing, or to the wrong kind of module."""
    from torch import nn

    layers = part(whole, anatomy.layers)
    if not isinstance(layers, nn.ModuleList) or len(layers) < 2:
        yield f"layers: {anatomy.layers} is no list of two layers or more"
        return
    base, layer = part(whole, anatomy.base), layers[0]
    optional = [
        ("embedding_projection", base, anatomy.embedding_projection, nn.Linear),
        ("position_bias", base, anatomy.position_bias, nn.Embedding),
        ("final_norm", base, anatomy.final_norm, nn.LayerNorm),
    ]
    parts = [
        ("base", whole, anatomy.base, nn.Module),
        ("embedding_norm", base, anatomy.embedding_norm, nn.LayerNorm),
        *(("tables", base, name, nn.Embedding) for name in anatomy.tables if not _lacks(base, name)),
        ("self_attention", layer, anatomy.self_attention, nn.Module),
        ("activation", layer, anatomy.activation, nn.Module),
        *(("attention", layer, name, nn.Linear) for name in anatomy.attention),
        *(("projections", layer, name, nn.Linear) for name in anatomy.projections),
        ("ffn_in", layer, anatomy.ffn_in, nn.Linear),
        *(("norms", layer, name, nn.LayerNorm) for name in anatomy.norms if name not in anatomy.first_lacks),
        *(("norms", layers[1], name, nn.LayerNorm) for name in anatomy.first_lacks),
        *(each for each in optional if each[2] is not None and not _lacks(base, each[2])),
    ]
    for field, holder, name, kind in parts:
        found = None if holder is None else part(holder, str(name))
        if not isinstance(found, kind):
            what = "not there" if found is None else f"{a(type(found).__name__)} and no {kind.__name__}"
            yield f"{field}: {name} is {what}"
    if not any(isinstance(part(whole, name), nn.Linear) for name in anatomy.readers):
        yield f"readers: none of {', '.join(anatomy.readers)} is there"


def _lacks(base: nn.Module | None, module: str) -> bool:
    """Whether a model says that it has no such module: its config asks for none."""
    parent, _, name = module.rpartition(".")
    holder = None if base is None else part(base, parent)
    return holder is not None and getattr(holder, name, holder) is None


def _longest(whole: PreTrainedModel, positions: int | None, words: int) -> None:
    """Raise AssertionError unless the model answers texts of up to as many tokens as it is said to have positions."""
    import torch

    if positions is None:
        return
    pad = whole.config.pad_token_id or 0

    def answered(length: int) -> bool:
        ids = torch.full((1, length), (pad + 1) % words)
        try:
            with torch.no_grad():
                whole(input_ids=ids, attention_mask=torch.ones_like(ids))
        except (IndexError, RuntimeError):
            return False
        return True

    assert answered(positions), (
        f"a text of {positions} tokens is not answered: `positions_after` says where positions begin"
    )
    assert not answered(positions + 1), (
        f"a text of {positions + 1} tokens is answered too: `positions_after` leaves out positions that there are"
    )


def _cut_is_masked(whole: PreTrainedModel) -> None:
    import torch

    from edgeopt.models.masks import kept, masked, ones
    from edgeopt.models.slicing import cut

    masks = ones(whole)
    assert (
        masks.heads and masks.neurons and masks.mha is not None and masks.ffn is not None and masks.hidden is not None
    )
    masks.heads[0][1:] = 0
    masks.neurons[0][::2] = 0
    masks.ffn[0] = masks.mha[-1] = 0
    masks.hidden[1::4] = 0
    ids = torch.arange(8).reshape(1, 8) % whole.config.vocab_size
    asked = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    sliced = copy.deepcopy(whole)
    with torch.no_grad():
        before = whole(**asked).logits
        with masked(whole, masks):
            expected = whole(**asked).logits
        try:
            cut(sliced, kept(whole, masks))
            found = sliced(**asked).logits
        except (Exception, SystemExit) as error:
            raise AssertionError(f"a model that was cut cannot be computed: {type(error).__name__}: {error}") from error
    assert not torch.allclose(expected, before, atol=_CLOSE), (
        "masks change nothing: the anatomy leads to modules that the model does not use"
    )
    difference = float((found - expected).abs().max())
    assert difference <= _CLOSE, (
        f"what is cut computes something else than what is masked, by {difference:.2g} in a logit"
    )
