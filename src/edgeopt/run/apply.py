"""One execution of a recipe: plan, build, export, measure, decide, and leave one folder."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeopt.plan import Plan, check
from edgeopt.plan.fit import check_importable, check_runnable
from edgeopt.recipe.load import Recipe
from edgeopt.report.write import write_report
from edgeopt.results import sealed
from edgeopt.results.model import Report
from edgeopt.results.sealed import LOCK, LOG, REPORT, export_folders, files_of, open_run, own_files
from edgeopt.run.choosing import choose
from edgeopt.run.exports import keep, write_exports
from edgeopt.run.fetch import fetch
from edgeopt.run.findings.report import build_report
from edgeopt.run.lock import batches_in, check_lock, make_lock, place_of
from edgeopt.run.measurements import measure_all, write_measurements
from edgeopt.run.measuring import Measuring
from edgeopt.run.opened import Run
from edgeopt.run.processes import Group
from edgeopt.run.resume import why_again
from edgeopt.run.seeds import execute_seeds, measure_seeds, summarize, write_seeds
from edgeopt.spec.recipe import TaskSpec
from edgeopt.store.store import Store
from edgeopt.support.errors import StepError
from edgeopt.support.files import write_json
from edgeopt.support.progress import LOG_OF_RUN, Progress
from edgeopt.support.publishing import Record, building, disk_errors, publish, recover, turn, writable
from edgeopt.tasks import task_type

#: How the folder of a run is known again, and in which order its files come.
RUN = Record(LOCK, ("report.md", "report.html", "model/README.md", REPORT), own_files, export_folders)


def run(
    recipe: Recipe,
    store: Store,
    out: Path,
    progress: Progress,
    group: Group,
    *,
    locked: Path | None = None,
    remeasure: bool = False,
) -> Run:
    """Apply a recipe.

    The folder appears whole, or (after an error) stays as it was. remeasure: also where it is finished already. Raises
    InputError before any compute, StepError when a step fails.
    """
    writable(out, (LOCK,))
    # `execute` looks each step up when it comes to it: once is enough to verify every file
    return Application(check(recipe), store, out, progress, group, locked, remeasure).run()


@dataclass(frozen=True)
class Application:
    """A recipe that is checked, about to be applied into a folder that may be written.

    locked: a lock that this run may not differ from. remeasure: also where it is finished already. cell: of a matrix,
    whose cells may have been applied one by one elsewhere.
    """

    plan: Plan
    store: Store
    out: Path
    progress: Progress
    group: Group
    locked: Path | None = None
    remeasure: bool = False
    cell: bool = False

    def run(self) -> Run:
        """Carry the plan out. Raises as the function `run` does."""
        check_runnable(self.plan.recipe, self.group.size)
        self.store.prepare()
        if self.locked is not None:
            check_lock(self.locked, make_lock(self.plan.recipe, self.plan.source, self.plan.data), early=True)
            self.plan.batches = batches_in(self.locked)
        with turn(self.out), disk_errors(self.out):
            recover(self.out, RUN)
            if not (self.out / REPORT).exists() or self.remeasure:
                return self._carry_out()
            fetched = replace(self, plan=fetch(self.plan, self.store))
            again = why_again(fetched.plan, self.store, self.out, None if self.cell else self.group.size)
            if again is None:
                self.progress.say("finished before and unchanged: not measured again; --remeasure does")
                return self._kept()
            self.progress.say(f"run again: {again}")
            return fetched._carry_out()

    def _kept(self) -> Run:
        found = open_run(self.out)
        if self.locked is not None:
            check_lock(self.locked, found.lock)
        return Run.of(found, kept=True)

    def _carry_out(self) -> Run:
        check_importable()
        recipe = self.plan.recipe
        log = self.store.root / "logs" / f"{recipe.head.name}.log"
        with self.store.in_use(), building(self.out) as folder:
            with _logging_to(folder / LOG, log):
                report, lock = self._fill(folder)
            # the log is closed: nothing is written to any file of the run from here on
            lock = {**lock, "place": place_of(recipe, self.out), "files": files_of(folder)}
            write_json(folder / LOCK, lock)
            report = write_report(report, folder, pair=_reads_pairs(recipe.head.task))
            publish(folder, self.out, RUN)
        return Run.of(sealed.Run(self.out, report, lock))

    def _fill(self, folder: Path) -> tuple[Report, dict[str, Any]]:
        """Builds, exports and measures everything into the folder; returns the report and the lock that describe it."""
        recipe, progress = self.plan.recipe, self.progress
        by_seed = execute_seeds(self.plan, self.store, progress, self.group)
        executed = next(iter(by_seed.values()))
        lock = make_lock(
            recipe, executed.source, executed.data, {variant: each.chains for variant, each in by_seed.items()}
        )
        if self.locked is not None:
            check_lock(self.locked, lock)
        written, left_out = write_exports(recipe, executed, folder, progress)
        here = Measuring(recipe, executed, progress)
        measured = measure_all(here, written, choose(here, written))
        measured.notes.extend(left_out)
        keep(measured.kept, written, folder)
        seeds = measure_seeds(self.plan, list(by_seed.values()), measured.evidence, progress)
        write_measurements(folder, measured)
        write_seeds(folder, here.task, measured.evidence.labels, seeds)
        return build_report(recipe, executed, measured, summarize(here.task, measured.evidence.labels, seeds)), lock


@contextmanager
def _logging_to(path: Path, kept: Path) -> Iterator[None]:
    """Everything any library says, with the time, into the run's log.

    A step that fails takes the folder of the run with it: its log, with the whole trace, is then left at `kept`, and
    the error says so.
    """
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.INFO)
    handler.set_name(LOG_OF_RUN)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    except StepError as error:
        handler.handle(
            logging.makeLogRecord(
                {
                    "name": "edgeopt",
                    "levelname": "ERROR",
                    "levelno": logging.ERROR,
                    "msg": str(error),
                    "exc_info": (type(error), error, error.__traceback__),
                }
            )
        )
        with suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, kept)
            raise StepError(
                [replace(i, help=f"{i.help}; " * bool(i.help) + f"log: {kept}") for i in error.issues]
            ) from error
        raise
    finally:
        root.removeHandler(handler)
        handler.close()


def _reads_pairs(task: TaskSpec) -> bool:
    """Whether two texts are read together."""
    return len(task.columns) > 1 and not task_type(task.type).embeds
