"""A state of the store as a folder of the user's own: copies of its files, which may be changed."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from edgeopt.results.model import Step
from edgeopt.results.sealed import open_run
from edgeopt.store.facts import Fact, facts
from edgeopt.store.store import State, Store
from edgeopt.support.errors import Place, bad_input
from edgeopt.support.files import file_digest
from edgeopt.support.publishing import disk_errors, is_nothing

#: Of a state with one of these, transformers would read a part and say nothing of the rest.
_APART = facts(Fact.ADAPTER, Fact.GRAPH_ADAPTER, Fact.NF4)
#: The beginning of a key that may be given for it.
_KEY = re.compile("[0-9a-f]{6,64}")


def state_of_run(store: Store, run: Path, step: str | None) -> State:
    """The state that a step of a run left: a step of the candidate, or as `baseline.ID` one of the baseline.

    Raises InputError E115, E150 for what is no run as it was written, E158 where there is no such state.
    """
    steps = {(f"{s.chain}." if s.chain == "baseline" else "") + s.id: s for s in open_run(run).report.steps}
    found = steps.get(step or "")
    if found is None:
        what = "say which step's model" if step is None else f"the run has no step '{step}'"
        raise bad_input("E158", what, place=Place.of(run), help=f"its steps: {', '.join(map(_named, steps.items()))}")
    state = store.find(found.key)
    if state is None:
        raise bad_input(
            "E158",
            f"the store {store.root} does not have what step '{step}' left",
            help="give the run's store with --store, or type the `apply` of the run again",
        )
    return state


def state_of_key(store: Store, given: str) -> State:
    """The state whose key begins so. Raises InputError E158 where there is none, or more than one."""
    keys = [state.key for state in store.states() if state.key.startswith(given)] if _KEY.fullmatch(given) else []
    if len(keys) > 1:
        raise bad_input("E158", f"{len(keys)} keys begin with {given}", help=f"give more of it: {keys[0][:20]}")
    state = store.find(keys[0]) if keys else None
    if state is None:
        raise bad_input(
            "E158",
            f"'{given}' is neither the folder of a run nor the key of a sound state in {store.root}",
            help="`edgeopt cache ls` shows the keys; --store names another store",
        )
    return state


def take_out(store: Store, state: State, out: Path) -> None:
    """Copy a state's files into a folder that is new or empty, all at once. A folder that has just these stays.

    Raises InputError E158 for a state that transformers does not load, E114 where the folder has anything else, or is
    in the store, which has folders of its own alone.
    """
    _check_loadable(state)
    out = out.resolve()
    if out.is_relative_to(store.root.resolve()):
        raise bad_input("E114", f"--out {out} is in the store", help="give a folder outside of it")
    if _has_just(state, out):
        return
    try:
        with disk_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
                new = Path(scratch) / "new"
                for name in state.files:
                    (new / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(state.folder / name, new / name)
                new.rename(out)
    except OSError as error:
        raise bad_input(
            "E114", f"--out {out} cannot be written: {error.strerror}", help="give a new folder of your own"
        ) from None


def _has_just(state: State, out: Path) -> bool:
    """Whether the folder has the state's files and nothing else. Raises InputError E114 where it has anything else."""
    if not out.exists():
        return False
    if not out.is_dir():
        raise bad_input("E114", f"--out {out} is a file", help="give a new folder")
    found = {p.relative_to(out).as_posix(): p for p in out.rglob("*") if p.is_symlink() or not p.is_dir()}
    found = {name: path for name, path in found.items() if not is_nothing(name)}
    if not found:
        return False
    same = found.keys() == state.files.keys() and all(
        path.is_file() and file_digest(path) == state.files[name]["sha256"] for name, path in found.items()
    )
    if not same:
        raise bad_input("E114", f"--out {out} has other files in it", help="give a new or empty folder")
    return True


def _check_loadable(state: State) -> None:
    if Fact.TORCH not in state.facts:
        raise bad_input(
            "E158",
            f"what {state.manifest['use']} left is no torch model, and transformers does not load it",
            help="take an earlier step; of a run, RUN/model has the file that is shipped",
        )
    if apart := _APART & state.facts:
        raise bad_input(
            "E158",
            f"what {state.manifest['use']} left has an {sorted(apart)[0]}, which transformers does not load with it",
            help="take a step behind the one that merges it",
        )


def _named(item: tuple[str, Step]) -> str:
    return f"{item[0]} ({item[1].use})"
