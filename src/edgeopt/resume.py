"""Whether the folder of a finished run is whole and is still what its plan would give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeopt import __version__
from edgeopt.emissions import country_of
from edgeopt.errors import InputError
from edgeopt.lock import differences, make_lock
from edgeopt.plan import Plan, full_name, looked_up
from edgeopt.report.model import Report
from edgeopt.sealed import LOCK, open_run
from edgeopt.store import Store, key_of


def why_again(plan: Plan, store: Store, folder: Path) -> str | None:
    """Why a plan has to be run although its folder is there: in a few words, None where it need not be; empty where there
    is no folder. plan: with model and rows here.

    Recipe, model, rows and packages must be what the lock says, and so must the keys of the steps as far as the store tells."""
    if not folder.exists():
        return ""
    try:
        _, report, lock = open_run(folder)
        if lock.get("edgeopt") != __version__:
            return f"edgeopt {lock.get('edgeopt')} → {__version__}"
        now = make_lock(plan.recipe, plan.source, plan.data)
        return next(iter(differences(lock, now, early=True)), None) or _other_key(plan, store, lock["steps"]) or _other_energy(plan, report)
    except InputError as error:
        return error.issues[0].message
    except (KeyError, TypeError):
        return f"{LOCK} is damaged"


def _other_key(plan: Plan, store: Store, locked: dict[str, dict[str, Any]]) -> str | None:
    """The first step whose key, where the store holds all before it, is another than in the lock."""
    for each in looked_up(plan, store):
        for step in each.steps:
            name = full_name(each.recipe.variant, step.chain, step.id)
            entry = locked.get(name, {})
            key = key_of({**step.parts, "processes": entry["processes"]}) if "processes" in entry and step.key else step.key
            if key is not None and key != entry.get("key"):
                return f"{name} has another key"
    return None


def _other_energy(plan: Plan, report: Report) -> str | None:
    """What a lock does not hold: the energy that is asked for, where it was not measured so."""
    asked, found = plan.recipe.head.emissions, report.emissions
    if asked is None or (found and (found.country, found.seconds) == (country_of(asked), asked.seconds)):
        return None
    before = f"{found.country}, {found.seconds:g} s" if found else "not measured"
    return f"emissions: {before} → {country_of(asked)}, {asked.seconds:g} s"
