"""int8 of one fine-tuned encoder in every way that edgeopt has, and in the ways that others offer.

Of each way, through `edgeopt apply`: what it keeps of the metric, its size, what making it costs, and its latency. All
methods start from the same fine-tuned model, which the store holds; peers calibrate on the rows that `quantize.static`
calibrates on. `quantize.qat` trains on, with the model as it was for a teacher. Latencies are of all files interleaved
in one process, batch 1, 128 tokens, each ONNX file with the options that it is quickest with, those of peers with the
default ones besides, and OpenVINO with its hint for latency. Peak memory is of a process that does that step and
nothing else. The peers of other libraries need `--peers`, a Python that has peers-requirements.txt. A second start with
the same --work goes on where the first stopped.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import TASKS, applied, arguments, evidence_of, report_of, save, table, worker, write
from benchmarks.int8_latency import DEFAULT, SEQUENCE, THREADS, measured
from benchmarks.int8_peers import made_of
from edgeopt.data import TaskData
from edgeopt.data.sources import load_data
from edgeopt.export.exporter import ExportInput, exporter
from edgeopt.measure.accuracy import outputs_of
from edgeopt.models.files import GRAPH
from edgeopt.recipe.load import Recipe, load_recipe
from edgeopt.store.store import Store
from edgeopt.support.progress import Progress
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.encode import Encoder

CALIBRATORS = ("minmax", "moving-average", "percentile", "entropy", "mse")
#: The same int8 model in ONNX Runtime's own format: the graph as `export: {format: ort}` writes it.
SAME, ORT = "static-minmax", "static-minmax, .ort"
#: whether each needs --peers
PEERS = {"onnxruntime-dynamic": False, "onnxruntime-static": False, "neural-compressor": True, "openvino-nncf": True}


def main() -> None:
    parser = arguments(__doc__ or "", repeats=None)
    parser.add_argument("--task", choices=TASKS, default="mrpc", help="columns that --data has")
    parser.add_argument("--max-rows", type=int, help="of train; validation is used whole")
    parser.add_argument("--epochs", type=float, default=2.0, help="of the fine-tuning before")
    parser.add_argument("--rate", type=float, default=1e-4, help="its learning rate")
    parser.add_argument("--qat-epochs", type=float, default=1.0)
    parser.add_argument("--qat-rate", type=float, default=2e-5)
    parser.add_argument("--samples", type=int, default=256, help="rows of calibration, ours and the peers'")
    parser.add_argument("--methods", help="comma between them; default: all")
    parser.add_argument("--queries", type=int, default=400, help="of the latency, at each number of threads")
    parser.add_argument("--max-seconds", type=float, default=400.0, help="of the latency, at each number of threads")
    parser.add_argument(
        "--peers", type=lambda path: Path(path).absolute(), help="a Python that has peers-requirements.txt"
    )
    parser.add_argument("--work", type=Path, required=True, help="keep store and runs here, to go on from")
    options = parser.parse_args()
    work = options.work.resolve()
    steps = methods(options)
    peers = [name for name, needs in PEERS.items() if options.peers or not needs]
    wanted = options.methods.split(",") if options.methods else [*steps, *peers]
    runs = {
        name: applied(recipe(name, step, options), work) for name, step in steps.items() if name in ("fp32", *wanted)
    }
    data = _rows(load_recipe(_path(runs["fp32"])))
    made = {name: peer(name, runs["fp32"], data, options, work) for name in peers if name in wanted}
    files = {name: run / report_of(run).candidate.artifact for name, run in runs.items()} | {
        name: f / made_of(f)["file"] for name, f in made.items()
    }
    if SAME in wanted:
        files[ORT] = exported(runs[SAME], work)
    files |= {f"{name}{DEFAULT}": path for name, path in files.items() if name in PEERS and path.suffix == ".onnx"}
    timed, about = measured(files, report_rows(runs["fp32"], data)[:512], options)
    results = {name: {**row(name, runs, work), **timed[name]} for name in runs}
    if SAME in wanted:
        results[ORT] = {**of_file(files[ORT], runs, data), **timed[ORT]}
    results |= {
        name: {**peer_row(made[name.removesuffix(DEFAULT)], runs["fp32"]), **found}
        for name, found in timed.items()
        if name not in results
    }
    title = f"int8_methods_{options.task}_{options.model.name}"
    save(
        title,
        {
            "what": "int8 of one fine-tuned encoder; metrics on validation, paired 90 % intervals (one-sided 95 % "
            "bounds); latency of one text of 128 tokens",
            "model": options.model.name,
            "task": options.task,
            "train_rows": options.max_rows or "all",
            "calibration_rows": options.samples,
            "seed": 42,
            "settings": {name: steps[name] for name in runs},
            **about,
            "results": results,
            "against_peers": against_peers(results),
        },
    )
    write(f"{title}.md", rendered(results))


def methods(options: Any) -> dict[str, list[dict[str, Any]]]:
    """The steps behind the fine-tuning."""
    static = {"id": "int8", "use": "quantize.static"}
    ranges = {name: {"calibration": {"samples": options.samples, "method": name}} for name in CALIBRATORS}
    trained = {
        "epochs": options.qat_epochs,
        "learning_rate": options.qat_rate,
        "batch_size": 32,
        "distill": {"teacher": "baseline"},
    }
    return {
        "fp32": [],
        "dynamic": [{"id": "int8", "use": "quantize.dynamic"}],
        **{f"static-{name}": [{**static, **given}] for name, given in ranges.items()},
        "static-int4-words": [{**static, **ranges["minmax"], "word_table": "int4"}],
        "static-auto": [{**static, **ranges["minmax"], "policy": "auto"}],
        "qat": [{"id": "int8", "use": "quantize.qat", **trained}],
    }


def recipe(name: str, step: list[dict[str, Any]], options: Any) -> dict[str, Any]:
    training = {"epochs": options.epochs, "learning_rate": options.rate, "batch_size": 32}
    limit = {"max_rows": {"train": options.max_rows}} if options.max_rows else {}
    return {
        "edgeopt": 1,
        "name": f"int8-{options.task}-{options.model.name}-{name}",
        "model": {"id": str(options.model.resolve())},
        "task": {
            "type": "text-classification",
            "dataset": {"path": str(options.data.resolve()), **limit},
            **TASKS[options.task],
        },
        "baseline": {"finetune": training},
        "steps": [{"id": "tune", "use": "finetune", **training}, *step],
        "targets": [{"name": "bench", "sequence": [SEQUENCE], "queries": 64}],
        "seed": 42,
    }


def _path(run: Path) -> Path:
    """The recipe of a run that `applied` made."""
    return run.parents[1] / f"{run.name}.yaml"


def _task(run: Path) -> Task:
    recipe = load_recipe(_path(run))
    return task_of(recipe.head.task, _rows(recipe).label_names)


def _rows(recipe: Recipe) -> TaskData:
    return load_data(recipe.head.task, recipe.folder)


def report_rows(run: Path, data: TaskData) -> list[dict[str, list[int]]]:
    """Inputs of the rows that are reported on."""
    task = _task(run)
    return task.encode(Encoder(run / "model", task.spec.max_length), data.report.texts).ids


def peer(name: str, run: Path, data: TaskData, options: Any, work: Path) -> Path:
    """The folder of a peer's model of the fine-tuned graph, with its answers and what it cost."""
    folder, task = work / "peers" / name, _task(run)
    if (folder / "made.json").exists():
        return folder
    print(name, file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    keys = {s.id: s.key for s in report_of(run).steps if s.chain == "candidate"}
    calibration = data.calibration(options.samples, task.spec.selection, 42)
    rows = task.encode(Encoder(run / "model", task.spec.max_length), calibration.texts).ids
    states = work / "store" / "states"
    given = {
        "peer": name,
        "graph": str(states / keys["onnx"] / GRAPH),
        "torch": str(states / keys["tune"]),
        "rows": rows,
        "report": report_rows(run, data),
    }
    worker("benchmarks.int8_peers", {**given, "folder": str(folder)}, python=options.peers if PEERS[name] else None)
    return folder


def row(name: str, runs: dict[str, Path], work: Path) -> dict[str, Any]:
    """What a run's report says of its candidate, and what its int8 step costs."""
    run, report = runs[name], report_of(runs[name])
    found = _compared(evidence_of(run).candidate_logits, runs["fp32"], report.candidate.size_bytes)
    if name == "fp32":
        return found
    step = next(s for s in report.steps if s.chain == "candidate" and s.id == "int8")
    policy, peak = step.figures.get("policy"), step.figures.get("peak_rss_bytes") or _peak(run, work)
    about = {"chosen": policy["chosen"], "held": policy["held"]} if policy else {}
    if name == "qat":
        about["parity"] = step.figures["parity"]
    return {**found, "seconds": round(step.seconds, 1), "peak_bytes": peak, **about}


def exported(run: Path, work: Path) -> Path:
    """The .ort file of a run's int8 state."""
    folder = work / "ort"
    if not (folder / "model.ort").exists():
        key = next(s.key for s in report_of(run).steps if s.chain == "candidate" and s.id == "int8")
        state, made = Store(work / "store").find(key), exporter("ort")
        if state is None:
            raise SystemExit(f"the store in {work} has lost {key}: remove {run} and start again")
        folder.mkdir(exist_ok=True)
        made.write(ExportInput(state, None), folder, made.known_options)
    return folder / "model.ort"


def of_file(path: Path, runs: dict[str, Path], data: TaskData) -> dict[str, Any]:
    """What a file answers to the rows that are reported on."""
    logits = outputs_of(path, runs[SAME] / "model", data.report, _task(runs["fp32"]), Progress(show=False), path.name)
    return _compared(logits, runs["fp32"], path.stat().st_size)


def peer_row(folder: Path, fp32: Path) -> dict[str, Any]:
    made = made_of(folder)
    return {
        **_compared(np.load(folder / "logits.npy"), fp32, made["size_bytes"]),
        "seconds": made["seconds"],
        "peak_bytes": made["peak_bytes"],
    }


def _compared(logits: Any, fp32: Path, size: int) -> dict[str, Any]:
    """The metrics of these answers, their change against FP32, and the size as a share of FP32's."""
    evidence = replace(evidence_of(fp32), candidate_logits=logits)
    values, metrics = evidence.task.metrics(evidence.labels, logits), {}
    for metric in evidence.task.spec.metric_names:
        change = evidence.difference(metric, 0.95)
        metrics[metric] = {
            "value": values[metric],
            **{f"change{k}": round(v, 4) for k, v in zip(("", "_low", "_high"), change, strict=True)},
        }
    return {"metrics": metrics, "size_bytes": size, "size_ratio": round(size / report_of(fp32).candidate.size_bytes, 4)}


def _peak(run: Path, work: Path) -> int:
    """Peak memory of the step alone; a training's is in its figures."""
    kept = work / "peaks" / f"{run.name}.json"
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(
            worker("benchmarks.step_memory", {"recipe": str(_path(run)), "run": str(run), "store": str(work / "store")})
        )
    return int(json.loads(kept.read_text(encoding="utf-8"))["peak_bytes"])


def against_peers(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Our p50 over that of each peer, at each number of threads: below 1 ours is quicker."""
    theirs = [name for name in results if name.removesuffix(DEFAULT) in PEERS]
    ours = [name for name in results if name not in (*theirs, "fp32")]
    return {
        f"threads_{t}": {
            name: {peer: round(_p50(results[name], t) / _p50(results[peer], t), 3) for peer in theirs} for name in ours
        }
        for t in THREADS
    }


def _p50(found: dict[str, Any], threads: int) -> float:
    return float(found[f"threads_{threads}"]["p50_ms"])


def rendered(results: dict[str, dict[str, Any]]) -> str:
    names = list(results["fp32"]["metrics"])
    columns = ["model", *(f"{m} (change, 90 % interval)" for m in names), "MB", "of FP32", "seconds", "peak MB"]
    columns += [f"{what}, {t} thread{'s' * (t > 1)}" for t in THREADS for what in ("p50 ms", "p90 ms", "speed-up")]
    lines = []
    for name, found in results.items():
        metrics = [
            f"{x['value']:.4f} ({x['change']:+.4f}, {x['change_low']:+.4f} … {x['change_high']:+.4f})"
            for x in (found["metrics"][m] for m in names)
        ]
        cost = [f"{found['seconds']:.0f}", f"{found['peak_bytes'] / 1e6:.0f}"] if "seconds" in found else ["", ""]
        times = [x for t in THREADS for x in _times(found[f"threads_{t}"])]
        shown = f"{name} ({found['chosen']})" if "chosen" in found else name
        lines.append([shown, *metrics, f"{found['size_bytes'] / 1e6:.1f}", f"{found['size_ratio']:.3f}", *cost, *times])
    return table(columns, lines)


def _times(found: dict[str, Any]) -> list[str]:
    speedup = found["speedup"]
    return [
        f"{found['p50_ms']:.2f}",
        f"{found['p90_ms']:.2f}",
        f"{speedup['value']:.2f}× ({speedup['low']:.2f} - {speedup['high']:.2f})",
    ]


if __name__ == "__main__":
    main()
