"""edgeopt init."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeopt.cli import completing
from edgeopt.cli.options import Number
from edgeopt.support.errors import InputError, bad_input

if TYPE_CHECKING:
    from edgeopt.recipe.proposal.propose import Ask

_WIDTH = 79


@click.command("init")
@click.argument("data", nargs=-1, type=click.Path(path_type=Path))
@click.option("--text", multiple=True, metavar="COLUMN", help="Column with the texts; give it twice for pairs.")
@click.option("--label", metavar="COLUMN", help="Column with the class, the score, the tags or the right choice.")
@click.option(
    "--task",
    metavar="TYPE",
    help="Task: text-classification, multi-label-classification, text-regression, token-classification, "
    "multiple-choice, embedding or reranking.",
)
@click.option("--labels", metavar="A,B,…", help="Names of the classes, in the order of their numbers.")
@click.option("--model", metavar="FOLDER|ID", help="Model: a folder in transformers' format, or a hub id.")
@click.option(
    "--target",
    metavar="NAME",
    shell_complete=completing.targets,
    help="Device profile, such as cpu-1-thread or mobile.",
)
@click.option("--max-drop", type=Number(min=0), help="Largest allowed drop of the metric; 0.01 is one point.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("recipe.yaml"),
    show_default=True,
    help="Recipe file to write. Existing files are never overwritten.",
)
@click.option("--yes", is_flag=True, help="Ask nothing and accept all guesses.")
def command(
    data: tuple[Path, ...],
    text: tuple[str, ...],
    label: str | None,
    labels: str | None,
    task: str | None,
    model: str | None,
    target: str | None,
    max_drop: float | None,
    out: Path,
    yes: bool,
) -> None:
    """Propose a recipe for DATA: a file, a folder with train.* and validation.*, or several files.

    An embedding model needs no DATA: its folder, or --model, is enough. Passages to search in are a file beside the
    queries that is called passages.*.

    Looks at columns, classes, lengths and splits, and writes a recipe with what it guessed in comments. On a terminal
    it asks for what no option says.
    """
    from edgeopt import api
    from edgeopt.recipe.proposal.propose import Asked, propose
    from edgeopt.recipe.yaml import parse

    if not data and not model:
        raise click.UsageError("Missing argument 'DATA...'.")
    out = out / "recipe.yaml" if out.is_dir() else out
    _free(out)
    names = tuple(filter(None, map(str.strip, (labels or "").split(","))))
    asked = Asked(data, out, text, label, names, task, model, target, max_drop)
    made = propose(asked, None if yes else _asking(), _tell)
    try:
        api.validate(parse(made, out).data, folder=out.parent)
    except InputError as error:
        raise _without_recipe(error) from None
    _write(out, made)
    click.echo(f"\nwrote {out}; next: edgeopt apply {out} --out run")


def _tell(what: str, how: str) -> None:
    click.echo(textwrap.fill(how, _WIDTH, initial_indent=f"{what:<9}", subsequent_indent=" " * 9))


def _asking() -> Ask | None:
    """Asks on a terminal, with the guess as default; there is nobody to ask elsewhere."""
    if not sys.stdin.isatty():
        return None
    return lambda what, guess: str(click.prompt(what, default=guess or None, err=True))


def _free(path: Path) -> None:
    """Raises InputError E114 where a file is there already."""
    if path.exists() or path.is_symlink():
        raise bad_input("E114", f"{path} already exists", help="give another name: --out FILE")
    if not path.parent.is_dir():
        raise bad_input(
            "E114", f"there is no folder {path.parent}", help="create it, or choose another place with --out FILE"
        )


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _free(path)
    except OSError as error:
        raise bad_input("E114", f"{path} cannot be written: {error.strerror}") from None


def _without_recipe(error: InputError) -> InputError:
    """The error of a recipe that is not written, whose places would mean nothing."""
    from edgeopt.recipe.given import NAME

    return InputError(
        [replace(i, place=None if i.place and i.place.source.startswith(NAME) else i.place) for i in error.issues]
    )
