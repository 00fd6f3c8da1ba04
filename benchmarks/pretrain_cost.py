"""The cost of an ELECTRA's step on the shapes of the Fast-ELECTRA paper (Dong et al. 2024), by counting.

The formulas are those of `edgeopt plan --cost`. Beside them stands what torch's FlopCounterMode counts of a pass forth
and back, on tensors without contents, with the first of the vocabularies. Nothing is trained, so no text is needed.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining

from benchmarks.common import save
from edgeopt.models.cost import Pass, Rows, flops, generator_config, memory, parameters
from edgeopt.models.shapes import shape_of

#: GFLOPs of a step and GB, as printed.
PAPER = {
    "electra-base": {"main": 591.9, "original": 398.6, "frozen": 132.9, "gb_original": 30.0, "gb_frozen": 23.3},
    "electra-large": {"main": 1407.7, "original": 653.9, "frozen": 218.0, "gb_original": 74.6, "gb_frozen": 60.6},
}
#: The auxiliary models: layers as a share of the model's, and its width; and whether every token is scored, or those
#: that are hidden.
AUXILIARY = {
    "ELECTRA's generator": {"electra-base": (1.0, 1 / 3), "electra-large": (1.0, 0.25), "all": False},
    "as wide, a third as deep": {"electra-base": (1 / 3, 1.0), "electra-large": (1 / 3, 1.0), "all": False},
    "as wide, a third as deep, all tokens scored": {
        "electra-base": (1 / 3, 1.0),
        "electra-large": (1 / 3, 1.0),
        "all": True,
    },
    "as wide, a quarter as deep, all tokens scored": {
        "electra-base": (0.25, 1.0),
        "electra-large": (0.25, 1.0),
        "all": True,
    },
}
MASK = 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 512], help="tokens of a row")
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[30_522, 64_000])
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 64], help="of a batch, for the memory")
    options = parser.parse_args()
    cases = [
        case(model, name, tokens, vocab, options.rows, counts=vocab == options.vocabularies[0])
        for model in PAPER
        for vocab in options.vocabularies
        for tokens in options.lengths
        for name in AUXILIARY
    ]
    fit = {model: _fit(model, max(options.lengths)) for model in PAPER}
    save("pretrain_cost", {"mask": MASK, "paper": {m: _paper(m) for m in PAPER}, "fit": fit, "cases": cases})


def _paper(model: str) -> dict[str, float]:
    """What is printed, and what follows from it."""
    p = PAPER[model]
    return {
        **p,
        "auxiliary_share": round(p["original"] / p["main"], 3),
        "ratio": round((p["main"] + p["frozen"]) / (p["main"] + p["original"]), 3),
        "offline_ratio": round(p["main"] / (p["main"] + p["original"]), 3),
        "memory_ratio": round(p["gb_frozen"] / p["gb_original"], 3),
    }


def _fit(model: str, tokens: int) -> dict[str, Any]:
    """What would make our count the paper's.

    rows: of that many tokens, for the main model's FLOPs. vocabulary: with which the auxiliary model costs as much of
    the main model's as in the paper, if it is a third as deep and scores every token.
    """
    name = "as wide, a third as deep, all tokens scored"
    few, many = (case(model, name, tokens, vocab, [], counts=False)["gflops"] for vocab in (10_000, 100_000))
    slope = (many["original"] - few["original"]) / 90_000 / few["main"]
    share = PAPER[model]["original"] / PAPER[model]["main"]
    return {
        "tokens": tokens,
        "rows": round(PAPER[model]["main"] / few["main"], 2),
        "vocabulary": round(10_000 + (share - few["original"] / few["main"]) / slope),
    }


def case(model: str, name: str, tokens: int, vocab: int, batches: list[int], *, counts: bool) -> dict[str, Any]:
    """One model with one auxiliary model: FLOPs of a row, and bytes of batches. counts: whether torch counts too."""
    config = {**shape_of(model), "vocab_size": vocab, "max_position_embeddings": tokens}
    depth, width = AUXILIARY[name][model]  # type: ignore[index]
    layers = round(config["num_hidden_layers"] * depth)
    beside = {**generator_config(config, width), "num_hidden_layers": layers}
    guessed = tokens if AUXILIARY[name]["all"] else round(MASK * tokens)
    passes = {
        "main": Pass("main", config, "all", "detection"),
        "original": Pass("auxiliary", beside, "all", "words", shares_embeddings=True),
        "frozen": Pass("auxiliary", beside, "none", "words"),
    }
    rows = Rows(1, tokens, guessed)
    formula = {part: flops(each, rows).total / 1e9 for part, each in passes.items()}
    counted = {part: _counted(each, tokens, guessed) / 1e9 for part, each in passes.items()} if counts else {}
    whole = {way: formula["main"] + formula.get(way, 0.0) for way in ("original", "frozen", "offline")}
    return {
        "model": model,
        "auxiliary": name,
        "auxiliary_shape": [layers, beside["hidden_size"]],
        "tokens": tokens,
        "vocabulary": vocab,
        "gflops": {part: round(value, 2) for part, value in formula.items()},
        "gflops_counted": {part: round(value, 2) for part, value in counted.items()},
        "auxiliary_share": round(formula["original"] / formula["main"], 3),
        "ratio": round(whole["frozen"] / whole["original"], 3),
        "offline_ratio": round(whole["offline"] / whole["original"], 3),
        "parameters": {part: parameters(each) for part, each in passes.items()},
        "memory": [_memory(passes, Rows(n, tokens, guessed)) for n in batches],
    }


def _memory(passes: dict[str, Pass], rows: Rows) -> dict[str, Any]:
    held = {part: memory(each, rows) for part, each in passes.items()}
    whole = {"original": held["original"].total, "frozen": held["frozen"].total, "offline": 0.0}
    totals = {way: held["main"].total + value for way, value in whole.items()}
    return {
        "rows": rows.count,
        "gb": {part: {k: round(v / 1e9, 3) for k, v in found._asdict().items()} for part, found in held.items()},
        "ratio": round(totals["frozen"] / totals["original"], 3),
        "offline_ratio": round(totals["offline"] / totals["original"], 3),
    }


def _counted(model: Pass, tokens: int, guessed: int) -> float:
    config = json.dumps({k: v for k, v in model.config.items() if k != "model_type"}, sort_keys=True)
    return count(config, model.head == "words", model.trained == "all", tokens, guessed)


@cache
def count(config: str, words: bool, trained: bool, tokens: int, guessed: int) -> float:
    """What torch counts of a row's way forth, and back where the model is trained."""
    cls = ElectraForMaskedLM if words else ElectraForPreTraining
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        made = cls(ElectraConfig(**json.loads(config))).train()
        ids = torch.zeros(1, tokens, dtype=torch.long)
        with torch.set_grad_enabled(trained):
            hidden = made.electra(ids).last_hidden_state
            if words:
                scores = made.generator_lm_head(made.generator_predictions(hidden[:, :guessed]))
            else:
                scores = made.discriminator_predictions(hidden)
            if trained:
                scores.sum().backward()
        return float(counter.get_total_flops())


if __name__ == "__main__":
    main()
