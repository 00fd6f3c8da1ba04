"""Does pre-training on a task's own texts pay: MLM on the train texts of two tasks, then fine-tuning, against none.

One continuation reads the train texts of both tasks, as plain text without labels, and all fine-tunings begin from it.
The baseline of each run is the same model and the same fine-tuning without it. A second start with the same --work goes
on where the first stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.common import CLASSIFICATIONS, TASKS, applied, arguments, evidence_of, report_of, save

METRIC = "accuracy"
#: Latency is not what is asked here, so it is measured as briefly as a target allows.
BRIEF = {"name": "brief", "sequence": [16], "queries": 64, "max_seconds": 5}


def main() -> None:
    parser = arguments(__doc__ or "", repeats=None)
    parser.add_argument("--tasks", default="mrpc,sst2", help=f"of {', '.join(CLASSIFICATIONS)}; folders of --data")
    parser.add_argument("--max-rows", type=int, help="of train with labels; all its texts are read")
    parser.add_argument("--epochs", type=float, default=3.0, help="of the fine-tuning")
    parser.add_argument("--rate", type=float, default=1e-4, help="learning rate of the fine-tuning")
    parser.add_argument("--steps", type=int, default=1000, help="of the pre-training, of 32 rows of 64 tokens")
    parser.add_argument("--pretraining-rate", type=float, default=2e-4)
    parser.add_argument("--seeds", type=int, default=3, help="of the fine-tuning, from 42 on")
    parser.add_argument("--work", type=Path, required=True, help="keep store and runs here, to go on from")
    parser.add_argument("--name", default="domain", help="of the file in results/")
    options = parser.parse_args()
    options.work = options.work.resolve()
    texts = text_file(options)
    runs: dict[str, dict[int, Path]] = {task: {} for task in options.tasks.split(",")}
    for seed in range(42, 42 + options.seeds):
        for task, done in runs.items():
            done[seed] = applied(recipe(task, seed, texts, options), options.work)
            save(options.name, result(runs, options))


def text_file(options: Any) -> Path:
    """The train texts of all tasks, one in a line."""
    path: Path = options.work / "texts.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        text for task in options.tasks.split(",") for text in train_texts(options.data / task, TASKS[task]["text"])
    ]
    path.write_text("".join(f"{line}\n" for line in dict.fromkeys(lines)), encoding="utf-8")
    return path


def train_texts(folder: Path, columns: str | list[str]) -> Iterator[str]:
    names = [columns] if isinstance(columns, str) else columns
    for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield from (" ".join(row[name].split()) for name in names)


def recipe(task: str, seed: int, texts: Path, options: Any) -> dict[str, Any]:
    """The pre-training has a seed of its own, so that all runs share it."""
    tune = {"epochs": options.epochs, "learning_rate": options.rate, "batch_size": 32, "precision": "fp32"}
    text = {
        "corpus": {"data_files": str(texts), "documents": "line"},
        "max_length": 64,
        "max_steps": options.steps,
        "learning_rate": options.pretraining_rate,
        "batch_size": 32,
        "precision": "fp32",
        "seed": 42,
    }
    limit = {"max_rows": {"train": options.max_rows}} if options.max_rows else {}
    return {
        "edgeopt": 1,
        "name": f"domain-{task}-{seed}",
        "model": {"id": str(options.model.resolve())},
        "task": {
            "type": "text-classification",
            "dataset": {"path": str((options.data / task).resolve()), **limit},
            "metrics": [METRIC],
            **TASKS[task],
        },
        "baseline": {"finetune": tune},
        "steps": [{"id": "text", "use": "pretrain.mlm", **text}, {"id": "tune", "use": "finetune", **tune}],
        "targets": [BRIEF],
        "seed": seed,
    }


def result(runs: dict[str, dict[int, Path]], options: Any) -> dict[str, Any]:
    """For each task the metric with and without, by seed, and the bounds of each seed's difference."""
    one = report_of(next(run for done in runs.values() for run in done.values()))
    figures = next(step.figures for step in one.steps if step.id == "text")
    return {
        "what": "a model pre-trained on the train texts of two tasks by MLM and then fine-tuned, against the same "
        "fine-tuning without; accuracy of the exported FP32 file on validation; `change`: paired 90 % intervals "
        "(one-sided 95 % bounds)",
        "model": options.model.name,
        "tasks": options.tasks.split(","),
        "train_rows": options.max_rows or "all",
        "epochs": options.epochs,
        "rate": options.rate,
        "pretraining": {
            "rate": options.pretraining_rate,
            "steps": options.steps,
            "batch": 32,
            "tokens": figures["corpus"]["tokens_seen"],
            "corpus_tokens": figures["corpus"]["tokens"],
            "head": figures["words_head"],
            "held_out_loss": [figures["curves"]["eval_held_out_loss"][at][1] for at in (0, -1)],
            "seconds": figures["train_seconds"],
        },
        "results": {task: summary(done) for task, done in runs.items() if done},
    }


def summary(runs: dict[int, Path]) -> dict[str, Any]:
    reports = {seed: report_of(run) for seed, run in runs.items()}
    found: dict[str, Any] = {"rows": evidence_rows(next(iter(runs.values())))}
    for name, side in (("without", "baseline"), ("with", "candidate")):
        values = [getattr(report, side).metrics[METRIC] for report in reports.values()]
        std = round(stdev(values), 4) if len(values) > 1 else None
        found[name] = {"mean": round(mean(values), 4), "std": std, "each": values}
    found["change"] = {
        seed: dict(
            zip(
                ("change", "low", "high"),
                (round(v, 4) for v in evidence_of(run).difference(METRIC, 0.95)),
                strict=True,
            )
        )
        for seed, run in runs.items()
    }
    return found


def evidence_rows(run: Path) -> int:
    """Rows that the metric is of."""
    return sum(1 for _ in (run / "predictions.jsonl").open(encoding="utf-8"))


if __name__ == "__main__":
    main()
