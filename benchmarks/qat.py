"""Quantization-aware training beside rounding, with 8-bit and with 4-bit weights.

One fine-tuned encoder for each task and model. From it, for each seed: static min-max ranges; `quantize.qat` with its
defaults; and the control, which trains in float on the labels for as many steps and is then quantized statically. The
figures are of the graphs that are shipped, with exact sums as processors with int8 dot products compute them. Distance
is the mean KL of the answers from those of the fine-tuned model, and of scores the squared difference over their
variance. A second start with the same --work goes on where the first stopped, and the results are written after each
seed of each table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import TASKS, save
from edgeopt.export.session import input_names, open_session
from edgeopt.models.files import GRAPH
from edgeopt.plan import make_plan
from edgeopt.plan.steps import Plan
from edgeopt.recipe.load import load_recipe
from edgeopt.run.execute import Executed, execute
from edgeopt.run.processes import Group
from edgeopt.store.store import Store
from edgeopt.support.progress import Progress
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.encode import Encoder, length

TASK_NAMES = ("sst2", "mrpc", "stsb")
#: Ways to come to a graph, each with 8-bit and with 4-bit weights.
WAYS = ("static", "float-then-static", "qat")
BITS = ("int8", "int4")
_BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, nargs="+", required=True, help="model folders")
    parser.add_argument("--data", type=Path, required=True, help="folder with sst2, mrpc and stsb")
    parser.add_argument("--max-rows", type=int, default=2000, help="of train; validation is used whole")
    parser.add_argument("--epochs", type=float, default=2.0, help="of the fine-tuning before")
    parser.add_argument("--steps", type=int, default=64, help="of 16 rows: of QAT and its control")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, required=True, help="keep store and results here, to go on from")
    options = parser.parse_args()
    work = options.work.resolve()
    for seed, model, task, bits in product(range(1, options.seeds + 1), options.models, TASK_NAMES, BITS):
        one(task, model, bits, seed, options, work)
        written(options, work)


def one(task: str, model: Path, bits: str, seed: int, options: Any, work: Path) -> None:
    """Measure all ways for one seed of one table and width of weights, those that are not measured yet."""
    name = f"{task}-{model.name}"
    kept = work / "measured" / f"{name}-{seed}.json"
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    if all(f"{way}-{bits}" in found for way in WAYS):
        return
    print(name, bits, seed, file=sys.stderr)
    start = tuned(task, model, options, work)
    fp32: Any = None
    for way in WAYS:
        if f"{way}-{bits}" in found:
            continue
        plan, done = made(recipe(task, start, steps(way, bits, seed, options), options, seed), work)
        assert plan.data is not None
        judge = Judged(plan, task)
        if fp32 is None:
            fp32 = judge.logits(done.final("baseline").folder)
            found["fp32"] = {"metric": judge.metric(fp32)}
        logits = judge.logits(done.final("candidate").folder)
        last = done.chains["candidate"][-1].state
        found[f"{way}-{bits}"] = {
            "metric": judge.metric(logits),
            "distance": judge.distance(logits, fp32),
            "bytes": (last.folder / GRAPH).stat().st_size,
            "seconds": round(sum(d.state.figures.get("train_seconds", 0.0) for d in done.chains["candidate"]), 1),
            **({"parity": last.figures["parity"]} if way == "qat" else {}),
        }
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found), encoding="utf-8")


def steps(way: str, bits: str, seed: int, options: Any) -> list[dict[str, Any]]:
    """The steps behind the fine-tuning."""
    trained = {"max_steps": options.steps, "batch_size": 16, "seed": seed}
    static = {"id": "int", "use": "quantize.static", "weights": bits}
    if way == "static":
        return [static]
    if way == "qat":
        return [{"id": "int", "use": "quantize.qat", "weights": bits, **trained}]
    return [{"id": "more", "use": "finetune", **trained, "learning_rate": 2e-5}, static]


def recipe(task: str, model: Path, given: list[dict[str, Any]], options: Any, seed: int) -> dict[str, Any]:
    return {
        "edgeopt": 1,
        "name": "qat",
        "model": {"id": str(model.resolve())},
        "task": {
            "type": "text-classification",
            "dataset": {"path": str((options.data / task).resolve()), "max_rows": {"train": options.max_rows}},
            **TASKS[task],
        },
        "baseline": {},
        "steps": given,
        "seed": seed,
    }


def made(content: dict[str, Any], work: Path) -> tuple[Plan, Executed]:
    """The plan of a recipe and the states of its steps."""
    path = work / "recipe.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    store = Store(work / "store")
    plan = make_plan(load_recipe(path), store)
    return plan, execute(plan, store, Progress(show=False), Group())


def tuned(task: str, model: Path, options: Any, work: Path) -> Path:
    """The folder of the fine-tuned model that all ways start from."""
    folder = work / "tuned" / f"{task}-{model.name}"
    if not folder.exists():
        training = {"epochs": options.epochs, "learning_rate": 1e-4, "batch_size": 32}
        content = recipe(task, model, [{"id": "tune", "use": "finetune", **training}], options, 42)
        _, done = made({**content, "baseline": {"finetune": training}}, work)
        shutil.copytree(done.torch_state("candidate").folder, folder)
    return folder


class Judged:
    """What graphs answer to the rows that are reported on."""

    def __init__(self, plan: Plan, task: str) -> None:
        assert plan.data is not None
        self.task: Task = task_of(plan.recipe.head.task, plan.data.label_names)
        self.rows, self.name = plan.data.report, task

    def logits(self, folder: Path) -> Any:
        """Of batches of like length; integer products in float, which holds their sums."""
        encoder = Encoder(folder, self.task.spec.max_length)
        ids = self.task.encode(encoder, self.rows.texts).ids
        session = open_session(
            folder / GRAPH, {"graph_optimization_level": "ORT_DISABLE_ALL", "intra_op_num_threads": 1}
        )
        names, order = input_names(session), sorted(range(len(ids)), key=lambda i: length(ids[i]))
        found: list[Any] = [None] * len(ids)
        for start in range(0, len(ids), _BATCH):
            picked = order[start : start + _BATCH]
            feed = {k: v for k, v in encoder.pad([ids[i] for i in picked]).items() if k in names}
            for i, answer in zip(picked, session.run(["logits"], feed)[0], strict=True):
                found[i] = answer
        return np.stack(found)

    def metric(self, logits: Any) -> float:
        """The task's first metric."""
        values = self.task.metrics(self.task.stack_labels(self.rows.labels), logits)
        return round(float(values[self.task.spec.metric_names[0]]), 5)

    def distance(self, logits: Any, fp32: Any) -> float:
        if not self.task.softmax:
            return round(float(np.mean((logits - fp32) ** 2) / np.var(fp32)), 6)
        p, q = (x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in (fp32.astype(float), logits.astype(float)))
        return round(float((np.exp(p) * (p - q)).sum(-1).mean()), 6)


def written(options: Any, work: Path) -> None:
    """Write the results of all that is measured so far."""
    tables: dict[str, Any] = {}
    for path in sorted((work / "measured").glob("*.json")):
        name, _, seed = path.stem.rpartition("-")
        tables.setdefault(name, {})[seed] = json.loads(path.read_text(encoding="utf-8"))
    save(
        "qat",
        {
            "what": "QAT, its control and static min-max, from one fine-tuned model a table; exact integer sums",
            "settings": {way: {bits: steps(way, bits, 1, options) for bits in BITS} for way in WAYS},
            "train_rows": options.max_rows,
            "epochs": options.epochs,
            "steps": options.steps,
            "measured_on": time.strftime("%Y-%m-%d"),
            "tables": tables,
        },
    )


if __name__ == "__main__":
    main()
