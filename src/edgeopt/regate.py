"""Decide gates again, on the evidence that a run left in its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from edgeopt.errors import InputError, Issue, Place, bad_input
from edgeopt.gates import decide
from edgeopt.measuring import read_evidence
from edgeopt.recipe.load import load_recipe
from edgeopt.recipe.schema import MEASURED, GateSpec, TaskSpec
from edgeopt.report.model import Gate, Report
from edgeopt.run import LOCK, load_report
from edgeopt.slices import LABEL
from edgeopt.tasks import task_of


def regate(folder: Path, recipe: Path | None, overrides: Sequence[str]) -> list[Gate]:
    """The gates of `recipe`, or of the lock, decided. Raises InputError E115 for a folder that is not a
    run's, E118 where the recipe asks for what the run did not measure."""
    report = load_report(folder)
    try:
        resolved = json.loads((folder / LOCK).read_text(encoding="utf-8"))["recipe"]["resolved"]
        task = task_of(TaskSpec.model_validate(resolved["task"]), report.task.labels)
        evidence = read_evidence(folder, task, report.baseline, report.candidate)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise bad_input("E115", f"the run {folder} is damaged: {' '.join(str(error).split())[:200]}", help="apply the recipe again") from None
    if recipe is None:
        if overrides:
            raise bad_input("E109", "--set needs --recipe: without it the gates are those of the run")
        specs: list[tuple[GateSpec, Place | None]] = [(GateSpec.model_validate(g), None) for g in resolved["gates"]]
    else:
        loaded = load_recipe(recipe, overrides)
        specs = [(g, loaded.document.place(("gates", i))) for i, g in enumerate(loaded.head.gates)]
    issues = [
        Issue("E118", f"the run did not measure {missing}", place, "apply the recipe again")
        for spec, place in specs
        if (missing := _missing(spec, report, {*evidence.groups}))
    ]
    if issues:
        raise InputError(issues)
    return [decide(spec, evidence, line=place.line if place else None) for spec, place in specs]


def _missing(spec: GateSpec, report: Report, groupings: set[str]) -> str | None:
    if spec.slice not in (None, "worst", LABEL, *groupings):
        return f"slices by {spec.slice}"
    if spec.metric not in MEASURED:
        return None if spec.metric in report.candidate.metrics else spec.metric
    if not spec.metric.startswith("latency"):
        return None
    found = [m for m in report.latency if spec.target in (None, m.target)]
    if not found:
        return f"target '{spec.target}'"
    if spec.sequence is not None and spec.sequence not in {m.sequence for m in found}:
        return f"sequence {spec.sequence}"
    return None
