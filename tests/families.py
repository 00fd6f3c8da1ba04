"""Tiny models of every family with random weights, biases and norms included: whatever is cut must show."""

from __future__ import annotations

from typing import Any

import torch

#: hidden 24, 4 heads of 6, 20 neurons, 3 layers; ELECTRA once with narrow embeddings and once without, ModernBERT once
#: without biases in its layers, as they are published, and once with them.
FAMILIES = (
    "bert",
    "electra",
    "electra-wide",
    "roberta",
    "xlm-roberta",
    "camembert",
    "distilbert",
    "mpnet",
    "modernbert",
    "modernbert-biased",
)
_COMMON = {"vocab_size": 50, "max_position_embeddings": 40}
_WINDOW = {"local_attention": 2, **{f"{part}_dropout": 0.1 for part in ("embedding", "attention", "mlp", "classifier")}}
_TOKENS = {"pad_token_id": 0, **{f"{name}_token_id": i for i, name in enumerate(("bos", "eos", "cls", "sep"), 1)}}
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
        # a window of a token to either side, so that it is felt; the layers are global, local, local
        "modernbert": lambda: t.ModernBertConfig(**_COMMON, **_SHAPE, **_WINDOW, **_TOKENS),
        "modernbert-biased": lambda: t.ModernBertConfig(
            **_COMMON,
            **_SHAPE,
            **_WINDOW,
            **_TOKENS,
            attention_bias=True,
            mlp_bias=True,
            norm_bias=True,
        ),
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
