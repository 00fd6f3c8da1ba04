"""One execution of a recipe: plan, build, export, measure, decide, and leave one folder."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeopt.distributed import Group
from edgeopt.errors import StepError, bad_input, step_failed
from edgeopt.execute import is_disk_full
from edgeopt.exporting import keep, write_exports
from edgeopt.lock import check_lock, make_lock
from edgeopt.measuring import measure_all, write_measurements
from edgeopt.plan import Plan, check
from edgeopt.progress import Progress
from edgeopt.recipe.load import Recipe
from edgeopt.report.build import build_report
from edgeopt.report.model import Report
from edgeopt.report.write import write_report
from edgeopt.sealed import LOCK, LOG, REPORT, files_of
from edgeopt.seeds import execute_seeds, measure_seeds, summarise, write_seeds
from edgeopt.store import Store, key_of, write_json

#: What marks a folder as one of ours, that a later run may replace.
_OURS = (REPORT, LOCK)


@dataclass(frozen=True)
class Outcome:
    """A finished run."""

    report: Report
    folder: Path


def run(recipe: Recipe, store: Store, out: Path, progress: Progress, group: Group, *, locked: Path | None = None) -> Outcome:
    """Apply a recipe. The folder appears whole, or (after an error) stays as it was.
    Raises InputError before any compute, StepError when a step fails."""
    writable(out, _OURS)
    # `execute` looks each step up when it comes to it: once is enough to verify every file
    return run_plan(check(recipe), store, out, progress, group, locked=locked)


def run_plan(plan: Plan, store: Store, out: Path, progress: Progress, group: Group, *, locked: Path | None = None) -> Outcome:
    """The same of a recipe that is checked, into a folder that may be written. Raises as `run` does."""
    recipe = plan.recipe
    store.prepare()
    if locked is not None:
        check_lock(locked, make_lock(recipe, plan.source, plan.data), early=True)
    # two runs into one folder take turns; the second finds everything cached
    turn = store.lock(f"out-{key_of({'out': str(out)})}")
    log = store.root / "logs" / f"{recipe.head.name}.log"
    with store.in_use(), turn, disk_errors(out), building(out) as folder:
        with _logging_to(folder / LOG, log):
            report, lock = _fill(folder, plan, store, progress, group, locked)
        # the log is closed: nothing is written to any file of the run from here on
        write_json(folder / LOCK, {**lock, "files": files_of(folder)})
        write_report(report, folder, pair=len(recipe.head.task.columns) > 1)
        publish(folder, out)
    return Outcome(report, out)


def _fill(folder: Path, plan: Plan, store: Store, progress: Progress, group: Group, locked: Path | None) -> tuple[Report, dict[str, Any]]:
    """All that is built, exported and measured, into the folder; returns the report and the lock that describe it."""
    recipe = plan.recipe
    by_seed = execute_seeds(plan, store, progress, group)
    executed = next(iter(by_seed.values()))
    lock = make_lock(recipe, executed.source, executed.data, {variant: each.chains for variant, each in by_seed.items()})
    if locked is not None:
        check_lock(locked, lock)
    written, left_out = write_exports(recipe, executed, folder, progress)
    measured = measure_all(recipe, executed, written, progress)
    measured.notes.extend(left_out)
    keep(measured.kept, written, folder)
    seeds = measure_seeds(plan, list(by_seed.values()), measured.evidence, progress)
    write_measurements(folder, measured)
    write_seeds(folder, measured.evidence.task, measured.evidence.labels, seeds)
    return build_report(recipe, executed, measured, summarise(measured.evidence.task, measured.evidence.labels, seeds)), lock


def writable(out: Path, ours: Sequence[str], but: Sequence[str] = ()) -> None:
    """Refuse to replace a folder that is not one of ours, which has files of those names, before anything is computed.
    but: what may lie in any. Raises InputError E114."""
    if out.is_file():
        raise bad_input("E114", f"--out {out} is a file", help="give a folder")
    if out.is_dir() and any(p.name not in but for p in out.iterdir()) and not all((out / name).is_file() for name in ours):
        raise bad_input("E114", f"--out {out} holds files that no run of edgeopt made", help="give a new or empty folder, or that of an earlier run")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}."):
            pass
    except OSError as error:
        raise bad_input("E114", f"--out {out} cannot be written: {error.strerror}", help="give a folder of your own") from None


@contextmanager
def building(out: Path) -> Iterator[Path]:
    """A folder beside the final one; gone again unless it was published. What an earlier run left there
    when it was killed goes too."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for left in out.parent.glob(f".{out.name}.building-*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.building-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """A full disk outside a step: while exports, figures or reports are written."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error, out.parent):
            raise step_failed(
                "E405",
                f"the disk is full: the run folder {out} could not be written",
                help="free space there and type the same command again: every finished step is kept",
            ) from error
        raise


def publish(folder: Path, out: Path) -> None:
    """Put the finished folder where the old one was: two renames, so that one of them is always there."""
    old = None
    if out.exists():
        old = out.parent / f".{out.name}.old"
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
    folder.rename(out)
    if old:
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _logging_to(path: Path, kept: Path) -> Iterator[None]:
    """Everything any library says, with the time, into the run's log. A step that fails takes the folder of
    the run with it: its log, with the whole trace, is then left at `kept`, and the error says so."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.INFO)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    except StepError as error:
        handler.handle(logging.makeLogRecord({"name": "edgeopt", "levelname": "ERROR", "levelno": logging.ERROR, "msg": str(error),
                                              "exc_info": (type(error), error, error.__traceback__)}))  # fmt: skip
        with suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, kept)
            raise StepError([replace(i, help=f"{i.help}; " * bool(i.help) + f"log: {kept}") for i in error.issues]) from error
        raise
    finally:
        root.removeHandler(handler)
        handler.close()
