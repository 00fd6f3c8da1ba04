"""Tiny models of every family with random weights, biases and norms included: whatever is cut must show."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import onnxruntime as ort
import torch

#: hidden 24, 4 heads of 6, 20 neurons, 3 layers; ELECTRA once with narrow embeddings and once without; ModernBERT once
#: without biases in its layers, as they are published, and once with them; DeBERTa as version 3, as version 2, and with
#: everything that its config may ask for besides.
FAMILIES = (
    "bert",
    "electra",
    "electra-wide",
    "roberta",
    "xlm-roberta",
    "camembert",
    "data2vec-text",
    "distilbert",
    "mpnet",
    "modernbert",
    "modernbert-biased",
    "deberta-v2",
    "deberta-v2-conv",
    "deberta-v2-apart",
)
_COMMON = {"vocab_size": 50, "max_position_embeddings": 40}
_WINDOW = {"local_attention": 2, **{f"{part}_dropout": 0.1 for part in ("embedding", "attention", "mlp", "classifier")}}
_TOKENS = {"pad_token_id": 0, **{f"{name}_token_id": i for i, name in enumerate(("bos", "eos", "cls", "sep"), 1)}}
_RELATIVE = {
    "pooler_dropout": 0.1,
    "relative_attention": True,
    "position_buckets": 4,
    "pos_att_type": "p2c|c2p",
    "max_relative_positions": 16,
}
_SHAPE = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 20}


def tiny(family: str, **changed: Any) -> Any:
    """A sequence classifier in evaluation mode, every parameter random and far from its start.

    changed: of its config.
    """
    import transformers as t

    torch.manual_seed(0)
    configs: dict[str, Any] = {
        "bert": lambda: t.BertConfig(**_COMMON, **_SHAPE),
        "electra": lambda: t.ElectraConfig(embedding_size=16, **_COMMON, **_SHAPE),
        "electra-wide": lambda: t.ElectraConfig(embedding_size=24, **_COMMON, **_SHAPE),
        "roberta": lambda: t.RobertaConfig(**_COMMON, **_SHAPE),
        "xlm-roberta": lambda: t.XLMRobertaConfig(**_COMMON, **_SHAPE),
        "camembert": lambda: t.CamembertConfig(**_COMMON, **_SHAPE),
        "data2vec-text": lambda: t.Data2VecTextConfig(**_COMMON, **_SHAPE),
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
        # far positions share rows of the table from two tokens on
        "deberta-v2": lambda: t.DebertaV2Config(
            **_COMMON,
            **_SHAPE,
            **_RELATIVE,
            position_biased_input=False,
            share_att_key=True,
            norm_rel_ebd="layer_norm",
        ),
        "deberta-v2-conv": lambda: t.DebertaV2Config(
            **_COMMON,
            **_SHAPE,
            **_RELATIVE,
            position_biased_input=False,
            share_att_key=True,
            norm_rel_ebd="layer_norm",
            conv_kernel_size=3,
            conv_act="gelu",
        ),
        "deberta-v2-apart": lambda: t.DebertaV2Config(
            **_COMMON, **_SHAPE, **_RELATIVE, type_vocab_size=2, embedding_size=16
        ),
    }
    config = configs[family]()
    config.update(changed)
    model = t.AutoModelForSequenceClassification.from_config(config).eval()
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


def traced(
    model: Any, path: Path, example: tuple[torch.Tensor, ...] | None = None, names: tuple[str, str] = ("ids", "mask")
) -> None:
    """Write the graph of a model's logits, whose two inputs have open axes. example: of both; default: `inputs`."""

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> Any:
            return self.model(input_ids=ids, attention_mask=mask).logits

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Logits().eval(),
            example or tuple(inputs().values()),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=[*names],
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "sequence"} for name in names},
        )


#: Rows of three tokens and of two: a graph that is traced on them must answer to others.
SHORT = torch.full((2, 3), 7), torch.tensor([[1, 1, 1], [1, 1, 0]])


def right_at(length: int, model: Any, session: ort.InferenceSession) -> None:
    """Hold a graph against its model on a text of so many tokens and on a padded one, alone too."""
    ids = torch.randint(5, 50, (2, length), generator=torch.Generator().manual_seed(length))
    mask = torch.ones_like(ids)
    mask[1, (length + 1) // 2 :] = 0
    with torch.no_grad():
        wanted = model(input_ids=ids, attention_mask=mask).logits
        alone = model(input_ids=ids[1:, : (length + 1) // 2]).logits
    found = torch.from_numpy(session.run(None, {"ids": ids.numpy(), "mask": mask.numpy()})[0])
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-5, msg=lambda text: f"{length}: {text}")
    torch.testing.assert_close(found[1:], alone, atol=2e-5, rtol=1e-5)
