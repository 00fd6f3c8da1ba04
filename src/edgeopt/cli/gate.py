"""edgeopt gate."""

from __future__ import annotations

from pathlib import Path

import click

from edgeopt.cli.options import JSON, RUN, SET
from edgeopt.cli.output import print_json


@click.command("gate")
@RUN
@click.option("--recipe", type=click.Path(path_type=Path), help="Decide this recipe's gates. Default: those the run was made with.")
@SET
@JSON
def command(run: Path, recipe: Path | None, overrides: tuple[str, ...], as_json: bool) -> int:
    """Decide gates on what RUN measured: nothing is computed anew, so it takes no time.

    --set needs --recipe. Exit code 0 pass, 1 fail, 4 inconclusive.
    """
    from edgeopt.gates import EXIT_CODES, verdict_of
    from edgeopt.regate import regate

    gates = regate(run, recipe, overrides)
    verdict = verdict_of(gates)
    if as_json:
        print_json({"verdict": verdict, "gates": [g.model_dump(mode="json") for g in gates]})
    else:
        for gate in gates:
            click.echo(f"{gate.verdict:<13} {gate.metric} {gate.kind} {gate.bound:g}: {gate.reason}")
        click.echo(verdict)
    return EXIT_CODES[verdict]
