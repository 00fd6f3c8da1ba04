"""edgeopt gate."""

from __future__ import annotations

import time
from pathlib import Path

import click

from edgeopt.cli import completing
from edgeopt.cli.ci import GITHUB, JUNIT, make_way, publish
from edgeopt.cli.options import JSON, SET, Number
from edgeopt.cli.output import log_to_stderr, print_json, say


@click.command("gate")
@click.argument("path", metavar="RUN|ARTIFACT", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    shell_complete=completing.recipe_files,
    help="Use the gates of this recipe. Default: the gates of the run.",
)
@SET
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    help="Model to compare with, or a file from `edgeopt baseline`.",
)
@click.option(
    "--max-seconds",
    type=Number(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Time limit in seconds for each latency measurement.",
)
@JUNIT
@GITHUB
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@JSON
def command(
    path: Path,
    recipe: Path | None,
    overrides: tuple[str, ...],
    against: Path | None,
    max_seconds: float,
    junit: Path | None,
    github: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Decide gates. The exit code is the verdict: 0 pass, 1 fail, 4 inconclusive; 2 is bad input.

    RUN, a folder that `apply` wrote: on what the run measured. Nothing is computed anew, so it takes no time.

    ARTIFACT, a finished model (the `model` folder of a run, another with tokenizer.json and an ONNX graph, or the
    graph), or a RUN with --against: the model is measured here on the recipe's rows, as far as the gates need it.
    Neither torch nor the code that trains is needed. The recipe is --recipe, or that of the run that the model lies in.

    --set needs --recipe.
    """
    from edgeopt import api
    from edgeopt.gates.decide import EXIT_CODES
    from edgeopt.report.gate_text import in_terminal
    from edgeopt.report.suite import Suite

    started = time.monotonic()
    log_to_stderr(quiet=quiet)
    make_way(junit)
    found = api.gate(path, recipe=recipe, set=overrides, against=against, max_seconds=max_seconds, progress=not quiet)
    gates, verdict = found.gates, found.verdict
    publish([Suite(found.name, gates, warnings=found.warnings, model=found.model)], recipe, junit, github=github)
    if as_json:
        seconds = round(time.monotonic() - started, 1)
        shown = [g.model_dump(mode="json") for g in gates]
        said = {"gates": shown, "warnings": found.warnings, "notes": found.notes}
        print_json({"verdict": verdict, "model": found.model, "seconds": seconds, **said})
    else:
        say(f"model: {found.model}")
        for gate in gates:
            say(f"{gate.verdict:<13} {in_terminal(gate, gates)}: {gate.reason}")
        for kind, lines in (("note", found.notes), ("warning", found.warnings)):
            for line in lines:
                say(f"{kind}: {line}")
        say(verdict)
    return EXIT_CODES[verdict]
