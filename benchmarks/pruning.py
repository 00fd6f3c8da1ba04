"""Structured pruning of one fine-tuned encoder in several ways: what each keeps, and how small and quick its file is.

All go through `edgeopt apply`. All variants start from the same fine-tuned model, which the store holds; `recovered` is
one more epoch of fine-tuning. The peers are Torch-Pruning's global pruning of heads and neurons by l1 norm and by
Taylor importance (on the rows that prune.fisher sees), at the same share of multiply-accumulates and with the same
recovery. Latencies are of all files interleaved in one process, FP32, batch 1, one thread. A second start with the same
--work goes on where the first stopped.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import CLASSIFICATIONS, TASKS, applied, arguments, evidence_of, report_of, save, table, write
from benchmarks.torch_pruning_peer import cut_to
from edgeopt.data.sources import load_data
from edgeopt.export.exporter import Runnable
from edgeopt.measure.latency import run_worker
from edgeopt.spec.recipe import Target, TaskSpec
from edgeopt.statistics.bounds import percentile_ratio
from edgeopt.tasks import task_of
from edgeopt.tasks.encode import Encoder
from edgeopt.transforms.prune.figures import shape_figures, size_figures

METRICS = ("accuracy", "f1")
MACS = 0.5
#: rows that importance is estimated from, ours and the peers'
SAMPLES = 2048
PEERS = {"torch-pruning-l1": "l1", "torch-pruning-taylor": "taylor"}


def main() -> None:
    parser = arguments(__doc__ or "", repeats=None)
    parser.add_argument("--task", choices=CLASSIFICATIONS, default="mrpc", help="columns that --data has")
    parser.add_argument("--max-rows", type=int, help="of train; validation is used whole")
    parser.add_argument("--epochs", type=float, default=3.0, help="of the fine-tuning before")
    parser.add_argument("--cofi-epochs", type=float, default=6.0)
    parser.add_argument("--cofi-recover", type=float, default=2.0, help="epochs")
    parser.add_argument("--rate", type=float, default=5e-5, help="learning rate of every training")
    parser.add_argument("--variants", help="comma between them; default: all")
    parser.add_argument(
        "--queries", type=int, default=300, help="of the latency, at 128 tokens and at the task's own lengths"
    )
    parser.add_argument("--work", type=Path, required=True, help="keep store and runs here, to go on from")
    parser.add_argument("--name", default="pruning", help="of the files in results/")
    options = parser.parse_args()
    work = options.work.resolve()
    steps = variants(options)
    names = options.variants.split(",") if options.variants else [*steps, *PEERS]
    runs = {name: run_of(name, steps, options, work) for name in dict.fromkeys(["dense", *names])}
    compared = measured(runs, options)
    results = {name: {**row(name, runs), **compared[name]} for name in runs}
    save(
        options.name,
        {
            "what": "structured pruning of one fine-tuned encoder; metrics of the exported FP32 file on validation, "
            "paired 90 % intervals (one-sided 95 % bounds)",
            "model": options.model.name,
            "task": options.task,
            "train_rows": options.max_rows or "all",
            "seed": 42,
            "settings": {
                **{name: step for name, step in steps.items() if name in runs},
                **{name: _peer(name) for name in PEERS if name in runs},
            },
            "results": results,
        },
    )
    write(f"{options.name}.md", rendered(results))


def variants(options: Any) -> dict[str, list[dict[str, Any]]]:
    """The steps behind the fine-tuning."""
    training = {"learning_rate": options.rate, "batch_size": 32}
    fisher = {"id": "prune", "use": "prune.fisher", "macs": MACS, "samples": SAMPLES}
    recover = {"id": "recover", "use": "finetune", "epochs": 1, **training}

    def cofi(sparsity: float) -> list[dict[str, Any]]:
        return [
            {
                "id": "prune",
                "use": "prune.cofi",
                "sparsity": sparsity,
                "epochs": options.cofi_epochs,
                **training,
                "recover": {"epochs": options.cofi_recover, **training},
            }
        ]

    return {
        "dense": [],
        "fisher-50": [fisher],
        "fisher-50-recovered": [fisher, recover],
        "cofi-60": cofi(0.6),
        "cofi-90": cofi(0.9),
    }


def _peer(name: str) -> str:
    return (
        f"Torch-Pruning, global, {PEERS[name]}, heads and neurons to {MACS:.0%} of the multiply-accumulates; then one "
        "epoch of fine-tuning"
    )


def run_of(name: str, steps: dict[str, list[dict[str, Any]]], options: Any, work: Path) -> Path:
    """The run folder of a variant; of a peer, whose checkpoint is made first, the recovery alone."""
    training = {"epochs": options.epochs, "learning_rate": options.rate, "batch_size": 32}
    recipe = {
        "edgeopt": 1,
        "name": f"pruning-{options.task}-{name}",
        "model": {"id": str(options.model.resolve())},
        "task": {
            "type": "text-classification",
            "dataset": {"path": str(options.data.resolve()), **_limit(options)},
            "metrics": METRICS,
            **TASKS[options.task],
        },
        "baseline": {"finetune": training},
        "steps": [{"id": "tune", "use": "finetune", **training}, *steps.get(name, [])],
        "targets": [{"name": "bench", "sequence": [128], "queries": 64}],
        "seed": 42,
    }
    if name in PEERS:
        dense = run_of("dense", steps, options, work)
        folder = work / name
        if not folder.exists():
            (tuned,) = [
                p.parent
                for p in (work / "store" / "states").glob("*/model.safetensors")
                if p.parent.name.startswith(_key(dense, "tune"))
            ]
            start = time.monotonic()
            part = folder.with_suffix(".part")
            cut_to(tuned, PEERS[name], MACS, batches(tuned, options), part)
            (part / "seconds").write_text(str(time.monotonic() - start))
            part.rename(folder)
        recipe = {
            **recipe,
            "model": {"id": str(folder)},
            "baseline": {},
            "steps": [{**steps["fisher-50-recovered"][1]}],
        }
    return applied(recipe, work)


def _limit(options: Any) -> dict[str, Any]:
    return {"max_rows": {"train": options.max_rows}} if options.max_rows else {}


def _key(run: Path, step: str) -> str:
    return next(s.key for s in report_of(run).steps if s.chain == "candidate" and s.id == step)


def _task(options: Any) -> TaskSpec:
    return TaskSpec.model_validate(
        {
            "type": "text-classification",
            "dataset": {"path": str(options.data.resolve()), **_limit(options)},
            **TASKS[options.task],
        }
    )


def batches(folder: Path, options: Any) -> list[dict[str, Any]]:
    """The rows that prune.fisher looks at, with labels, 32 a batch."""
    spec = _task(options)
    data, encoder = load_data(spec, Path.cwd()), Encoder(folder, spec.max_length)
    task = task_of(spec, data.label_names)
    rows, _ = task.training_rows(
        encoder, data.calibration(SAMPLES, spec.selection, 42), {"input_ids", "attention_mask", "token_type_ids"}
    )
    collate = task.collator(encoder)
    return [collate(rows[i : i + 32]) for i in range(0, len(rows), 32)]


def measured(runs: dict[str, Path], options: Any) -> dict[str, dict[str, Any]]:
    """Each exported file's p50 at each sequence, and the dense file's over it with its one-sided 95 % bounds.

    All files are interleaved.
    """
    target = Target(name="bench", sequence=[128, "task"], queries=options.queries, max_seconds=180.0)
    spec = _task(options)
    rows = Encoder(runs["dense"] / "model", spec.max_length).ids(load_data(spec, Path.cwd()).report.texts[:512])
    graphs = {name: Runnable(run / "model" / "onnx" / "model.onnx").as_json() for name, run in runs.items()}
    found = run_worker(
        "edgeopt.measure.latency_worker",
        {"target": target.model_dump(mode="json"), "graphs": graphs, "torch": None, "rows": rows},
    )
    samples = {(x["subject"], x["sequence"]): np.array(x["samples"]) for x in found}
    results: dict[str, dict[str, Any]] = {name: {} for name in runs}
    for (name, sequence), values in samples.items():
        ratio = percentile_ratio(samples["dense", sequence], values, 50.0, 0.95)
        results[name][f"p50_ms_{sequence}"] = round(float(np.median(values)), 3)
        results[name][f"speedup_{sequence}"] = {
            "value": round(ratio.value, 3),
            "low": round(ratio.low, 3),
            "high": round(ratio.high, 3),
        }
    return results


def row(name: str, runs: dict[str, Path]) -> dict[str, Any]:
    """What a run's report says of its candidate, its metrics against the dense model's, and its shape."""
    run, report = runs[name], report_of(runs[name])
    dense = evidence_of(runs["dense"])
    evidence = replace(dense, candidate_logits=evidence_of(run).candidate_logits)
    metrics = {}
    for metric in METRICS:
        change = evidence.difference(metric, 0.95)
        metrics[metric] = {
            "value": report.candidate.metrics[metric],
            **{f"change{k}": round(v, 4) for k, v in zip(("", "_low", "_high"), change, strict=True)},
        }
    store = run.parents[1] / "store" / "states"
    made = [s for s in report.steps if s.chain == "candidate" and (store / s.key / "model.safetensors").exists()]
    folder = store / made[-1].key
    structure = shape_figures(folder)["structure"]
    seconds = {s.id: round(s.seconds, 1) for s in made if s.id in ("prune", "recover")}
    if name in PEERS:
        seconds = {"prune": round(float((run.parents[1] / name / "seconds").read_text()), 1), **seconds}
    found = {
        **metrics,
        "seconds": seconds,
        "onnx_bytes": report.candidate.size_bytes,
        **size_figures(folder),
        "macs_left": round(structure["macs"] / structure["dense_macs"], 4),
        "promised_speedup": structure["promised_speedup"],
        "sparsity": structure["sparsity"],
        "heads": structure["heads"],
        "neurons": structure["neurons"],
        "hidden": structure["hidden"],
    }
    asked = next((s.figures["asked_sparsity"] for s in made if "asked_sparsity" in s.figures), None)
    before = report.baseline.metrics if name in PEERS else None
    return {**found, **({"asked_sparsity": asked} if asked else {}), **({"before_recovery": before} if before else {})}


def rendered(results: dict[str, dict[str, Any]]) -> str:
    """The table. MACs: of the layers, at 128 tokens."""
    columns = [
        "model",
        *(f"{m} (change, 90 % interval)" for m in METRICS),
        "seconds",
        "ONNX MB",
        "zlib MB",
        "parameters",
        "sparsity",
        "MACs left",
        "p50 ms, 128",
        "speed-up, 128",
        "promised",
        "speed-up, own lengths",
    ]
    lines = []
    for name, found in results.items():
        metrics = [
            f"{x['value']:.4f} ({x['change']:+.4f}, {x['change_low']:+.4f} … {x['change_high']:+.4f})"
            for x in (found[m] for m in METRICS)
        ]
        ratios = [
            f"{x['value']:.2f}× ({x['low']:.2f} - {x['high']:.2f})"
            for x in (found["speedup_128"], found["speedup_task"])
        ]
        lines.append(
            [
                name,
                *metrics,
                f"{sum(found['seconds'].values()):.0f}",
                f"{found['onnx_bytes'] / 1e6:.1f}",
                f"{found['compressed_bytes'] / 1e6:.1f}",
                f"{found['parameters']:,}",
                f"{found['sparsity']:.3f}",
                f"{found['macs_left']:.3f}",
                f"{found['p50_ms_128']:.2f}",
                ratios[0],
                f"{found['promised_speedup']:.2f}×",
                ratios[1],
            ]
        )
    return table(columns, lines)


if __name__ == "__main__":
    main()
