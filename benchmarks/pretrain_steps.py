"""ELECTRA of 4 layers × 256: the original, with a frozen auxiliary model, and with its tokens replaced before.

Two measurements, whose results are kept in --work, from which a second start goes on:

cost: optimizer steps of each way, in processes of their own that take turns. The ratios are those of one turn.
curves: trainings of the same length on plain text, at each learning rate. Offline is trained at the first rate alone,
to see whether its weights are those of frozen.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import save, spread, worker
from edgeopt import api
from edgeopt.plan import make_plan
from edgeopt.recipe.load import Recipe
from edgeopt.run.execute import execute
from edgeopt.run.fetch import fetch
from edgeopt.run.processes import Group
from edgeopt.store.store import Store
from edgeopt.support import host
from edgeopt.support.progress import Progress

WAYS = ("original", "frozen", "offline")
SHAPE = {"like": "electra-small", "num_hidden_layers": 4}
AUXILIARY_LAYERS = 2
CURVES = (
    "loss",
    "eval_held_out_loss",
    "eval_held_out_accuracy",
    "eval_held_out_precision",
    "eval_held_out_recall",
    "eval_held_out_auxiliary_accuracy",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True, help="plain text to train on, a document a line")
    parser.add_argument("--work", type=Path, required=True, help="keep store and results here, to go on from")
    parser.add_argument("--vocab", type=int, default=8000)
    parser.add_argument("--rows", type=int, default=8, help="of a batch")
    parser.add_argument("--tokens", type=int, default=64, help="of a row")
    parser.add_argument("--steps", type=int, default=80, help="optimizer steps of a training")
    parser.add_argument("--auxiliary-steps", type=int, default=160, help="of the auxiliary model's own training")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 2e-3, 8e-3])
    parser.add_argument("--turns", type=int, default=3, help="of the measurement of costs")
    parser.add_argument("--turn-steps", type=int, default=6, help="optimizer steps of a turn; the first is left out")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    file = options.work / "pretrain_steps.json"
    done: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    auxiliary = trained(
        options, AUXILIARY_LAYERS, [pretraining(options, "pretrain.mlm", options.auxiliary_steps, 1e-3)]
    )
    done.setdefault("auxiliary", told(auxiliary))

    def keep(key: str, value: dict[str, Any]) -> None:
        done[key] = value
        file.write_text(json.dumps(done, indent=1), encoding="utf-8")
        print(key, flush=True)
        save("pretrain_steps", {**_what(options), **_tables(done, options)})

    model = begun(options)
    for turn in range(options.turns):
        if f"turn {turn}" not in done:
            task = {
                "model": str(model),
                "auxiliary": str(auxiliary.folder),
                "rows": options.rows,
                "tokens": options.tokens,
                "steps": options.turn_steps,
            }
            ways = WAYS[turn % 3 :] + WAYS[: turn % 3]
            keep(f"turn {turn}", {w: json.loads(worker("benchmarks.pretrain_step", {**task, "way": w})) for w in ways})
    for rate in options.rates:
        for way in WAYS if rate == options.rates[0] else WAYS[:2]:
            key = f"{way}, {rate:g}"
            if key not in done:
                more = {"auxiliary": "joint"} if way == "original" else {"auxiliary": str(auxiliary.folder)}
                more |= {"offline": True} if way == "offline" else {}
                keep(
                    key, told(trained(options, 4, [pretraining(options, "pretrain.rtd", options.steps, rate, **more)]))
                )


def recipe(options: Any, layers: int, steps: list[dict[str, Any]]) -> Recipe:
    """A recipe with a task of a few rows, which it needs to end in one."""
    rows = options.work.resolve() / "rows"
    rows.mkdir(exist_ok=True)
    for split in ("train", "validation"):
        texts = [{"text": f"text number {i}", "label": i % 2} for i in range(16)]
        (rows / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts), encoding="utf-8")
    few = {"max_steps": 2, "batch_size": 2, "precision": "fp32", "learning_rate": 1e-3}
    tokenizer = {"train": {"vocab": options.vocab, "files": str(options.text.resolve())}}
    made = api.load(
        {
            "edgeopt": 1,
            "name": "pretrain-steps",
            "model": {"config": {**SHAPE, "num_hidden_layers": layers}, "tokenizer": tokenizer},
            "task": {"type": "text-classification", "dataset": {"path": str(rows)}, "text": "text", "max_length": 16},
            "baseline": {"finetune": few},
            "steps": [*steps, {"use": "finetune", **few}],
        }
    )
    assert isinstance(made, Recipe)
    return made


def trained(options: Any, layers: int, steps: list[dict[str, Any]]) -> Any:
    """The state that the first of the steps leaves, the store's where it is there."""
    store = Store(options.work.resolve() / "store")
    found = execute(make_plan(recipe(options, layers, steps), store), store, Progress(), Group())
    return found.chains["candidate"][0].state


def pretraining(options: Any, use: str, steps: int, rate: float, **more: Any) -> dict[str, Any]:
    """A step of a recipe, with the benchmark's options."""
    corpus = {"data_files": str(options.text.resolve()), "documents": "line", "held_out": 0.002}
    return {
        "use": use,
        "id": "pretrain",
        "corpus": corpus,
        "max_steps": steps,
        "batch_size": options.rows,
        "max_length": options.tokens,
        "learning_rate": rate,
        "bias_correction": False,
        "precision": "fp32",
        **more,
    }


def begun(options: Any) -> Path:
    """The folder of the model that is trained, with its first weights."""
    store = Store(options.work.resolve() / "store")
    plan = fetch(make_plan(recipe(options, 4, [pretraining(options, "pretrain.mlm", 1, 1e-3)]), store), store)
    assert plan.source.folder is not None
    return plan.source.folder


def told(state: Any) -> dict[str, Any]:
    """What is kept of a pre-trained state."""
    figures = state.figures
    names = ("train_loss", "computing_seconds", "optimizer_steps", "corruption", "step_cost", "divergence")
    return {
        **{name: figures[name] for name in names if name in figures},
        "curves": {name: figures["curves"][name] for name in CURVES if name in figures["curves"]},
        "weights": state.files["model.safetensors"]["sha256"],
    }


def _what(options: Any) -> dict[str, Any]:
    names = ("rows", "tokens", "vocab", "steps", "auxiliary_steps", "rates", "turns", "turn_steps")
    return {
        "shape": SHAPE,
        "auxiliary_layers": AUXILIARY_LAYERS,
        "text": options.text.name,
        **{name: getattr(options, name) for name in names},
        "threads": host.cpus(),
    }


def _tables(done: dict[str, Any], options: Any) -> dict[str, Any]:
    """Trainings by way and rate, and of the turns the medians and the ratios to the original of the same turn."""
    turns = [done[key] for key in sorted(done) if key.startswith("turn ")]
    per_step = [{way: median(found[way]["seconds"][1:]) for way in WAYS} for found in turns]
    cost = {
        way: {
            "seconds": spread([t[way] for t in per_step]),
            "seconds_ratio": spread([t[way] / t["original"] for t in per_step]),
            "peak_mb": spread([t[way]["peak_bytes"] / 1e6 for t in turns], 1),
            "above_mb": spread([t[way]["above_bytes"] / 1e6 for t in turns], 1),
            "above_ratio": spread([t[way]["above_bytes"] / t["original"]["above_bytes"] for t in turns]),
        }
        for way in WAYS
        if turns
    }
    trainings = {key: value for key, value in done.items() if key.partition(",")[0] in WAYS}
    first = [f"{way}, {options.rates[0]:g}" for way in ("frozen", "offline")]
    same = {done[key]["weights"] for key in first if key in done}
    return {
        "cost": cost,
        "auxiliary": done["auxiliary"],
        "trainings": trainings,
        "offline_has_the_weights_of_frozen": len(same) == 1 if first[1] in done else None,
    }


if __name__ == "__main__":
    main()
