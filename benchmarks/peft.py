"""Every way to adapt an encoder on the same rows, through `edgeopt apply`: what it trains, costs, weighs and reaches.

One recipe a method, made from one template, over one store: the baseline, which is the full fine-tune, is trained once
a seed. Each run is a process of its own, so that its peak memory is its own. A second start with the same --work goes
on where the first stopped; figures of finished trainings are those of when they were trained.

Rates (RATE): the fewer parameters a method trains and the nearer to zero they start, the higher the rate it takes.
Those of full fine-tuning and LoRA are from 3 epochs of MRPC with MiniLM-L6 (F1 .858 and .869, one seed); BitFit's,
IA³'s and AdaLoRA's are the better of two that are a factor of three apart, by the loss after 80 steps on movie reviews;
the others are the transforms' own. None was tuned further, so a row says what its method reaches at a sensible rate,
not at its best.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.common import TASKS, applied, arguments, save, spread, table, write

LOW_RANK: dict[str, Any] = {"r": 16, "alpha": 32, "target_modules": "all-linear"}
#: transform and parameters of each method; `full` is first, as the others' baseline is its result
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("finetune", {}),
    "lora": ("adapter.lora", LOW_RANK),
    "rslora": ("adapter.lora", {**LOW_RANK, "alpha": 16, "use_rslora": True}),
    "dora": ("adapter.lora", {**LOW_RANK, "use_dora": True}),
    "qlora": ("adapter.qlora", LOW_RANK),
    "adalora": ("adapter.adalora", {"init_r": 24, "target_r": 16, "alpha": 48, "target_modules": "all-linear"}),
    "ia3": ("adapter.ia3", {}),
    "bitfit": ("adapter.bitfit", {}),
    "prompt": ("adapter.prompt", {"virtual_tokens": 20}),
    "prefix": ("adapter.prefix", {"virtual_tokens": 20}),
    "houlsby": ("adapter.bottleneck", {"placement": "houlsby"}),
    "pfeiffer": ("adapter.bottleneck", {"placement": "pfeiffer"}),
}
MERGED = ("lora", "rslora", "dora", "qlora", "adalora", "ia3")
RATE = {
    "full": 1e-4,
    "lora": 5e-4,
    "rslora": 5e-4,
    "dora": 5e-4,
    "qlora": 5e-4,
    "adalora": 3e-3,
    "ia3": 1e-2,
    "bitfit": 3e-3,
    "prompt": 1e-2,
    "prefix": 1e-2,
    "houlsby": 1e-3,
    "pfeiffer": 1e-3,
}
METRICS = ("accuracy", "precision", "recall", "f1")
#: figure → column of the table, factor and decimals
COLUMNS = {
    "trainable_parameters": ("trained", 1, 0),
    "trainable_share": ("%", 100, 2),
    "loading_seconds": ("loading s", 1, 2),
    "computing_seconds": ("computing s", 1, 1),
    "train_seconds": ("total s", 1, 1),
    "examples_per_second": ("rows/s", 1, 0),
    "peak_rss_bytes": ("peak MB", 1e-6, 0),
    "checkpoint_bytes": ("state MB", 1e-6, 1),
    "adapter_bytes": ("adapter MB", 1e-6, 2),
    **{m: (m, 1, 3) for m in METRICS},
    "onnx_bytes": ("ONNX MB", 1e-6, 1),
    "p50_ms": ("p50 ms", 1, 2),
}


def main() -> None:
    parser = arguments(__doc__ or "", repeats=None)
    parser.add_argument("--task", choices=TASKS, default="mrpc", help="columns that --data has")
    parser.add_argument("--methods", default=",".join(METHODS), help="comma between them")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 42 on")
    parser.add_argument("--max-rows", type=int, help="of train; validation is used whole")
    parser.add_argument(
        "--queries", type=int, default=200, help="of the latency, which is at 128 tokens, one thread and batch 1"
    )
    parser.add_argument(
        "--work", type=Path, help="keep store and runs here, to go on from; default: a folder that is removed"
    )
    parser.add_argument("--name", default="peft", help="of the files in results/")
    options = parser.parse_args()
    methods = options.methods.split(",")
    with ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        seeds = range(42, 42 + options.seeds)
        rows = {
            name: [once(name, seed, options, work.resolve()) for seed in seeds]
            for name in sorted(methods, key=list(METHODS).index)
        }
    results = {name: {k: summary(k, [r[k] for r in found]) for k in found[0]} for name, found in rows.items()}
    save(
        options.name,
        {
            "what": "each method alone; seconds, memory and rate of the training; metrics of the exported file on "
            "validation; logits against torch on train rows",
            "model": options.model.name,
            "task": options.task,
            "train_rows": options.max_rows or "all",
            "epochs": options.epochs,
            "seeds": list(seeds),
            "settings": {
                name: {"use": METHODS[name][0], **METHODS[name][1], "learning_rate": RATE[name]} for name in results
            },
            "results": results,
        },
    )
    write(f"{options.name}.md", rendered(results))


def recipe(method: str, seed: int, options: Any) -> dict[str, Any]:
    """The template, filled in."""
    training = {"epochs": options.epochs, "batch_size": 32}
    use, params = METHODS[method]
    step = {"id": "adapt", "use": use, **params, **training, "learning_rate": RATE[method]}
    limit = {"max_rows": {"train": options.max_rows}} if options.max_rows else {}
    return {
        "edgeopt": 1,
        "name": f"peft-{method}-{seed}",
        "model": {"id": str(options.model.resolve())},
        "task": {
            "type": "text-classification",
            "dataset": {"path": str(options.data.resolve()), **limit},
            "metrics": METRICS,
            **TASKS[options.task],
        },
        "baseline": {"finetune": {**training, "learning_rate": RATE["full"]}},
        "steps": [step, *([{"id": "merge", "use": "merge"}] if method in MERGED else [])],
        "targets": [{"name": "bench", "sequence": [128], "queries": options.queries}],
        "seed": seed,
    }


def once(method: str, seed: int, options: Any, work: Path) -> dict[str, Any]:
    """Apply the method's recipe, and read what the run says of it."""
    out = applied(recipe(method, seed, options), work)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    adapt = next(s for s in report["steps"] if s["chain"] == "candidate" and s["id"] == "adapt")
    return {
        **{
            k: adapt["figures"].get(k)
            for k in COLUMNS
            if k.startswith(("train", "loading", "computing", "examples", "peak", "adapter"))
        },
        "checkpoint_bytes": adapt["size_bytes"],
        **report["candidate"]["metrics"],
        "onnx_bytes": report["candidate"]["size_bytes"],
        "max_logit_difference": next(p["max_abs_diff"] for p in report["parity"] if p["subject"] == "candidate"),
        "plain_onnxruntime": answers_alike(out, options),
        "p50_ms": next(x["p50_ms"] for x in report["latency"] if x["subject"] == "candidate"),
    }


def answers_alike(run: Path, options: Any) -> bool:
    """Whether onnxruntime and tokenizers alone get the run's logits for the first validation rows out of its folder."""
    import numpy as np
    import onnxruntime as ort
    from tokenizers import Tokenizer

    columns, length = TASKS[options.task]["text"], TASKS[options.task]["max_length"]
    session = ort.InferenceSession(run / "model" / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(run / "model" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    names = {i.name for i in session.get_inputs()}
    with (
        (options.data / "validation.jsonl").open(encoding="utf-8") as rows,
        (run / "predictions.jsonl").open(encoding="utf-8") as answers,
    ):
        for row, answer, _ in zip(map(json.loads, rows), map(json.loads, answers), range(16), strict=False):
            encoded = (
                tokenizer.encode(row[columns])
                if isinstance(columns, str)
                else tokenizer.encode(*(row[c] for c in columns))
            )
            feed = {
                "input_ids": encoded.ids,
                "attention_mask": encoded.attention_mask,
                "token_type_ids": encoded.type_ids,
            }
            logits = session.run(["logits"], {k: np.array([v]) for k, v in feed.items() if k in names})[0][0]
            if not np.allclose(logits, answer["candidate"], atol=1e-4):
                return False
    return True


def summary(figure: str, values: list[Any]) -> Any:
    """One figure of all seeds: what is the same for all, the worst, or the spread."""
    if figure == "max_logit_difference":
        return max(values)
    if len(set(values)) == 1:
        return values[0]
    return spread(values, 4)


def rendered(results: dict[str, dict[str, Any]]) -> str:
    """The table, medians over the seeds; accuracy and F1 with their range where there are several."""
    columns = [
        "method",
        *(title for title, _, _ in COLUMNS.values()),
        "max logit difference, torch - ONNX",
        "plain onnxruntime",
    ]
    rows = [
        [
            name,
            *(_cell(found[k], factor, digits) for k, (_, factor, digits) in COLUMNS.items()),
            f"{found['max_logit_difference']:.1e}",
            "same logits" if found["plain_onnxruntime"] is True else "DIFFERS",
        ]
        for name, found in results.items()
    ]
    return table(columns, rows)


def _cell(value: Any, factor: float, digits: int) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        ranged = f" ({value['min'] * factor:.{digits}f}-{value['max'] * factor:.{digits}f})" if digits == 3 else ""
        return f"{value['median'] * factor:,.{digits}f}{ranged}"
    return f"{value * factor:,.{digits}f}"


if __name__ == "__main__":
    main()
