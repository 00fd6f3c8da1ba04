"""The cases that `edgeopt plan` tells, from benchmarks/results: src/edgeopt/plan/measured.json.

A case is kept where its steps are a recipe's of today and its change has an interval: over the rows, or over seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from statistics import mean
from typing import Any

from edgeopt.step import registry

from .benchmarks import RESULTS
from .benchmarks import ROOT as ROOT

#: Of each model its family, layers and hidden size.
MODELS = {
    "e5-small": ("bert", 12, 384),
    "minilm-l6": ("bert", 6, 384),
    "electra-l6": ("electra", 6, 384),
}
#: What a model is called, where its name alone would mislead.
CALLED = {"electra-l6": "minilm-l6's weights in an ELECTRA"}
#: Of each task its name, type, classes, and the rows of train, which is what `all` stands for.
TASKS = {
    "sst2": ("SST-2", "text-classification", 2, 67_349),
    "mrpc": ("MRPC", "text-classification", 2, 3_668),
    "stsb": ("STS-B", "text-regression", 0, 5_749),
}
#: Steps whose training was written anew since tables in older words of a recipe were measured: those are not told.
REWRITTEN = {"prune.cofi", "quantize.qat"}
_OLD_WORD = "budget"
#: A one-sided 95 % bound over so many seeds, in standard errors (Student's t).
_T = {2: 6.314, 3: 2.920, 4: 2.353, 5: 2.132}
Found = Iterator[dict[str, Any]]


def measured() -> str:
    """The text of measured.json."""
    found = []
    for path in sorted(RESULTS.glob("*.json")):
        for start, cases in _TABLES.items():
            if path.stem.startswith(start):
                table = json.loads(path.read_text(encoding="utf-8"))
                told = [case for case in cases(table) if _today(case["steps"], _words(table.get("settings", {})))]
                found += [{"table": path.stem, **case, **_where(table)} for case in told]
    lines = ",\n".join(f"  {json.dumps(case, ensure_ascii=False)}" for case in found)
    return f'{{"made_by": "scripts/make_docs.py from benchmarks/results", "cases": [\n{lines}\n]}}\n'


def _where(table: dict[str, Any]) -> dict[str, Any]:
    family, layers, hidden = MODELS[table["model"]]
    task, kind, classes, rows = TASKS[table["task"]]
    given = table["train_rows"]
    return {
        "model": CALLED.get(table["model"], table["model"]),
        "family": family,
        "layers": layers,
        "hidden": hidden,
        "task": task,
        "type": kind,
        "classes": classes,
        "train_rows": rows if given == "all" else given,
        "processor": table["environment"]["cpu"],
    }


def _words(settings: Any) -> set[str]:
    """The keys of settings, and of what is below them."""
    below = settings.values() if isinstance(settings, dict) else settings if isinstance(settings, list) else []
    return {*(settings if isinstance(settings, dict) else ())}.union(*map(_words, below))


def _today(steps: list[dict[str, Any]], words: set[str]) -> bool:
    """Whether the steps do today what was measured. words: of the table. `budget` is brought to today's words."""
    for step in steps:
        params = registry.get(step["use"]).Params
        unknown = {*step} - {"use", *params.model_fields}
        if step["use"] in REWRITTEN and (_OLD_WORD in words or unknown):
            return False
        step |= step.pop(_OLD_WORD, {})
        params.model_validate({k: v for k, v in step.items() if k != "use"})
    return True


def _case(name: str, steps: list[dict[str, Any]], change: dict[str, Any], **more: Any) -> dict[str, Any]:
    plain = [{k: v for k, v in step.items() if k not in ("id", "seed", "teacher")} for step in steps]
    return {"name": name, "steps": plain, "runs": 1, **change, **more}


def _rows(metric: str, found: dict[str, float]) -> dict[str, Any]:
    """A change whose interval is over the rows."""
    return {"metric": metric, "change": found["change"], "low": found["change_low"], "high": found["change_high"]}


def _seeds(metric: str, change: float, std: float, runs: int) -> dict[str, Any]:
    """A change whose interval is over seeds."""
    wide = _T[runs] * std / runs**0.5
    low, high = round(change - wide, 4), round(change + wide, 4)
    return {"metric": metric, "change": round(change, 4), "low": low, "high": high, "runs": runs}


def _pruning(table: dict[str, Any]) -> Found:
    for name, steps in table["settings"].items():
        result = table["results"][name]
        if isinstance(steps, list) and steps:
            more = {"left": result["macs_left"], "seconds": round(sum(result["seconds"].values()), 1)}
            yield _case(name, steps, _rows("accuracy", result["accuracy"]), **more)


def _int8(table: dict[str, Any]) -> Found:
    for name, steps in table["settings"].items():
        result = table["results"].get(name, {})
        if isinstance(steps, list) and steps and "seconds" in result:
            metric, change = next(iter(result["metrics"].items()))
            yield _case(
                name, steps, _rows(metric, change), left=round(result["size_ratio"], 4), seconds=result["seconds"]
            )


def _distillation(table: dict[str, Any]) -> Found:
    kept = [int(layer) for layer in table["layers"].split(",")]
    left = round(len(kept) / MODELS[table["model"]][1], 4)
    for name, result in table["results"].items():
        losses = dict(table["losses"][name])
        step = {"use": "distill", "student": {"layers": kept}, "epochs": table["student_epochs"], "losses": losses}
        if "temperature" in losses:
            step["temperature"] = losses.pop("temperature")
        found = result["accuracy"]
        change = _seeds("accuracy", found["mean"] - found["teacher"], found["std"], len(found["each"]))
        yield _case(name, [step], change, left=left, seconds=result["train_seconds"]["median"])


def _which_pruning(table: dict[str, Any]) -> Found:
    for name, result in table["results"].items():
        if result["std"] is None or name not in table["settings"]:
            continue
        runs = result["runs"].values()
        count = mean(run["optimizer_steps"] for run in runs)
        steps = [{"use": use, **keys} for use, keys in table["settings"][name] if use != "finetune"]
        change = _seeds("accuracy", result["change"], result["std"], len(runs))
        more = {"left": result["macs_left"], "seconds": result["seconds"]}
        yield _case(name, _scaled(steps, count / _length(steps)), change, **more)


def _length(keys: Any) -> int:
    """All optimizer steps that keys and the keys below them name."""
    if isinstance(keys, list):
        return sum(map(_length, keys))
    return sum(v if k == "max_steps" else _length(v) for k, v in keys.items()) if isinstance(keys, dict) else 0


def _scaled(keys: Any, factor: float) -> Any:
    """The same with as many optimizer steps as the runs had; the settings have a round number of them."""
    if isinstance(keys, list):
        return [_scaled(each, factor) for each in keys]
    if not isinstance(keys, dict):
        return keys
    return {
        k: max(1, round(v * factor)) if k == "max_steps" else _scaled(v, factor)
        for k, v in keys.items()
        if k not in ("seed", "teacher")
    }


_TABLES = {
    "pruning_": _pruning,
    "int8_methods_": _int8,
    "distillation_": _distillation,
    "which_pruning_": _which_pruning,
}
