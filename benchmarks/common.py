"""What the benchmarks share: their arguments, their result files, ratios with spread."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from edgeopt.gates.evidence import Evidence, read_evidence
from edgeopt.results.model import Report
from edgeopt.results.sealed import open_run
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support import host
from edgeopt.tasks import task_of

RESULTS = Path(__file__).parent / "results"
#: what a recipe says of the rows of a task, whose files --data has
TASKS: dict[str, dict[str, Any]] = {
    "mrpc": {"text": ["sentence1", "sentence2"], "max_length": 128},
    "sst2": {"text": "sentence", "max_length": 64},
    "sst5": {"text": "sentence", "max_length": 64},
    "stsb": {"type": "text-regression", "text": ["sentence1", "sentence2"], "max_length": 128},
}
#: those whose metrics are accuracy and F1
CLASSIFICATIONS = [name for name, keys in TASKS.items() if "type" not in keys]
DEMO = Path(__file__).parents[1] / "build" / "quickstart"


def export_classifier(model: Any, path: Path) -> None:
    """A torch classifier's logits as ONNX, batch and sequence dynamic."""
    import torch

    names = ["input_ids", "attention_mask", "token_type_ids"]

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: torch.Tensor) -> Any:
            return self.model(**dict(zip(names, inputs, strict=True))).logits

    given = torch.ones(2, 16, dtype=torch.int64)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Logits().eval(),
            (given, given, 0 * given),
            str(path),
            dynamo=False,
            opset_version=17,
            input_names=names,
            output_names=["logits"],
            dynamic_axes={n: {0: "batch", 1: "sequence"} for n in names} | {"logits": {0: "batch"}},
        )


def arguments(description: str, *, repeats: int | None = 5) -> argparse.ArgumentParser:
    """--model and --data, which default to what `make demo` lays out, and --repeats unless it is None."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", type=Path, default=DEMO / "model", help="model folder")
    parser.add_argument(
        "--data", type=Path, default=DEMO, help="folder with train.jsonl and validation.jsonl, columns text and label"
    )
    if repeats is not None:
        parser.add_argument("--repeats", type=int, default=repeats)
    return parser


def applied(recipe: dict[str, Any], work: Path) -> Path:
    """Apply a recipe in a process of its own, over the store in `work`, unless its run is there; the run's folder."""
    path, out = work / f"{recipe['name']}.yaml", work / "runs" / recipe["name"]
    text = json.dumps(recipe)
    if out.exists() and path.exists() and path.read_text(encoding="utf-8") == text:
        return out
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(recipe["name"], file=sys.stderr)
    subprocess.run(
        [sys.executable, "-m", "edgeopt", "apply", path, "--out", out, "--store", work / "store", "--quiet"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return out


def worker(module: str, task: dict[str, Any], python: Path | None = None) -> str:
    """What a module prints that is given the task on stdin, in a process of its own; python: another than this one.

    Raises SystemExit with what it said where it fails.
    """
    command = [str(python or sys.executable), "-W", "ignore", "-m", module]
    done = subprocess.run(
        command, input=json.dumps(task), capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1]
    )
    if done.returncode != 0:
        raise SystemExit(f"{module} failed:\n{done.stderr[-4000:]}")
    return done.stdout


def report_of(run: Path) -> Report:
    return Report.model_validate_json((run / "report.json").read_text(encoding="utf-8"))


def evidence_of(run: Path) -> Evidence:
    """What a run leaves for gates: labels and both models' outputs."""
    opened = open_run(run)
    spec = TaskSpec.model_validate(opened.lock["recipe"]["resolved"]["task"])
    return read_evidence(opened, task_of(spec, opened.report.task.labels))


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    return {
        "median": round(median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, numbers to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def save(name: str, result: dict[str, Any]) -> None:
    """Write results/<name>.json with the machine it was measured on, and print it."""
    environment = {k: v for k, v in host.environment().items() if k in ("cpu", "cpus", "cpu_flags", "packages")}
    text = json.dumps({**result, "environment": environment}, indent=1, ensure_ascii=False)
    write(f"{name}.json", text + "\n")


def write(name: str, text: str) -> None:
    """Write results/<name>, and print it."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(text, encoding="utf-8")
    print(text)
