"""edgeopt apply."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from edgeopt.cli.ci import GITHUB, JUNIT, make_way, publish
from edgeopt.cli.options import CELL, JSON, RECIPE, SET, STORE
from edgeopt.cli.output import log_to_stderr, print_json


@click.command("apply")
@RECIPE
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run. Default: runs/NAME.")
@SET
@CELL
@STORE
@click.option("--locked", is_flag=True, help="Fail if the run would differ from the lock of an earlier run.")
@click.option(
    "--lock",
    "lock_file",
    type=click.Path(path_type=Path),
    help="The lock to compare with; for a matrix, the folder of the earlier run. Default: OUT/recipe.lock, or OUT.",
)
@click.option("--remeasure", is_flag=True, help="Repeat the measurements of a finished, unchanged run.")
@click.option("--emissions", is_flag=True, help="Also measure energy and CO2eq, like `emissions: {}` in the recipe.")
@click.option("--track", metavar="mlflow|wandb", help="Tell that tracker of the finished run: docs/how-to/tracking.md.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@JUNIT
@GITHUB
@JSON
def command(
    recipe: Path,
    out: Path | None,
    overrides: tuple[str, ...],
    cell: str | None,
    store: Path | None,
    locked: bool,
    lock_file: Path | None,
    remeasure: bool,
    emissions: bool,
    track: str | None,
    quiet: bool,
    junit: Path | None,
    github: bool,
    as_json: bool,
) -> int:
    """Run RECIPE: build what is not cached, export, measure against the FP32 baseline, decide the gates.

    Type the same command again to resume; what is finished, unchanged and of this machine is not measured again. The
    exit code is the verdict; the last line on stdout is the path of the report.

    A RECIPE with a matrix: each cell in turn, into OUT/cells/NAME; those that are finished and unchanged are left
    alone, one that fails does not stop the others. The comparison of all is in OUT, and its path the last line.
    """
    from edgeopt import api
    from edgeopt.gates.decide import EXIT_CODES
    from edgeopt.recipe.expand import Grid
    from edgeopt.report.suite import Suite, suite_of
    from edgeopt.run.matrix import exit_code
    from edgeopt.run.processes import is_main

    log_to_stderr(quiet=quiet)
    make_way(junit)
    loaded = api.load(recipe, set=overrides, cell=cell)
    told: Any = {
        "out": out,
        "store": store,
        "locked": lock_file or locked,
        "remeasure": remeasure,
        "emissions": emissions,
        "track": track,
        "progress": not quiet,
    }
    if isinstance(loaded, Grid):
        from edgeopt.cli.matrix import show_finished

        cells = api.apply_cells(loaded, **told)
        show_finished(cells, as_json=as_json)
        suites = [
            suite_of(r.run.report) if r.run else Suite(r.cell.recipe.head.name, [], r.reason) for r in cells.results
        ]
        publish(suites, recipe, junit, github=github)
        return exit_code(cells.results)
    run = api.apply(loaded, **told)
    if not is_main():
        return 0
    report = run.report
    publish([suite_of(report)], recipe, junit, github=github)
    if as_json:
        head = {"verdict": report.verdict, "kept": run.kept, "report": str(run.folder / "report.json")}
        print_json({**head, **report.model_dump(mode="json", include={"gates", "warnings"})})
    else:
        from edgeopt.cli.summary import show_summary

        show_summary(report)
        sys.stdout.flush()
        click.echo(run.folder / "report.html")
    return EXIT_CODES[report.verdict]
