"""edgeopt baseline."""

from __future__ import annotations

from pathlib import Path

import click

from edgeopt.cli import completing
from edgeopt.cli.options import JSON, SET, STORE, open_store
from edgeopt.cli.output import log_to_stderr, print_json
from edgeopt.support.errors import bad_input


@click.command("baseline")
@click.argument("source", metavar="RECIPE|ARTIFACT", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The file to write.")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    shell_complete=completing.recipe_files,
    help="For an ARTIFACT: the recipe with the rows and targets to measure it on. Default: that of its run.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="For a RECIPE: also write the FP32 model here, for use with --against.",
)
@SET
@STORE
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@JSON
def command(
    source: Path,
    out: Path,
    recipe: Path | None,
    model: Path | None,
    overrides: tuple[str, ...],
    store: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Measure a baseline where its model, and a GPU, are, into a small file.

    `edgeopt gate --against FILE` uses it elsewhere.

    RECIPE: its FP32 baseline, built or found in the store: the ONNX graph on this machine's processors, and torch, on
    the GPU where there is one. ARTIFACT: a finished model, without torch.

    The file holds metrics, what the model answers to each row, latencies, and digests of model, rows and tokenizer.
    """
    from edgeopt.gates.baseline_file import write_baseline
    from edgeopt.run.baseline import baseline_of_artifact, baseline_of_recipe
    from edgeopt.support.progress import Progress
    from edgeopt.support.quiet import quiet_libraries
    from edgeopt.support.user_files import BASELINE, check_output

    quiet_libraries()
    log_to_stderr(quiet=quiet)
    check_output("--out", out, BASELINE)
    if source.suffix in (".yaml", ".yml"):
        if recipe is not None:
            raise bad_input("E100", "--recipe only applies to a finished model, and a recipe was given")
        if model is not None and model.exists():
            raise bad_input("E114", f"--model {model} already exists", help="give a new folder")
        made = baseline_of_recipe(source, overrides, open_store(store), model, Progress(show=not quiet))
    else:
        from edgeopt.gates.artifact import find_artifact
        from edgeopt.gates.request import request_by

        if model is not None:
            raise bad_input("E100", "--model only applies to a recipe, and a finished model was given")
        artifact = find_artifact(source)
        made = baseline_of_artifact(request_by(recipe, overrides, artifact.run), artifact, Progress(show=not quiet))
    digest = write_baseline(made, out)
    if as_json:
        print_json({"baseline": str(out), "sha256": digest, "metrics": made.subject.metrics, "rows": made.task.rows})
    else:
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in made.subject.metrics.items())
        click.echo(f"{metrics} on {made.task.rows} rows; SHA-256 {digest}")
        click.echo(out)
