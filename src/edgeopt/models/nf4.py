"""The base of QLoRA (Dettmers et al. 2023): every linear but the head in 4-bit NormalFloat, through bitsandbytes.

On processors with bf16 instructions bitsandbytes 0.50 packs the weights anew at the first evaluation and rounds their
scales to bf16; matrices whose rows are no whole number of blocks it cannot pack at all. Here it must not: a training
that evaluates would go on from other weights, and what is computed would not be what is saved and merged.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.support import host
from edgeopt.support.quiet import quiet_libraries

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def quantized(folder: Path, *, double_quant: bool, compute_dtype: str) -> PreTrainedModel:
    """The model of a torch state, its linears but the head's in NF4: on the GPU where there is one."""
    quiet_libraries()
    import torch
    from transformers import AutoConfig, BitsAndBytesConfig

    from edgeopt.models.model_class import model_class
    from edgeopt.models.parts import head_of

    kind = model_class(folder)
    with torch.device("meta"):
        empty = kind(AutoConfig.from_pretrained(folder, local_files_only=True))
    # a decoder's output shares its matrix with the embeddings
    output = [name for name, module in empty.named_modules() if module is empty.get_output_embeddings()]
    options = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quant,
        bnb_4bit_compute_dtype=getattr(torch, compute_dtype),
        llm_int8_skip_modules=[*head_of(empty), *output],
    )
    return unpacked(
        kind.from_pretrained(
            folder,
            local_files_only=True,
            dtype="float32",
            quantization_config=options,
            device_map={"": 0 if host.has_cuda() else "cpu"},
        )
    )


def unpacked(model: PreTrainedModel) -> PreTrainedModel:
    """The model, told to leave its 4-bit weights in the form they are saved in; any other model as it is."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def dequantized(model: PreTrainedModel) -> PreTrainedModel:
    """A plain float32 model with the values that the 4-bit weights stand for."""
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    with torch.no_grad():
        weights = {
            f"{n}.weight": dequantize_4bit(m.weight.data, m.weight.quant_state).float()
            for n, m in model.named_modules()
            if isinstance(m, Linear4bit)
        }
        plain = type(model)(_plain_config(model.config))
        values = {n: t for n, t in model.state_dict().items() if n in plain.state_dict() and n not in weights}
        plain.load_state_dict({**values, **weights})
    return plain.eval()


def weight_error(before: PreTrainedModel, after: PreTrainedModel) -> float:
    """Length of the difference of two models' linear weights, as a share of the first's."""
    import torch
    from torch import nn

    with torch.no_grad():
        pairs = [
            (m.weight, after.get_submodule(n).weight) for n, m in before.named_modules() if isinstance(m, nn.Linear)
        ]
        changed = [(a, b) for a, b in pairs if not torch.equal(a, b)]
        return float(
            (sum(((a - b) ** 2).sum() for a, b in changed) / max(sum((a**2).sum() for a, _ in changed), 1e-30)) ** 0.5
        )


def _plain_config(config: PreTrainedConfig) -> PreTrainedConfig:
    values = {k: v for k, v in config.to_dict().items() if k != "quantization_config"}
    return type(config).from_dict(values)
