"""edgeopt quickstart."""

from __future__ import annotations

from pathlib import Path

import click

from edgeopt.support.errors import bad_input


@click.command("quickstart")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("quickstart"), required=False)
def command(folder: Path) -> None:
    """Lay out a first recipe in FOLDER (default: quickstart) with a real model and real rows.

    They come from two packages of PyPI, which it says how to install. Downloads nothing, and never touches a folder
    that holds anything else.
    """
    from edgeopt.recipe.quickstart import lay_out

    try:
        click.echo(f"edgeopt apply {lay_out(folder)} --out run")
    except OSError as error:
        raise bad_input("E114", f"{folder} cannot be written: {error.strerror}") from None
