"""Which pruning when: every method at the same multiply-accumulates and the same training seconds, several seeds.

Each starts from the same fine-tuned model and may use the same seconds of processor time, in one thread. What the cut
leaves of them goes into distillation from the model as it was, on its layers and logits, with a rate that falls to 0.
Seconds are those of the processor, so that other programs on the machine do not change what a method may do; two short
runs of each training say beforehand how many steps fit, and a run that missed the seconds by more than an eighth is
made again with as many steps as it says. Each is measured in a store of its own that has the fine-tuned model alone, so
that nothing comes from a run before. The seeds are of what comes after the fine-tuning. A second
start with the same --work goes on where the first stopped.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.common import CLASSIFICATIONS, TASKS, arguments, save
from edgeopt.data.sources import load_data
from edgeopt.models.source import structure_in
from edgeopt.models.structure import of_config
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step import registry
from edgeopt.store.store import State
from edgeopt.tasks import task_of
from edgeopt.tasks.encode import Encoder
from edgeopt.testing.build import build, step

Steps = list[tuple[str, dict[str, Any]]]
#: Tokens of a text whose multiply-accumulates are counted; optimizer steps of the short runs.
TOKENS, FEW, MORE = 128, 8, 40
#: The share of the seconds that a run may miss them by, and how often it is made again.
MISSED, RETRIES = 0.125, 2
#: What a model follows of its teacher: as prune.cofi does.
LOSSES = {"logits": 0.1, "hidden": 0.9}
#: Of the optimizer steps of prune.cofi, the share in which masks are learned.
MASKS = 0.3
METHODS = ("fisher", "cofi", "layers", "narrow", "smaller")


def main() -> None:
    parser = arguments(__doc__ or "", repeats=None)
    parser.add_argument("--task", choices=CLASSIFICATIONS, default="mrpc", help="columns that --data has")
    parser.add_argument("--max-rows", type=int, help="of train; validation is used whole")
    parser.add_argument("--epochs", type=float, default=3.0, help="of the fine-tuning before")
    parser.add_argument("--macs", type=float, required=True, help="share of the layers' multiply-accumulates to leave")
    parser.add_argument("--seconds", type=float, default=300.0, help="of the processor, for each method")
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate behind the fine-tuning")
    parser.add_argument("--seeds", type=int, default=3, help="from 42 on")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma between them")
    parser.add_argument("--smaller", type=Path, required=True, help="a smaller pretrained model; its first layers")
    parser.add_argument("--work", type=Path, required=True, help="keep store and results here, to go on from")
    parser.add_argument("--name", default="which_pruning", help="of the file in results/")
    options = parser.parse_args()
    bench = Bench(options)
    file = options.work / f"{options.name}.json"
    done: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for seed in range(42, 42 + options.seeds):
        for method in options.methods.split(","):
            if f"{method}/{seed}" not in done:
                done[f"{method}/{seed}"] = found = bench.measured(method, seed)
                print(method, seed, found, flush=True)
                file.write_text(json.dumps(done, indent=1), encoding="utf-8")
            save(options.name, bench.result(done))


class Bench:
    """One task, one share of the multiply-accumulates."""

    def __init__(self, options: Any) -> None:
        self.options, self.store = options, options.work.resolve() / "store"
        limit = {"max_rows": {"train": options.max_rows}} if options.max_rows else {}
        self.task = {
            "type": "text-classification",
            "dataset": {"path": str(options.data.resolve()), **limit},
            "label": "label",
            **TASKS[options.task],
        }
        self.tune: Steps = [("finetune", {"epochs": options.epochs, "learning_rate": 5e-5, "batch_size": 32})]
        self.tuned = self.built(self.tune)[0]
        self.dense = structure_in(self.tuned.folder)

    def built(self, steps: Steps, model: Path | None = None, store: Path | None = None) -> tuple[State, float]:
        """The last torch state of the steps, and the processor seconds that building them took."""
        began = time.process_time()
        named = [step(registry.get(use), keys, f"s{i}" if i else "tune") for i, (use, keys) in enumerate(steps)]
        done = build(named, model=model or self.options.model, data=Path(), store=store or self.store, task=self.task)
        states = [d.state for d in done.chains["candidate"] if d.step.id == named[-1].id]
        return states[-1], time.process_time() - began

    def plan(self, method: str, seed: int, count: int) -> tuple[Steps, Path | None]:
        """The steps of a method whose trainings have `count` optimizer steps, and its model if it is another."""
        options = self.options
        train = {"learning_rate": options.rate, "batch_size": 32, "seed": seed}
        follow = {**train, "max_steps": count, "teacher": "tune", "losses": LOSSES}
        layers = max(1, round(options.macs * len(self.dense.layers)))
        if method == "fisher":
            return [*self.tune, ("prune.fisher", {"macs": options.macs}), ("distill", follow)], None
        if method == "cofi":
            masks = max(1, round(count * MASKS))
            recover = {**train, "max_steps": max(1, count - masks)}
            keys = {**train, "max_steps": masks, "sparsity": 1 - options.macs, "sparsity_warmup": 0.6}
            return [*self.tune, ("prune.cofi", {**keys, "recover": recover})], None
        if method == "layers":
            step_ = len(self.dense.layers) / layers
            kept = sorted({round(step_ * (i + 1)) - 1 for i in range(layers)})
            return [*self.tune, ("distill", {**follow, "student": {"layers": kept}})], None
        if method == "narrow":
            share, dense = options.macs**0.5, self.dense.dense
            student = {
                "hidden": round(dense.hidden * share / 8) * 8,
                "heads": max(1, round(dense.heads * share)),
                "neurons": round(dense.neurons * share / 8) * 8,
            }
            return [*self.tune, ("distill", {**follow, "student": student})], None
        config = json.loads((options.smaller / "config.json").read_text(encoding="utf-8"))
        most = len(of_config(config).layers)
        student = {"first": layers} if layers < most else {}
        keys = {**follow, "teacher": str(self.tuned.folder), "student": student}
        return [("distill", keys)], options.smaller

    def measured(self, method: str, seed: int) -> dict[str, Any]:
        """What is left of the metric, of the multiply-accumulates and of the seconds."""
        with TemporaryDirectory(dir=self.options.work) as folder:
            shutil.copytree(self.store, store := Path(folder) / "store")
            return self._measured(partial(self.plan, method, seed), store)

    def _measured(self, plan: Callable[[int], tuple[Steps, Path | None]], store: Path) -> dict[str, Any]:
        def run(count: int) -> tuple[State, float]:
            return self.built(*plan(count), store=store)

        first, second = run(FEW)[1], run(MORE)[1]
        again = run(FEW + 1)[1]  # what is not trained is in the store by now, or was never
        each = (second - again) / (MORE - FEW - 1)
        count = max(MORE, round((self.options.seconds - first) / each) + FEW)
        state, seconds = run(count)
        for _ in range(RETRIES):
            missed = self.options.seconds - (seconds + max(0.0, first - again))
            if abs(missed) < MISSED * self.options.seconds:
                break
            count = max(MORE, count + round(missed * (count - FEW - 1) / (seconds - again)))
            state, seconds = run(count)
        structure = structure_in(state.folder)
        return {
            "accuracy": self.accuracy(state.folder),
            "macs_left": round(structure.macs(TOKENS) / self.dense.dense.structure.macs(TOKENS), 4),
            "parameters": state.figures["parameters"],
            "optimizer_steps": count,
            "processor_seconds": round(seconds + max(0.0, first - again), 1),
        }

    def accuracy(self, folder: Path) -> float:
        """Of the torch model on the report split."""
        import torch

        from edgeopt.models.load import load_model, takes

        spec = TaskSpec.model_validate(self.task)
        data = load_data(spec, Path.cwd())
        model, task, encoder = load_model(folder), task_of(spec, data.label_names), Encoder(folder, spec.max_length)
        rows, _ = task.training_rows(encoder, data.report, takes(model))
        collate, right = task.collator(encoder), 0
        with torch.inference_mode():
            for start in range(0, len(rows), 32):
                batch = collate(rows[start : start + 32])
                labels = batch.pop("labels")
                right += int((model(**batch).logits.argmax(-1) == labels).sum())
        return round(right / len(rows), 5)

    def result(self, done: dict[str, Any]) -> dict[str, Any]:
        """Means over the seeds that are done, and each run."""
        options = self.options
        dense = self.accuracy(self.tuned.folder)
        results = {}
        for method in METHODS:
            runs = {key.partition("/")[2]: run for key, run in done.items() if key.startswith(f"{method}/")}
            if runs:
                scores = [run["accuracy"] for run in runs.values()]
                results[method] = {
                    "accuracy": round(mean(scores), 5),
                    "change": round(mean(scores) - dense, 5),
                    "std": round(stdev(scores), 5) if len(scores) > 1 else None,
                    "macs_left": round(float(np.mean([run["macs_left"] for run in runs.values()])), 4),
                    "seconds": round(mean(run["processor_seconds"] for run in runs.values()), 1),
                    "runs": runs,
                }
        return {
            "what": "methods of pruning at the same multiply-accumulates and the same processor seconds",
            "model": options.model.name,
            "smaller": options.smaller.name,
            "task": options.task,
            "train_rows": options.max_rows or "all",
            "dense_accuracy": dense,
            "macs": options.macs,
            "seconds": options.seconds,
            "rate": options.rate,
            "settings": {m: self.plan(m, 42, 100)[0][-2:] for m in METHODS if m != "smaller"},
            "results": results,
        }


if __name__ == "__main__":
    main()
