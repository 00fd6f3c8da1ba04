"""How often a ratio of latencies taken at two times is wrong: the same file against itself, minutes apart.

A baseline file is taken of a BERT of six layers every few minutes, as `edgeopt baseline` takes it: five sittings, each
a process of its own, with the graph's twin beside. Between them come gates, as `edgeopt gate --against FILE` measures:
a hundred of the same file (their ratio is 1), some of one with two layers more, and some of its int8 form. (To be
short, the graphs are saved as the runtime optimizes them, so that they open in no time.) Every occasion is held against
the baseline files that were taken at least two minutes before or after it. *As before* is the same data without the
twin and with the openings for units, as it was done until then.

--work keeps every sample: a second start goes on where the first stopped, and --analyze decides anew. Run it on a
machine as busy as it comes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import export_classifier, save, table, write
from edgeopt.export.exporter import Runnable
from edgeopt.export.session import defaults, save_optimized
from edgeopt.gates.timed import latency
from edgeopt.measure.latency import SITTINGS, Measured, measure, sittings
from edgeopt.measure.latency_worker import feeds_of
from edgeopt.measure.twin import TWIN, Twin, twin_of, typical
from edgeopt.spec.recipe import GateSpec, Target
from edgeopt.statistics.bounds import Bounds
from edgeopt.statistics.latency_bounds import percentile_bounds, t_quantile

#: Of random weights; MiniLM's shape at a third of the width, so that an occasion is short.
SHAPE = {"vocab_size": 2000, "hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 512}
TARGET = Target(name="occasions", sequence=[16], queries=200, max_seconds=60)
GATE = GateSpec(metric="latency.p50", min_speedup=1.0)
LAYERS = {"same": 6, "slower": 8}
CANDIDATES = {"same": "the same file", "slower": "two layers of six more", "int8": "int8 of the same"}
#: With which each file is opened.
OPTIONS = {**defaults(1), "graph_optimization_level": "ORT_DISABLE_ALL"}
#: What one round of occasions is made of.
ROUND = ("baseline", *("same",) * 4, "slower", *("same",) * 4, "int8")
#: Seconds between an occasion and a baseline file that it is held against, at least.
APART = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for graphs and samples")
    parser.add_argument("--stream", default="", help="of several that run at once, each after the other's data: a name")
    parser.add_argument("--gates", type=int, default=100, help="of the same file")
    parser.add_argument(
        "--until", type=float, default=math.inf, help="seconds since 1970 after which no occasion begins"
    )
    parser.add_argument("--analyze", action="store_true", help="measure nothing")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    kept = options.work / f"occasions{options.stream}.jsonl"
    graphs = graphs_of(options.work)
    ids = [int(i) for i in np.random.default_rng(0).integers(100, SHAPE["vocab_size"], 16)]
    rows: list[dict[str, list[Any]]] = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": [0] * len(ids)}
    ]
    twin = twin_of(graphs["same"], {(TARGET.name, 16): feeds_of([typical(rows)], 16, 1)[0]})
    found = read(kept)
    for kind in () if options.analyze else schedule(options.gates, len(found)):
        if time.time() > options.until:
            break
        found.append(occasion(kind, graphs, rows, twin))
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found[-1]) + "\n")
    report(
        sorted((o for path in options.work.glob("occasions*.jsonl") for o in read(path)), key=lambda o: float(o["at"]))
    )


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def schedule(gates: int, done: int) -> Iterator[str]:
    """Kinds of occasions: first all candidates beside the baseline, for the truth; then rounds; and a last baseline.

    There are rounds until so many gates were of the same file.
    """
    rounds = -(-gates // ROUND.count("same"))
    yield from (["beside", *ROUND * rounds, "baseline", "beside"])[done:]


def graphs_of(work: Path) -> dict[str, Path]:
    """ONNX files of random weights by candidate."""
    paths = {name: work / f"{name}.onnx" for name in CANDIDATES}
    if all(path.exists() for path in paths.values()):
        return paths
    plain = {name: work / f"{name}-plain.onnx" for name in paths}
    import torch
    from onnxruntime.quantization import quantize_dynamic
    from transformers import BertConfig, BertForSequenceClassification

    for name, layers in LAYERS.items():
        torch.manual_seed(0)
        model: Any = BertForSequenceClassification(
            BertConfig(num_hidden_layers=layers, attn_implementation="eager", **SHAPE)
        ).eval()
        export_classifier(model, plain[name])
    quantize_dynamic(plain["same"], plain["int8"], op_types_to_quantize=["MatMul"])
    for name, path in paths.items():
        save_optimized(plain[name], defaults(1), path)
    return paths


def occasion(kind: str, graphs: dict[str, Path], rows: list[Any], twin: Twin) -> dict[str, Any]:
    """What was measured on one."""
    began = time.time()
    measured = _measured(kind, graphs, rows, twin)
    samples = {m.subject: [round(float(s), 3) for s in m.samples] for m in measured}
    return {
        "kind": kind,
        "at": round(began, 1),
        "seconds": round(time.time() - began, 1),
        "load": round(os.getloadavg()[0], 1),
        "sittings": measured[0].sittings,
        "openings": measured[0].openings,
        "samples": samples,
        "waited": round(sum(m.waited_ms for m in measured) / 1e3, 1),
    }


def _measured(kind: str, graphs: dict[str, Path], rows: list[Any], twin: Twin) -> list[Measured]:
    if kind == "beside":
        files = {"baseline": graphs["same"], "same": graphs["same"], "slower": graphs["slower"], "int8": graphs["int8"]}
        many = TARGET.model_copy(update={"queries": 400})
        return measure(
            many, {name: Runnable(path) for name, path in files.items()}, None, rows, dict.fromkeys(files, OPTIONS)
        )
    subject = "baseline" if kind == "baseline" else "candidate"
    file = graphs["same" if kind == "baseline" else kind]
    return sittings(TARGET, {subject: Runnable(file)}, None, rows, twin, {subject: OPTIONS, TWIN: OPTIONS})


def measured_of(found: dict[str, Any], *, apart: bool) -> list[Measured]:
    about: dict[str, Any] = {
        "target": TARGET.name,
        "runtime": "onnxruntime",
        "device": "cpu",
        "threads": 1,
        "batch": 1,
        "sequence": 16,
        "session": {},
    }
    shared: dict[str, Any] = {
        "sittings": tuple(found["sittings"]),
        "openings": tuple(found["openings"]),
        "apart": apart,
    }
    return [
        Measured(subject=name, samples=np.array(samples), **about, **shared)
        for name, samples in found["samples"].items()
    ]


def decided(gate: dict[str, Any], baseline: dict[str, Any]) -> tuple[str, Bounds]:
    """Verdict and bounds of the speed-up, as a gate has them."""
    found = latency(GATE, [*measured_of(gate, apart=False), *measured_of(baseline, apart=True)])
    assert found.bounds is not None
    return found.verdict, found.bounds


def as_before(gate: dict[str, Any], baseline: dict[str, Any]) -> tuple[str, Bounds]:
    """A gate decided without the twin, of percentiles that each have the error of their own openings."""
    both = [
        (found["samples"][name], found["openings"]) for found, name in ((baseline, "baseline"), (gate, "candidate"))
    ]
    alone = [percentile_bounds(np.array(samples), 50.0, GATE.confidence, openings) for samples, openings in both]
    freedom = [len(openings) - 1 for _, openings in both]
    errors = [math.log(b.high / b.value) / t_quantile(GATE.confidence, n) for b, n in zip(alone, freedom, strict=True)]
    error = math.hypot(*errors)
    welch = error**4 / sum(e**4 / n for e, n in zip(errors, freedom, strict=True))
    value, half = math.log(alone[0].value / alone[1].value), error * t_quantile(GATE.confidence, welch)
    bounds = Bounds(*(math.exp(v) for v in (value, value - half, value + half)))
    return "pass" if bounds.low >= 1 else "fail" if bounds.high < 1 else "inconclusive", bounds


def report(found: list[dict[str, Any]]) -> None:
    files = [f for f in found if f["kind"] == "baseline"]
    truth = {name: beside(found, name) for name in CANDIDATES}
    results = []
    for name, what in CANDIDATES.items():
        gates = [g for g in found if g["kind"] == name]
        pairs = [(g, far) for g in gates if (far := [f for f in files if abs(f["at"] - g["at"]) >= APART])]
        one = [(g, far[number % len(far)]) for number, (g, far) in enumerate(pairs)]
        every = [(g, f) for g, far in pairs for f in far]
        for how, decide in (("", decided), (", as before", as_before)):
            results.append({"candidate": what + how, **counted(one, decide, truth[name])})
            results.append({"candidate": f"{what}{how}, every file", **counted(every, decide, truth[name])})
    load = sorted(f["load"] for f in found)
    about = {
        "what": f"{GATE.metric} min_speedup {GATE.min_speedup:g} at {GATE.confidence:.0%}, 16 tokens, 1 thread, "
        f"{SITTINGS} sittings of {TARGET.queries // SITTINGS} queries",
        "minutes from the first occasion to the last": round((found[-1]["at"] - found[0]["at"]) / 60),
        "baseline files": len(files),
        "load average (least, median, most)": [load[0], load[len(load) // 2], load[-1]],
        "share of the time that other programs had the processor": round(
            sum(f["waited"] for f in found) / (sum(f["waited"] for f in found) + _busy(found)), 2
        ),
        "largest change of the twin's median between files": round(_change(files), 3),
        "side by side": {CANDIDATES[n]: v for n, v in truth.items()},
    }
    raw = [json.dumps(each, separators=(",", ":")) for each in found]  # a line each: thousands of numbers
    save("occasions", {**about, "results": results, "occasions": raw})
    rows = [list(r.values()) for r in results]
    text = "\n\n".join((__doc__ or "").split("\n\n")[1:2])
    notes = "".join(f"- {k}: {v}\n" for k, v in about.items() if k != "what")
    write(
        "occasions.md",
        f"# Ratios of latencies taken at two times\n\n{text}\n\nGate: "
        f"{about['what']}.\n\n{table(list(results[0]), rows)}\n{notes}",
    )


def beside(found: Sequence[dict[str, Any]], name: str) -> float | None:
    """The speed-up where both were measured side by side."""
    ratios = [
        np.median(f["samples"]["baseline"]) / np.median(f["samples"][name]) for f in found if f["kind"] == "beside"
    ]
    return round(float(np.mean(ratios)), 3) if ratios else None


def counted(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]], decide: Any, truth: float | None) -> dict[str, Any]:
    """Verdicts, how often a one-sided bound is on the wrong side of the truth, and how wide the bounds are.

    The truth of the same file is 1.
    """
    both = [decide(*pair) for pair in pairs]
    verdicts, bounds = Counter(v for v, _ in both), [b for _, b in both]
    true = 1.0 if truth is not None and abs(truth - 1) < 0.1 else truth or math.nan
    middle = partial(np.median, [b.value for b in bounds])
    return {
        "gates": len(both),
        "truth": true,
        "pass": verdicts["pass"],
        "inconclusive": verdicts["inconclusive"],
        "fail": verdicts["fail"],
        "low above the truth": sum(b.low > true for b in bounds),
        "high below it": sum(b.high < true for b in bounds),
        "ratio": round(float(middle()), 3),
        "from": round(min(b.value for b in bounds), 3),
        "to": round(max(b.value for b in bounds), 3),
        "half width": f"{float(np.median([b.high / b.value - 1 for b in bounds])):.1%}",
    }


def _busy(found: Sequence[dict[str, Any]]) -> float:
    return sum(sum(map(sum, f["samples"].values())) for f in found) / 1e3


def _change(files: Sequence[dict[str, Any]]) -> float:
    medians = [float(np.median(f["samples"][TWIN])) for f in files]
    return max(medians) / min(medians) - 1


if __name__ == "__main__":
    main()
