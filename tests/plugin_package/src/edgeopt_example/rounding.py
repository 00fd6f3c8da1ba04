"""Round the weights of the encoder to fewer significant bits, so that the file compresses better."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeopt.plugins import (
    Contract,
    Fact,
    Field,
    Figures,
    State,
    StepContext,
    StepParams,
    Transform,
    copy_tokenizer,
    facts,
    load_model,
    prunable,
    save_model,
    step_failed,
)


class RoundParams(StepParams):
    """How coarse the weights become."""

    bits: int = Field(8, ge=2, le=23, description="significant bits that are kept; float32 has 24")


class RoundWeights(Transform[RoundParams]):
    """Round every weight of the encoder's linear layers. Zeros stay zero."""

    name = "weights.round"
    summary = "round weights to fewer significant bits"
    Params = RoundParams
    contract = Contract(requires=facts(Fact.TORCH, Fact.TRAINED_HEAD), forbids=facts(Fact.ADAPTER), needs=("torch",))

    def apply(self, state: State, params: RoundParams, context: StepContext) -> None:
        import torch

        model = load_model(state.folder)
        with torch.no_grad():
            for _, layer in prunable(model):
                weight: Any = layer.weight
                weight.copy_(rounded(weight, params.bits))
        save_model(model, context.output)
        copy_tokenizer(state.folder, context.output)

    def observe(self, before: State, after: Path, params: RoundParams) -> Figures:
        if any(not layer.weight.equal(rounded(layer.weight, params.bits)) for _, layer in prunable(load_model(after))):
            raise step_failed("E403", f"a weight has more than {params.bits} significant bits")
        return {"significant_bits": params.bits}


def rounded(weight: Any, bits: int) -> Any:
    """The nearest values of that many significant bits."""
    import torch

    mantissa, exponent = torch.frexp(weight)
    return torch.ldexp(torch.round(mantissa * 2**bits) / 2**bits, exponent)
