"""Whether the folder of a finished run is whole and is still what its plan would give, here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeopt.measure.emissions import country_of
from edgeopt.plan import Plan, full_name, looked_up
from edgeopt.results.changes import changes
from edgeopt.results.model import Report
from edgeopt.results.sealed import LOCK, open_run
from edgeopt.run.lock import differences, make_lock
from edgeopt.store.store import State, Store
from edgeopt.support import host
from edgeopt.support.errors import InputError
from edgeopt.support.files import key_of
from edgeopt.support.version import __version__


def why_again(plan: Plan, store: Store, folder: Path, processes: int | None = None) -> str | None:
    """Why a plan has to be run although the folder of a run is there: in a few words, None where it need not be.

    plan: with model and rows here. processes: on how many it would be run, and on this machine; None: it may have been
    run anywhere.

    The folder must be as it was written; recipe, model, rows, packages and the keys of the steps must be what the lock
    says. The store need not hold a state.
    """
    try:
        _, report, lock = open_run(folder)
        if lock["edgeopt"] != __version__:
            return f"edgeopt {lock['edgeopt']} → {__version__}"
        other = host.machine_differences(report.environment, host.environment())
        if processes is not None and other:
            return f"another machine: {'; '.join(other)}"
        now = make_lock(plan.recipe, plan.source, plan.data)
        found = next(iter(differences(lock, now, early=True)), None) or next(
            map(str, changes(lock["diagnostics"], now["diagnostics"], "diagnostics")), None
        )
        return (
            found
            or _other_key(plan, _Locked(store, lock["steps"]), lock["steps"], processes)
            or _other_energy(plan, report)
        )
    except InputError as error:
        return error.issues[0].message
    except (KeyError, TypeError):
        return f"{LOCK} is damaged"


class _Locked(Store):
    """What a lock says of its states, whose digests are all that later keys need: no file of a state is read.

    Of checkpoints that steps name the lock says nothing, and the store tells.
    """

    def __init__(self, store: Store, steps: dict[str, dict[str, Any]]) -> None:
        super().__init__(store.root)
        self._digests = {entry["key"]: entry["digest"] for entry in steps.values()}

    def find(self, key: str) -> State | None:
        return (
            State(self.root, {"key": key, "digest": self._digests[key]})
            if key in self._digests
            else self.unverified(key)
        )

    def why_damaged(self, key: str) -> str | None:
        return None


def _other_key(plan: Plan, store: Store, locked: dict[str, dict[str, Any]], processes: int | None) -> str | None:
    """The first step whose key is another than in the lock, or that was trained on another number of processes.

    Steps behind one that several processes trained are looked at as far as the store tells.
    """
    for each in looked_up(plan, store):
        for step in each.steps:
            name = full_name(each.recipe.variant, step.chain, step.id)
            entry = locked.get(name, {})
            before = entry.get("processes", 1)
            if processes not in (None, before) and step.transform.trains(step.params):
                return f"{name}: trained on {before} processes → {processes}"
            key = key_of({**step.parts, "processes": before}) if before > 1 and step.key else step.key
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
