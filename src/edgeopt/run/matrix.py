"""Run the cells of a matrix one after another, and put what came out side by side.

A finished cell is not run again: measuring would give other latencies, and a table should not move while it grows. A
cell may be of another machine, where `--cell` applied it, and the comparison says so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeopt.data import TaskData
from edgeopt.gates.decide import EXIT_CODES
from edgeopt.plan import Plan, check_classes
from edgeopt.plan.matrix import check_cells
from edgeopt.recipe.expand import Cell, Grid, each_cell
from edgeopt.report.compare.runs import Comparison, compare
from edgeopt.report.compare.write import NAME, write_comparison
from edgeopt.results.sealed import LOCK
from edgeopt.run.apply import Application
from edgeopt.run.fetch import fetch
from edgeopt.run.lock import check_lock, make_lock
from edgeopt.run.opened import Run
from edgeopt.run.processes import Group
from edgeopt.store.store import Store
from edgeopt.support.errors import EdgeoptError, ExitCode, unforeseen
from edgeopt.support.files import write_json
from edgeopt.support.progress import Progress
from edgeopt.support.publishing import turn, writable
from edgeopt.track.tracking import Tracking

#: How far the cells are; also what marks a folder as that of a matrix.
MATRIX, CELLS = "matrix.json", "cells"
#: Of several cells' exit codes the first of these that one has is that of all.
PRECEDENCE = (ExitCode.STEP_FAILED, ExitCode.BAD_INPUT, ExitCode.GATE_FAILED, ExitCode.INCONCLUSIVE, ExitCode.PASS)


@dataclass(frozen=True)
class CellResult:
    """A cell that was tried: its run, or why there is none."""

    cell: Cell
    folder: Path
    run: Run | None = None
    error: EdgeoptError | None = None

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that the cell alone would have."""
        if self.error is not None:
            return self.error.exit_code
        assert self.run is not None
        return EXIT_CODES[self.run.verdict]

    @property
    def reason(self) -> str:
        """Why a cell failed, in a line; empty for one that did not."""
        return "; ".join(f"{i.code}: {i.message}" for i in self.error.issues) if self.error else ""

    def as_json(self) -> dict[str, Any]:
        """The cell's entry in matrix.json."""
        found: dict[str, Any] = {
            "name": self.cell.name,
            "axes": dict(self.cell.choices),
            "status": "failed" if self.error else "complete",
        }
        if self.run is not None:
            return {**found, "verdict": self.run.verdict, "kept": self.run.kept, "run": str(self.folder)}
        return {
            **found,
            "exit_code": int(self.exit_code),
            "errors": [i.as_json() for i in self.error.issues] if self.error else [],
        }


def exit_code(results: Sequence[CellResult]) -> ExitCode:
    """The exit code of the command: the first of PRECEDENCE that one of the cells has."""
    return min((r.exit_code for r in results), key=PRECEDENCE.index)


def folder_of(out: Path, cell: str) -> Path:
    """The run folder of a cell below that of its matrix."""
    return out / CELLS / cell


def comparison_of(results: Sequence[CellResult]) -> Comparison:
    """The complete cells' reports side by side, and the failed cells with their reasons."""
    complete = [(r.folder, r.run.report) for r in results if r.run is not None]
    return compare(
        complete,
        names=[r.cell.name for r in results if r.run is not None],
        failed={r.cell.name: r.reason for r in results if r.error},
    )


def run_cells(
    grid: Grid,
    store: Store,
    out: Path,
    progress: Progress,
    tracked: Tracking,
    *,
    locks: Path | None = None,
    remeasure: bool = False,
) -> list[CellResult]:
    """Run what is not finished, each cell into a whole run folder of its own, and write matrix.json and the comparison.

    A cell that fails does not keep the others from running. tracked: is told of each run. locks: the folder of a
    matrix, whose cells' locks are those that this one's may not differ from. Raises InputError before any compute.
    """
    writable(out, (MATRIX,), but=(CELLS,))
    plans = check_cells(grid)
    store.prepare()
    cells = _Cells(grid, store, out, progress, locks, remeasure)
    each_cell([c.name for c in grid.cells], list(zip(grid.cells, plans, strict=True)), cells.check_early)
    out.mkdir(parents=True, exist_ok=True)  # so that the lock is in it for everybody
    with turn(out):
        tracked.begin(grid.name, {cell.name: cell.recipe.digest for cell in grid.cells}, out)
        cells.write_state()
        for i, (cell, plan) in enumerate(zip(grid.cells, plans, strict=True), 1):
            progress.say(f"cell {i} of {len(grid.cells)}: {cell.name}")
            cells.run(cell, plan)
            cells.write_state()
            if (done := cells.results[-1].run) is not None:
                tracked.run(done, cell.name)
        write_comparison(comparison_of(cells.results), out)
        failed = {each.cell.name: each.reason for each in cells.results if each.error}
        tracked.end(failed, [out / f"{NAME}.html", out / f"{NAME}.json"], out)
    return cells.results


@dataclass(frozen=True)
class _Cells:
    """The cells of a matrix on their way.

    rows: those that were downloaded, by the task that asks for them. results: of the cells that were tried.
    """

    grid: Grid
    store: Store
    out: Path
    progress: Progress
    locks: Path | None
    remeasure: bool
    rows: dict[str, TaskData] = field(default_factory=dict)
    results: list[CellResult] = field(default_factory=list)

    def check_early(self, each: tuple[Cell, Plan]) -> None:
        cell, plan = each
        lock = self._lock_of(cell)
        if lock is not None:
            check_lock(lock, make_lock(plan.recipe, plan.source, plan.data), early=True)

    def run(self, cell: Cell, plan: Plan) -> None:
        folder = folder_of(self.out, cell.name)
        try:
            plan = self._fetched(plan)
            done = Application(
                plan, self.store, folder, self.progress, Group(), self._lock_of(cell), self.remeasure, cell=True
            ).run()
            self.results.append(CellResult(cell, folder, done))
            return
        except EdgeoptError as error:
            failed = CellResult(cell, folder, error=error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the other cells need not suffer from a defect that one brings out
            if os.environ.get("EDGEOPT_DEBUG"):
                raise
            failed = CellResult(cell, folder, error=unforeseen(error))
        self.progress.say(f"  failed: {failed.reason}")
        self.results.append(failed)

    def write_state(self) -> None:
        """Writes matrix.json: how far the cells are."""
        waiting = [
            {"name": c.name, "axes": dict(c.choices), "status": "waiting"} for c in self.grid.cells[len(self.results) :]
        ]
        done = [r.as_json() for r in self.results]
        write_json(
            self.out / MATRIX,
            {"name": self.grid.name, "combinations": self.grid.combinations, "cells": [*done, *waiting]},
        )

    def _fetched(self, plan: Plan) -> Plan:
        """The plan with model and rows here, which cells of the same task share."""
        task = plan.recipe.rows_key
        if plan.data is None and task in self.rows:
            check_classes(plan.recipe, self.rows[task])
            plan = replace(plan, data=self.rows[task])
        plan = fetch(plan, self.store)
        assert plan.data is not None
        self.rows[task] = plan.data
        return plan

    def _lock_of(self, cell: Cell) -> Path | None:
        return None if self.locks is None else folder_of(self.locks, cell.name) / LOCK
