"""Whether the folder of a finished run is whole and is still what its plan would give."""

from __future__ import annotations

from pathlib import Path

from edgeopt import __version__
from edgeopt.errors import InputError
from edgeopt.lock import differences, make_lock, read_lock
from edgeopt.measuring import read_evidence
from edgeopt.plan import Plan, full_name, key_parts, plans_by_seed
from edgeopt.report.model import Report
from edgeopt.run import LOCK, LOG, REPORT, load_report
from edgeopt.store import key_of
from edgeopt.tasks import task_of


def why_again(plan: Plan, folder: Path) -> str | None:
    """Why a plan has to be run although its folder is there: in a few words, None where it need not be; empty where there
    is no folder. plan: with model and rows here.

    Recipe, model, rows, packages and the key of every step must be what the lock says. The keys follow from the lock
    alone, so that the store need not hold the states any more."""
    if not folder.exists():
        return ""
    try:
        report, lock = load_report(folder), read_lock(folder / LOCK)
        if damaged := _damaged(plan, report, folder):
            return f"{damaged} is damaged"
        if lock.get("edgeopt") != __version__:
            return f"edgeopt {lock.get('edgeopt')} → {__version__}"
        now = make_lock(plan.recipe, plan.source, plan.data)
        return next(iter(differences(lock, now, early=True)), None) or _other_key(plan, lock["steps"])
    except InputError as error:
        return error.issues[0].message
    except (KeyError, TypeError):
        return f"{LOCK} is damaged"


def _damaged(plan: Plan, report: Report, folder: Path) -> str | None:
    """Name of a file that is absent or not what was written."""
    texts = (REPORT.replace(".json", ".html"), REPORT.replace(".json", ".md"), LOG)
    if absent := next((name for name in texts if not (folder / name).is_file()), None):
        return absent
    exported = folder / report.candidate.artifact
    if sum(p.stat().st_size for p in (*exported.parent.glob(exported.name), *exported.parent.glob(f"{exported.name}*data*"))) != report.candidate.size_bytes:
        return report.candidate.artifact
    for spec in plan.recipe.head.export[1:]:
        if not (folder / f"model-{spec.format}").is_dir():
            return f"model-{spec.format}"
    try:
        evidence = read_evidence(folder, task_of(plan.recipe.head.task, report.task.labels), report.baseline, report.candidate)
    except (OSError, ValueError, KeyError, TypeError):
        return "what was measured"
    return None if len(evidence.labels) == report.task.rows else "what was measured"


def _other_key(plan: Plan, locked: dict[str, dict[str, str]]) -> str | None:
    """The first step that has another key now than in the lock."""
    assert plan.data is not None
    for each in plans_by_seed(plan):
        for chain, steps in each.chains.items():
            digest = each.source.fingerprint() or ""
            for step in steps:
                name = full_name(each.recipe.variant, chain, step.id)
                entry = locked.get(name, {})
                parts = key_parts(step, digest, each, plan.data.key("train"))
                if "processes" in entry:
                    parts["processes"] = entry["processes"]
                if key_of(parts) != entry.get("key"):
                    return f"{name} has another key"
                digest = entry["digest"]
    return None
