"""Tiny models of every family with random weights, biases and norms included: whatever is cut must show."""

from __future__ import annotations

from typing import Any

import torch

#: hidden 24, 4 heads of 6, 20 neurons, 3 layers; ELECTRA once with narrow embeddings and once without.
FAMILIES = ("bert", "electra", "electra-wide", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet")
_COMMON = {"vocab_size": 50, "max_position_embeddings": 40}
_SHAPE = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 20}


def tiny(family: str) -> Any:
    """A sequence classifier in evaluation mode, every parameter random and far from its start."""
    import transformers as t

    torch.manual_seed(0)
    configs: dict[str, Any] = {
        "bert": lambda: t.BertConfig(**_COMMON, **_SHAPE),
        "electra": lambda: t.ElectraConfig(embedding_size=16, **_COMMON, **_SHAPE),
        "electra-wide": lambda: t.ElectraConfig(embedding_size=24, **_COMMON, **_SHAPE),
        "roberta": lambda: t.RobertaConfig(**_COMMON, **_SHAPE),
        "xlm-roberta": lambda: t.XLMRobertaConfig(**_COMMON, **_SHAPE),
        "camembert": lambda: t.CamembertConfig(**_COMMON, **_SHAPE),
        "distilbert": lambda: t.DistilBertConfig(**_COMMON, dim=24, n_layers=3, n_heads=4, hidden_dim=20),
        "mpnet": lambda: t.MPNetConfig(**_COMMON, **_SHAPE),
    }
    model = t.AutoModelForSequenceClassification.from_config(configs[family]()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def inputs() -> dict[str, torch.Tensor]:
    """Two texts, the second padded."""
    ids = torch.randint(5, 50, (2, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(**inputs()).logits
    return found
