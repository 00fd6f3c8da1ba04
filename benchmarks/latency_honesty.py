"""How often a latency gate is right: the same file against itself, and a file with one layer in five more.

Each repeat is a fresh process with three subjects, which it measures as `apply` does, opening each ten times: a MiniLM
of five layers under two names, whose ratio is 1, and one with its sixth layer besides, which computes 6/5 of the
layers. The gate is decided on both. Where the machine is too busy, `max_seconds` is up before the tenth opening. *Wall
clock* are the same samples with the time put back in which other programs had the processor, and *one opening* other
repeats that open each file once (`--openings 1`).

--work keeps every sample: a second start goes on where the first stopped, and --analyze decides anew. Run it on a
machine as busy as it comes.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import export_classifier, save, table, write
from edgeopt.export.session import defaults, onnx_query
from edgeopt.gates.timed import latency
from edgeopt.measure import rounds
from edgeopt.measure.cold_worker import in_child
from edgeopt.measure.latency import Measured
from edgeopt.measure.latency_worker import feeds_of, pin
from edgeopt.measure.rounds import believable
from edgeopt.results.model import SubjectName
from edgeopt.spec.recipe import GateSpec
from edgeopt.statistics.latency_bounds import ratio_bounds

MODEL = Path.home() / ".cache" / "edgeopt-models" / "minilm-l6"
OPTIONS = {**defaults(1), "disabled_optimizers": ["SkipLayerNormFusion"]}
GATE = GateSpec(metric="latency.p50", max_ratio=1.10)
LAYERS = {"baseline": 5, "again": 5, "slower": 6}
SUBJECTS = {"again": "same file", "slower": "one layer in five more"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL, help="folder of a BERT with six layers")
    parser.add_argument("--work", type=Path, required=True, help="folder for graphs and samples")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0, help="max_seconds of the target")
    parser.add_argument(
        "--openings", type=int, default=rounds.OPENINGS, help="1: as it would be without opening the files anew"
    )
    parser.add_argument("--analyze", action="store_true", help="measure nothing")
    options = parser.parse_args()
    rounds.OPENINGS = options.openings
    options.work.mkdir(parents=True, exist_ok=True)
    kept = options.work / "samples.jsonl"
    graphs = {name: exported(options.model, layers, options.work) for name, layers in LAYERS.items()}
    done = len(kept.read_text(encoding="utf-8").splitlines()) if kept.exists() else 0
    for number in range(done, 0 if options.analyze else options.repeats):
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(repeated(graphs, number, options)) + "\n")
    report([json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()], options)


def exported(model: Path, layers: int, work: Path) -> Path:
    """The model's first layers under a classification head, as ONNX."""
    path = work / f"{layers}-layers.onnx"
    if path.exists():
        return path
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    loaded: Any = AutoModelForSequenceClassification.from_pretrained(
        model, num_hidden_layers=layers, attn_implementation="eager"
    )
    export_classifier(loaded, path)
    return path


def repeated(graphs: dict[str, Path], number: int, options: argparse.Namespace) -> dict[str, Any]:
    """Samples of one process, which has done nothing else: a copy of this one, which has opened no session."""
    began = time.monotonic()
    found = in_child(partial(measured, graphs, number, options), "a repeat")
    return {**found, "seconds": round(time.monotonic() - began, 2), "load": round(os.getloadavg()[0], 1)}


def measured(graphs: dict[str, Path], number: int, options: argparse.Namespace) -> dict[str, Any]:
    pin(1)
    ids = [int(i) for i in np.random.default_rng(number).integers(1000, 20_000, options.tokens)]
    row = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": [0] * len(ids)}
    openers = {name: partial(onnx_query, path, OPTIONS) for name, path in graphs.items()}
    found = believable(openers, {"": feeds_of([row], options.tokens, 1)}, 1, options.queries, options.seconds)[""]
    rounded = [
        {k: [round(v, 4) for v in values] for k, values in those.items()} for those in (found.samples, found.waited)
    ]
    return {"samples": rounded[0], "waited": rounded[1], "restarts": found.restarts, "openings": found.openings}


def decided(base: Any, other: Any, openings: tuple[int, ...]) -> tuple[str, bool, float]:
    """The gate's verdict, whether the two-sided 95 % interval of the ratio holds 1, and the ratio."""
    names: tuple[SubjectName, SubjectName] = ("baseline", "candidate")
    rows = [
        Measured(n, "here", "onnxruntime", "cpu", 1, 1, 0, {}, np.array(s), openings=openings)
        for n, s in zip(names, (base, other), strict=True)
    ]
    bounds = ratio_bounds(rows[1].samples, rows[0].samples, 50.0, 0.975, openings)
    return latency(GATE, rows).verdict, bounds.low <= 1.0 <= bounds.high, bounds.value


def report(repeats: list[dict[str, Any]], options: argparse.Namespace) -> None:
    once, often = [r for r in repeats if len(r["openings"]) == 1], [r for r in repeats if len(r["openings"]) > 1]
    whole, cut = ([r for r in often if (len(r["openings"]) >= rounds.OPENINGS) == ten] for ten in (True, False))
    groups = {"": often, ", all ten openings": whole, ", time was up before": cut, ", wall clock": often}
    groups |= {", one opening": once, ", one opening, wall clock": once}
    results = {
        what + how: counted(those, name, "wall" in how)
        for how, those in groups.items()
        if those
        for name, what in SUBJECTS.items()
    }
    both = [(sum(map(sum, r["waited"].values())), sum(map(sum, r["samples"].values()))) for r in repeats]
    share = sorted(round(waited / (waited + took), 2) for waited, took in both)
    seconds, load = (sorted(r[key] for r in repeats) for key in ("seconds", "load"))
    middle = len(repeats) // 2
    machine = {
        "share of the time that other programs had the processor": [share[0], share[middle], share[-1]],
        "seconds a repeat": [seconds[0], seconds[middle], seconds[-1]],
        "load average": [load[0], load[middle], load[-1]],
        "begun anew after a drift": sum(r["restarts"] > 0 for r in repeats),
        "openings": sorted({len(r["openings"]) for r in repeats}),
    }
    gate = (
        f"latency.p50 max_ratio {GATE.max_ratio:g} at {GATE.confidence:.0%}, {options.tokens} tokens, 1 thread, "
        f"{options.queries} queries"
    )
    save("latency_honesty", {"what": gate, "machine (least, median, most)": machine, "results": results})
    columns = ["", *next(iter(results.values()))]
    text = "\n\n".join((__doc__ or "").split("\n\n")[1:2])
    lines = [
        "# How often a latency gate is right\n\n",
        text,
        f"\n\nGate: {gate}.\n\n",
        table(columns, [[k, *v.values()] for k, v in results.items()]),
    ]
    write(
        "latency_honesty.md",
        "".join(lines) + "\n" + "".join(f"- {k} (least, median, most): {v}\n" for k, v in machine.items()),
    )


def counted(repeats: list[dict[str, Any]], name: str, wall: bool) -> dict[str, Any]:
    """Verdicts, how often the interval holds 1, and the ratios."""
    found = []
    for repeat in repeats:
        series = [
            np.array(repeat["samples"][n]) + (np.array(repeat["waited"][n]) if wall else 0) for n in ("baseline", name)
        ]
        found.append(decided(series[0], series[1], tuple(repeat["openings"])))
    verdicts, ratios = Counter(verdict for verdict, _, _ in found), np.array([ratio for _, _, ratio in found])
    return {
        "repeats": len(found),
        **{v: verdicts[v] for v in ("pass", "inconclusive", "fail")},
        "95 % interval holds 1": sum(holds for _, holds, _ in found),
        "ratio": round(float(np.median(ratios)), 3),
        "from": round(float(ratios.min()), 3),
        "to": round(float(ratios.max()), 3),
    }


if __name__ == "__main__":
    main()
