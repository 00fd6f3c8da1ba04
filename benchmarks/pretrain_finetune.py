"""What an ELECTRA of 4 layers × 256 is worth to three tasks: fine-tuned from random weights, or pre-trained in a way.

It is pre-trained on the same plain text for the same optimizer steps by masked words (MLM), as the original ELECTRA,
and as a Fast-ELECTRA beside a frozen auxiliary model. Each begins with the same random weights. A second start with the
same --work goes on where the first stopped. The metrics are those of the exported FP32 file on validation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.common import TASKS, save
from benchmarks.pretrain_steps import AUXILIARY_LAYERS, SHAPE, begun, pretraining, told, trained
from edgeopt import api
from edgeopt.data import TaskData
from edgeopt.measure.accuracy import outputs_of
from edgeopt.models.files import GRAPH
from edgeopt.plan import make_plan
from edgeopt.recipe.load import Recipe
from edgeopt.run.execute import execute
from edgeopt.run.processes import Group
from edgeopt.store.store import Store
from edgeopt.support import host
from edgeopt.support.progress import Progress
from edgeopt.tasks import Task, task_of

WAYS = ("random", "mlm", "original", "frozen")
METRIC = {"sst2": "accuracy", "mrpc": "accuracy", "stsb": "spearman"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True, help="plain text to train on, a document a line")
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder for each task")
    parser.add_argument("--work", type=Path, required=True, help="keep store and results here, to go on from")
    parser.add_argument("--tasks", default=",".join(METRIC), help="comma between them")
    parser.add_argument("--vocab", type=int, default=8000)
    parser.add_argument("--rows", type=int, default=16, help="of a batch of the pre-training")
    parser.add_argument("--tokens", type=int, default=64, help="of a row")
    parser.add_argument("--steps", type=int, default=1000, help="optimizer steps of each pre-training")
    parser.add_argument("--pretraining-rate", type=float, default=1e-3)
    parser.add_argument("--auxiliary-steps", type=int, default=500, help="of the auxiliary model's own training")
    parser.add_argument("--max-rows", type=int, default=2000, help="of train; validation is used whole")
    parser.add_argument("--max-length", type=int, default=64, help="tokens of a row of a task")
    parser.add_argument("--epochs", type=float, default=3.0, help="of the fine-tuning")
    parser.add_argument("--batch", type=int, default=32, help="rows of a batch of the fine-tuning")
    parser.add_argument("--rate", type=float, default=3e-4, help="learning rate of the fine-tuning")
    parser.add_argument("--seeds", type=int, default=3, help="of the fine-tuning, from 42 on")
    parser.add_argument("--name", default="pretrain_finetune", help="of the file in results/")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    file = options.work / f"{options.name}.json"
    done: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def keep(key: str, value: Any) -> None:
        done[key] = value
        file.write_text(json.dumps(done, indent=1), encoding="utf-8")
        print(key, flush=True)

    models = pretrained(options, done, keep)
    for seed, task, way in asked(options):
        if (key := f"{way}/{task}/{seed}") not in done:
            keep(key, tuned(models[way], task, seed, options))
            save(options.name, result(done, options))
    save(options.name, result(done, options))


def asked(options: Any) -> Iterator[tuple[int, str, str]]:
    """Seed by seed, so that a start that is cut off compares all ways."""
    for seed in range(42, 42 + options.seeds):
        for task in options.tasks.split(","):
            yield from ((seed, task, way) for way in WAYS)


def pretrained(options: Any, done: dict[str, Any], keep: Any) -> dict[str, Path]:
    """The folder of each way's model."""
    rate, steps = options.pretraining_rate, options.steps
    auxiliary = trained(
        options, AUXILIARY_LAYERS, [pretraining(options, "pretrain.mlm", options.auxiliary_steps, rate)]
    )
    found = {"random": begun(options)}
    each = {
        "auxiliary": lambda: auxiliary,
        "mlm": lambda: trained(options, 4, [pretraining(options, "pretrain.mlm", steps, rate)]),
        "original": lambda: trained(options, 4, [pretraining(options, "pretrain.rtd", steps, rate)]),
        "frozen": lambda: trained(
            options, 4, [pretraining(options, "pretrain.rtd", steps, rate, auxiliary=str(auxiliary.folder))]
        ),
    }
    for way, make in each.items():
        state = make()
        found[way] = state.folder
        if f"pretraining/{way}" not in done:
            keep(f"pretraining/{way}", {**told(state), "tokens": state.figures["corpus"]["tokens_seen"]})
    return found


def tuned(model: Path, task: str, seed: int, options: Any) -> dict[str, Any]:
    """The metric of the model on validation, behind a fine-tuning."""
    tune = {
        "epochs": options.epochs,
        "learning_rate": options.rate,
        "batch_size": options.batch,
        "warmup_ratio": 0.1,
        "precision": "fp32",
    }
    limit = {"max_rows": {"train": options.max_rows}} if options.max_rows else {}
    keys = {"type": "text-classification", **TASKS[task], "max_length": options.max_length}
    recipe = api.load(
        {
            "edgeopt": 1,
            "name": f"finetune-{task}",
            "model": {"id": str(model)},
            "task": {**keys, "dataset": {"path": str((options.data / task).resolve()), **limit}},
            "baseline": {"finetune": tune},
            "steps": [{"use": "finetune", **tune}],
            "seed": seed,
        }
    )
    assert isinstance(recipe, Recipe)
    with TemporaryDirectory(dir=options.work) as kept:  # 150 MB each, and needed once
        store = Store(Path(kept))
        found = execute(make_plan(recipe, store), store, Progress(), Group())
        graph, figures = found.lowered("candidate").folder, found.torch_state("candidate").figures
        model_task = task_of(recipe.head.task, found.data.label_names)
        outputs = outputs_of(graph / GRAPH, graph, found.data.report, model_task, Progress(), task)
    return {
        "value": _metric(model_task, found.data, outputs, METRIC[task]),
        "unread": unread(model_task, found.data),
        "rows": len(found.data.report),
        "train_rows": figures["train_rows"],
        "steps": figures["optimizer_steps"],
    }


def unread(task: Task, data: TaskData) -> float:
    """Accuracy of the answer that most train rows have; a correlation is 0 for the same answer to all."""
    labels = task.stack_labels(data.report.labels)
    if labels.dtype.kind == "f":
        return 0.0
    most = np.bincount(task.stack_labels(data.train.labels)).argmax()
    return round(float((labels == most).mean()), 4)


def _metric(task: Task, data: TaskData, outputs: Any, name: str) -> float:
    return round(task.metrics(task.stack_labels(data.report.labels), outputs)[name], 4)


def result(done: dict[str, Any], options: Any) -> dict[str, Any]:
    names = (
        *("rows", "tokens", "vocab", "steps", "pretraining_rate", "auxiliary_steps"),
        *("max_rows", "max_length", "epochs", "batch", "rate"),
    )
    return {
        "what": "an ELECTRA fine-tuned from random weights, or pre-trained on the same text for the same optimizer "
        "steps; the exported FP32 file on validation; the seeds are of the fine-tuning, the pre-training has one",
        "shape": SHAPE,
        "auxiliary_layers": AUXILIARY_LAYERS,
        "text": options.text.name,
        **{name: getattr(options, name) for name in names},
        "threads": host.cpus(),
        "pretraining": {key.partition("/")[2]: value for key, value in done.items() if key.startswith("pretraining/")},
        "results": {task: summary(done, task, options.seeds) for task in options.tasks.split(",")},
    }


def summary(done: dict[str, Any], task: str, seeds: int) -> dict[str, Any]:
    """Of a task, the mean over the seeds and their deviation, by way."""
    found: dict[str, Any] = {"metric": METRIC[task], "ways": {}}
    for way in WAYS:
        keys = [f"{way}/{task}/{seed}" for seed in range(42, 42 + seeds)]
        runs = [done[key] for key in keys if key in done]
        if not runs:
            continue
        values = [run["value"] for run in runs]
        found |= {name: runs[0][name] for name in ("rows", "train_rows", "unread")}
        std = round(stdev(values), 4) if len(values) > 1 else None
        found["ways"][way] = {"mean": round(mean(values), 4), "std": std, "each": values}
    return found


if __name__ == "__main__":
    main()
