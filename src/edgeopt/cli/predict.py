"""edgeopt predict."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from edgeopt.cli import completing
from edgeopt.cli.output import log_to_stderr


@click.command("predict")
@click.argument("model", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write here. Default: stdout.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is at --out.")
@click.option("--text", multiple=True, metavar="COLUMN", help="Column of the texts, where the rows call it otherwise.")
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    shell_complete=completing.recipe_files,
    help="Of a model that lies in no run: whose task it has.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, 4096),
    help="Rows asked at once. Default: 32, and 1 of a dynamically quantized model, as it was measured.",
)
@click.option("--prefix", default="", metavar="TEXT", help="What the names of the new columns begin with.")
@click.option("--logits/--no-logits", default=True, help="Whether the logits are written, too. Default: they are.")
@click.option(
    "--from", "given", metavar="FORMAT", help="jsonl, json, csv, tsv, parquet or txt. Default: FILE's; - is txt."
)
@click.option("--to", type=click.Choice(["jsonl", "csv"]), help="Default: what --out ends in, or jsonl.")
@click.option("--delimiter", metavar="CHARACTER", help="Between the cells of a csv or tsv file.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
def command(
    model: Path,
    file: Path,
    out: Path | None,
    overwrite: bool,
    text: tuple[str, ...],
    recipe: Path | None,
    batch_size: int | None,
    prefix: str,
    logits: bool,
    given: str | None,
    to: str | None,
    delimiter: str | None,
    quiet: bool,
) -> None:
    """Let the model of RUN answer every row of FILE, and write each row with what the model says.

    RUN: the folder of a run, a bundle, a model's folder or a graph in one. FILE: rows with the columns that the recipe
    names, or a text a line; - is stdin. New columns: prediction, probability where the task has one, logits.

    Every row is checked before the first is answered. Neither torch nor the code that trains is needed.
    """
    from edgeopt.predict.file import Asking, count_rows, predict_file
    from edgeopt.predict.opened import opened
    from edgeopt.predict.rows import rows_of
    from edgeopt.support.progress import Progress
    from edgeopt.support.user_files import check_new

    log_to_stderr(quiet=quiet)
    if out is not None:
        check_new("--out", out, overwrite=overwrite)
    asking = Asking(batch_size, to or _format(out), prefix, logits, shown=out is None)
    progress = Progress(show=not quiet)
    with opened(model, recipe, text) as asked, rows_of(file, asked.task, given, delimiter) as rows:
        found = count_rows(asked, rows, asking, progress)
        with _lines(out, overwrite=overwrite) as put:
            done = predict_file(asked, rows, found, asking, put, progress)
    if not quiet:
        click.echo(f"{asked.shown}: {done.shown}", err=True)
    if out is not None:
        click.echo(out)


def _format(out: Path | None) -> str:
    return "csv" if out is not None and out.suffix == ".csv" else "jsonl"


@contextmanager
def _lines(out: Path | None, *, overwrite: bool) -> Iterator[Callable[[str], object]]:
    """What takes the lines: a file that appears when all of them are in it, or stdout."""
    from edgeopt.support.user_files import new_output
    from edgeopt.support.visible import visible_json

    if out is None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8")  # as files are: no locale may lose a character of a row
        yield lambda text: click.echo(visible_json(text), nl=False)
        return
    with new_output("--out", out, overwrite=overwrite) as file:
        yield file.write
