"""How nearly the masks of prune.cofi follow the sparsity that is asked of them, by the length of the training.

Texts are cut to a few tokens and batches are small, so that thousands of steps take minutes: what is measured is
whether the masks follow, and not what the model keeps. A second start with the same --work goes on where the first
stopped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.common import CLASSIFICATIONS, TASKS, arguments, save
from edgeopt.results.figures import ASKED_CURVE, SPARSITY_CURVE
from edgeopt.step import registry
from edgeopt.testing.build import build, step

STEPS, SPARSITIES = (200, 600, 2000), (0.6, 0.8, 0.9)
SMALL = {"batch_size": 2, "learning_rate": 5e-5}


def main() -> None:
    parser = arguments(__doc__ or "", repeats=None)
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="model folders, in place of --model")
    parser.add_argument("--task", choices=CLASSIFICATIONS, default="sst2", help="columns that --data has")
    parser.add_argument("--tokens", type=int, default=8, help="of a text")
    parser.add_argument("--work", type=Path, required=True, help="keep store and results here, to go on from")
    options = parser.parse_args()
    file = options.work / "cofi_ramp.json"
    done: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for steps in STEPS:
        for model in options.models:
            for sparsity in SPARSITIES:
                key = f"{model.name}, {sparsity:g}, {steps}"
                if key not in done:
                    done[key] = followed(model, sparsity, steps, options)
                    print(key, done[key], flush=True)
                    file.write_text(json.dumps(done, indent=1), encoding="utf-8")
        save("cofi_ramp", {"what": "masks of prune.cofi", "tokens": options.tokens, **SMALL, "results": done})


def followed(model: Path, sparsity: float, steps: int, options: Any) -> dict[str, Any]:
    """The largest gap between what was asked and what the masks gave, and where they came to."""
    task = {
        "type": "text-classification",
        "dataset": {"path": str(options.data.resolve()), "max_rows": {"train": 2000}},
        "label": "label",
        **TASKS[options.task],
        "max_length": options.tokens,
    }
    keys = {**SMALL, "sparsity": sparsity, "max_steps": steps, "recover": None}
    named = [
        step(registry.get("finetune"), {**SMALL, "max_steps": 50}, "tune"),
        step(registry.get("prune.cofi"), keys, "cut"),
    ]
    built = build(named, model=model, data=Path(), store=options.work.resolve() / "store", task=task)
    figures = next(d.state.figures for d in built.chains["candidate"] if d.step.id == "cut")
    asked, learned = (dict(figures["curves"][name]) for name in (ASKED_CURVE, SPARSITY_CURVE))
    return {
        "model": model.name,
        "asked": sparsity,
        "steps": steps,
        "masks": figures["masks"],
        "largest_gap": round(max(abs(asked[at] - learned[at]) for at in asked), 4),
        "learned": figures["asked_sparsity"]["learned"],
        "got": figures["asked_sparsity"]["got"],
    }


if __name__ == "__main__":
    main()
