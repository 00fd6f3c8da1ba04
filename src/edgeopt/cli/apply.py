"""edgeopt apply."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgeopt.cli.options import JSON, RECIPE, SET, STORE, open_store
from edgeopt.cli.output import log_to_stderr, print_json


@click.command("apply")
@RECIPE
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run. Default: runs/NAME.")
@SET
@STORE
@click.option("--locked", is_flag=True, help="Refuse to differ from the lock of an earlier run.")
@click.option("--lock", "lock_file", type=click.Path(path_type=Path), help="That lock. Default: OUT/recipe.lock.")
@click.option("--emissions", is_flag=True, help="Also measure energy and CO2eq, as `emissions: {}` in the recipe.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@JSON
def command(recipe: Path, out: Path | None, overrides: tuple[str, ...], store: Path | None, locked: bool,
            lock_file: Path | None, emissions: bool, quiet: bool, as_json: bool) -> int:  # fmt: skip
    """Run RECIPE: build what is not cached, export, measure against the FP32 baseline, decide the gates.

    Type the same command again to resume. The exit code is the verdict; the last line on stdout is the
    path of the report.
    """
    from edgeopt.distributed import Group
    from edgeopt.gates import EXIT_CODES
    from edgeopt.lock import read_lock
    from edgeopt.progress import Progress
    from edgeopt.quiet import quiet_libraries
    from edgeopt.recipe.load import load_recipe
    from edgeopt.run import LOCK, run

    quiet_libraries()
    log_to_stderr(quiet=quiet)
    loaded = load_recipe(recipe, overrides)
    if emissions:
        loaded = loaded.metered()
    folder = (out or Path("runs") / loaded.head.name).resolve()
    lock = None
    if locked or lock_file:
        lock = (lock_file or folder / LOCK).resolve()
        read_lock(lock)
    group = Group()
    if not group.is_main:
        group.serve()
        return 0
    outcome = run(loaded, open_store(store), folder, Progress(show=not quiet), group, locked=lock)
    group.stop()  # after an error the launcher ends the other processes, which may be in the middle of a step
    report = outcome.report
    if as_json:
        print_json({"verdict": report.verdict, "report": str(folder / "report.json"), **report.model_dump(mode="json", include={"gates"})})
    else:
        from edgeopt.cli.summary import show_summary

        show_summary(report)
        sys.stdout.flush()
        click.echo(folder / "report.html")
    return EXIT_CODES[report.verdict]
