"""Pages of what was measured, each from a template and the JSON files in benchmarks/results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import jinja2

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
TEMPLATES = ROOT / "scripts" / "templates"
#: Task and model of each table of int8 methods.
INT8_TABLES = [(task, model) for task in ("mrpc", "sst2", "stsb") for model in ("minilm-l6", "electra-l6")]
#: What benchmarks.qat compares, in the order of its columns.
QAT_WAYS = ("static", "float-then-static", "qat")
#: What a task is called.
TITLES = {"sst2": "SST-2", "mrpc": "MRPC"}


def result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def int8_row(task: str, model: str, method: str) -> dict[str, float]:
    """Change of the first metric, and its bounds."""
    found: dict[str, float] = next(iter(result(f"int8_methods_{task}_{model}")["results"][method]["metrics"].values()))
    return found


def int8_change(task: str, model: str, method: str) -> str:
    row = int8_row(task, model, method)
    return f"{row['change']:+.4f}{'' if row['change_low'] <= 0 <= row['change_high'] else ' *'}"


def qat_losses() -> int:
    """In how many tables QAT changed the metric for the worse of plain min-max calibration."""
    return sum(int8_row(*table, "qat")["change"] < int8_row(*table, "static-minmax")["change"] for table in INT8_TABLES)


def qat_rows(bits: str) -> Iterator[tuple[str, int, list[str], list[str]]]:
    """Table, seeds, and for each way the change of the metric and the distance, for tables that have all ways."""
    for name, seeds in sorted(result("qat")["tables"].items()):
        whole = [s for s in seeds.values() if all(f"{way}-{bits}" in s for way in QAT_WAYS)]
        if whole:
            changes = [[s[f"{way}-{bits}"]["metric"] - s["fp32"]["metric"] for s in whole] for way in QAT_WAYS]
            distances = [[s[f"{way}-{bits}"]["distance"] for s in whole] for way in QAT_WAYS]
            yield name, len(whole), [_spread(c, "+.4f") for c in changes], [_spread(d, ".4f") for d in distances]


def qat_paired(bits: str, other: str, what: str) -> tuple[float, float, int]:
    """Mean and standard deviation over all pairs of what QAT has more than another way, and the number of pairs."""
    found = [
        s[f"qat-{bits}"][what] - s[f"{other}-{bits}"][what]
        for seeds in result("qat")["tables"].values()
        for s in seeds.values()
        if all(f"{way}-{bits}" in s for way in QAT_WAYS)
    ]
    return mean(found), stdev(found) if len(found) > 1 else 0.0, len(found)


def _spread(values: list[float], form: str) -> str:
    return f"{mean(values):{form}}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


def which_pruning() -> list[tuple[str, dict[str, Any]]]:
    """Each table of benchmarks.which_pruning with its heading, the largest share that is left first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("which_pruning_*.json")]
    found.sort(key=lambda d: (TITLES[d["task"]], -d["macs"]))
    return [(f"{TITLES[d['task']]}, {d['macs']:.0%} of the multiply-accumulates", d) for d in found]


def fastest(model: dict[str, Any]) -> dict[str, Any]:
    """The peer with the least time at batch 1, ours with the least, and how many times less that is."""
    timed = [s for s in model["subjects"] if "p50_ms" in s]
    ours, peer = (
        min((s for s in timed if s["name"].startswith("edgeopt") == own), key=lambda s: s["p50_ms"][0])
        for own in (True, False)
    )
    return {"ours": ours["name"], "peer": peer["name"], "times": peer["p50_ms"][0] / ours["p50_ms"][0]}


def gate_errors() -> Iterator[tuple[str, int, float, float]]:
    """For a planted drop of just the margin: metric, rows, and the shares of samples that passed and failed."""
    found = result("gate_simulation")
    return ((g["metric"], g["rows"], g["pass"], g["fail"]) for g in found["gates"] if g["drop"] == found["margin"])


def benchmarks() -> dict[str, str]:
    """The text of each page by its name."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    templates.globals.update(
        result=result,
        int8_tables=INT8_TABLES,
        int8_methods=[
            m
            for m in result("int8_methods_mrpc_minilm-l6")["results"]
            if m != "fp32" and not m.endswith((".ort", "default session"))
        ],
        int8_change=int8_change,
        qat_losses=qat_losses,
        qat_rows=qat_rows,
        qat_paired=qat_paired,
        which_pruning=which_pruning,
        result_exists=lambda name: (RESULTS / f"{name}.json").exists(),
        gate_errors=gate_errors,
        fastest=fastest,
    )
    names = sorted(path.name for path in (TEMPLATES / "benchmarks").glob("*.md.j2"))
    return {
        name.removesuffix(".j2"): templates.get_template(f"benchmarks/{name}").render().lstrip("\n") for name in names
    }
