"""edgeopt apply."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgeopt.cli.ci import GITHUB, JUNIT, make_way, publish
from edgeopt.cli.options import CELL, JSON, RECIPE, SET, STORE, open_store
from edgeopt.cli.output import log_to_stderr, print_json


@click.command("apply")
@RECIPE
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run. Default: runs/NAME.")
@SET
@CELL
@STORE
@click.option("--locked", is_flag=True, help="Refuse to differ from the lock of an earlier run.")
@click.option(
    "--lock", "lock_file", type=click.Path(path_type=Path), help="That lock; of a matrix the folder of an earlier run. Default: OUT/recipe.lock, or OUT."
)
@click.option("--remeasure", is_flag=True, help="Measure again what is finished and unchanged.")
@click.option("--emissions", is_flag=True, help="Also measure energy and CO2eq, as `emissions: {}` in the recipe.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@JUNIT
@GITHUB
@JSON
def command(recipe: Path, out: Path | None, overrides: tuple[str, ...], cell: str | None, store: Path | None, locked: bool,
            lock_file: Path | None, remeasure: bool, emissions: bool, quiet: bool, junit: Path | None, github: bool, as_json: bool) -> int:  # fmt: skip
    """Run RECIPE: build what is not cached, export, measure against the FP32 baseline, decide the gates.

    Type the same command again to resume; what is finished, unchanged and of this machine is not measured again. The exit
    code is the verdict; the last line on stdout is the path of the report.

    A RECIPE with a matrix: each cell in turn, into OUT/cells/NAME; those that are finished and unchanged are left alone,
    one that fails does not stop the others. The comparison of all is in OUT, and its path the last line.
    """
    from edgeopt.gates.decide import EXIT_CODES
    from edgeopt.recipe.expand import Grid, load
    from edgeopt.report.suite import Suite
    from edgeopt.results.sealed import LOCK
    from edgeopt.run.apply import run
    from edgeopt.run.lock import read_lock
    from edgeopt.run.matrix import exit_code
    from edgeopt.run.processes import Group
    from edgeopt.support.progress import Progress
    from edgeopt.support.quiet import quiet_libraries

    quiet_libraries()
    log_to_stderr(quiet=quiet)
    make_way(junit)
    loaded = load(recipe, overrides, cell)
    if emissions:
        loaded = loaded.metered()
    if isinstance(loaded, Grid):
        from edgeopt.cli.matrix import apply_cells

        folder = (out or Path("runs") / loaded.name).resolve()
        locks = (lock_file or folder).resolve() if locked or lock_file else None
        results = apply_cells(loaded, open_store(store), folder, Progress(show=not quiet), locks=locks, remeasure=remeasure, as_json=as_json)
        suites = [Suite(r.cell.recipe.head.name, *((r.report.gates, r.reason, r.report.warnings) if r.report else ([], r.reason))) for r in results]
        publish(suites, recipe, junit, github=github)
        return exit_code(results)
    folder = (out or Path("runs") / loaded.head.name).resolve()
    lock = None
    if locked or lock_file:
        lock = (lock_file or folder / LOCK).resolve()
        read_lock(lock)
    group = Group()
    if not group.is_main:
        group.serve()
        return 0
    outcome = run(loaded, open_store(store), folder, Progress(show=not quiet), group, locked=lock, remeasure=remeasure)
    group.stop()  # after an error the launcher ends the other processes, which may be in the middle of a step
    report = outcome.report
    publish([Suite(report.recipe.name, report.gates, warnings=report.warnings)], recipe, junit, github=github)
    if as_json:
        head = {"verdict": report.verdict, "kept": outcome.kept, "report": str(folder / "report.json")}
        print_json({**head, **report.model_dump(mode="json", include={"gates", "warnings"})})
    else:
        from edgeopt.cli.summary import show_summary

        show_summary(report)
        sys.stdout.flush()
        click.echo(folder / "report.html")
    return EXIT_CODES[report.verdict]
