"""The training loop of edgeopt against a plain transformers Trainer script.

Both have the same model, rows, batch size, optimizer, epochs and precision, each in a fresh process, in turn. The plain
script is what the transformers documentation shows: DataCollatorWithPadding and the default shuffle. Also measured:
that script in FP32, which is what it does when nobody asks for bf16.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import arguments, save, spread
from edgeopt.support import host

BATCH, RATE = 32, 1e-4
LOOPS = ("edgeopt", "plain", "plain-fp32")


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--rows", type=int, default=1600)
    parser.add_argument(
        "--loop", choices=LOOPS, help="run this loop once and print its seconds (what the benchmark starts)"
    )
    options = parser.parse_args()
    if options.loop:
        print(json.dumps(once(options.loop, options.model, options.data, options.rows)))
        return
    seconds: dict[str, list[float]] = {name: [] for name in LOOPS}
    for _ in range(options.repeats):
        for name in LOOPS:
            command = [
                sys.executable,
                "-m",
                "benchmarks.training_loop",
                "--loop",
                name,
                "--rows",
                str(options.rows),
                "--model",
                str(options.model),
                "--data",
                str(options.data),
            ]
            seconds[name].append(
                json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            )
    save(
        "training_loop",
        {
            "what": f"seconds of one epoch over {options.rows} rows, batch {BATCH}; ratio: plain script over edgeopt, "
            "pair by pair",
            "repeats": options.repeats,
            "precision": host.resolve_precision("auto"),
            "seconds": {k: spread(v) for k, v in seconds.items()},
            "speedup": {
                k: spread([p / e for p, e in zip(seconds[k], seconds["edgeopt"], strict=True)]) for k in LOOPS[1:]
            },
        },
    )


def once(loop: str, model: Path, data: Path, rows: int) -> float:
    """Seconds of training alone: loading and saving do not count."""
    return (
        _edgeopt(model, data, rows)
        if loop == "edgeopt"
        else _plain(model, data, rows, bf16=loop == "plain" and host.resolve_precision("auto") == "bf16")
    )


def _edgeopt(model: Path, data: Path, rows: int) -> float:
    from edgeopt.data import load_data
    from edgeopt.models.load import load_model
    from edgeopt.spec.recipe import TaskSpec, TrainParams
    from edgeopt.step.transform import StepContext
    from edgeopt.support.progress import Progress
    from edgeopt.support.quiet import quiet_libraries
    from edgeopt.training import train

    quiet_libraries()
    task = TaskSpec.model_validate(
        {
            "type": "text-classification",
            "text": "text",
            "dataset": {"path": str(data.resolve()), "max_rows": {"train": rows}},
        }
    )
    with tempfile.TemporaryDirectory() as work:
        context = StepContext(task, load_data(task, data), Path(work) / "out", Path(work), 42, Progress(show=False))
        params = TrainParams(epochs=1, batch_size=BATCH, learning_rate=RATE)
        return float(train(load_model(model), model, params, context)["train_seconds"])


def _plain(model: Path, data: Path, rows: int, *, bf16: bool) -> float:
    from datasets import load_dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(model)
    raw = load_dataset("json", data_files=str(data / "train.jsonl"), split="train").shuffle(seed=0).select(range(rows))
    names = sorted(set(raw["label"]))

    def encode(row: dict[str, str]) -> dict[str, object]:
        return {**tokenizer(row["text"], truncation=True, max_length=128), "labels": names.index(row["label"])}

    train_rows = raw.map(encode, remove_columns=raw.column_names)
    with tempfile.TemporaryDirectory() as work:
        arguments_ = TrainingArguments(
            output_dir=work,
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            bf16=bf16,
            use_cpu=not host.has_cuda(),
            report_to=[],
            disable_tqdm=True,
            save_strategy="no",
            seed=42,
        )
        trainer = Trainer(
            model=AutoModelForSequenceClassification.from_pretrained(model, num_labels=len(names)),
            args=arguments_,
            train_dataset=train_rows,
            data_collator=DataCollatorWithPadding(tokenizer),
        )
        started = time.monotonic()
        trainer.train()
        return time.monotonic() - started


if __name__ == "__main__":
    main()
