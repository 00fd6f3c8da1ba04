"""edgeopt recipes."""

from __future__ import annotations

from pathlib import Path

import click

from edgeopt.cli import completing
from edgeopt.cli.options import JSON
from edgeopt.cli.output import print_json, say
from edgeopt.support.errors import bad_input


@click.group("recipes")
def command() -> None:
    """List, show and copy the recipes that come with edgeopt."""


def _about() -> dict[str, tuple[Path, str]]:
    """Recipes by name, with what each says of itself."""
    from edgeopt.recipe.library import recipe_files
    from edgeopt.recipe.yaml import parse

    out = {}
    for name, path in recipe_files().items():
        data = parse(path.read_text(encoding="utf-8"), path).data or {}
        out[name] = (path, str(data.get("description", "")))
    return out


def _find(name: str) -> Path:
    from edgeopt.support.words import closest

    known = _about()
    if name.removesuffix(".yaml") not in known:
        guess = next((k for k in known if k.endswith(f"/{name.removesuffix('.yaml')}")), None) or closest(name, known)
        raise bad_input(
            "E101",
            f"there is no recipe '{name}'",
            help=f"did you mean '{guess}'?" if guess else f"recipes: {', '.join(known)}",
        )
    return known[name.removesuffix(".yaml")][0]


@command.command("ls")
@JSON
def list_recipes(as_json: bool) -> None:
    """List the recipes."""
    known = _about()
    if as_json:
        print_json({name: {"path": str(path), "description": text} for name, (path, text) in known.items()})
        return
    wide = max(map(len, known), default=0)
    for name, (_, text) in known.items():
        say(f"{name:<{wide}}  {text}")


@command.command("show")
@click.argument("name", shell_complete=completing.recipes)
def show(name: str) -> None:
    """Print a recipe."""
    click.echo(_find(name).read_text(encoding="utf-8"), nl=False)


def _moved(source: Path, target: Path) -> str:
    """The recipe's text with its relative local paths made relative to where the copy will lie."""
    import os

    from edgeopt.recipe.yaml import parse

    text = source.read_text(encoding="utf-8")
    document, lines = parse(text, source), text.splitlines(keepends=True)
    for at in (("model", "id"), ("task", "dataset", "path")):
        value, place = document.data, document.values.get(at)
        for key in at:
            value = value.get(key, {})
        if (
            place is None
            or place.line is None
            or not isinstance(value, str)
            or not value.startswith(".")
            or not (source.parent / value).exists()
        ):
            continue
        moved = Path(os.path.relpath(source.parent / value, target.resolve().parent)).as_posix()
        lines[place.line - 1] = lines[place.line - 1].replace(
            value, moved if moved.startswith(".") else f"./{moved}", 1
        )
    return "".join(lines)


@command.command("copy")
@click.argument("name", shell_complete=completing.recipes)
@click.argument("target", type=click.Path(path_type=Path), default=None, required=False)
def copy(name: str, target: Path | None) -> None:
    """Copy a recipe to TARGET (default: its name, here). Never overwrites; relative paths in it are adjusted."""
    source = _find(name)
    path = target or Path(source.name)
    path = path / source.name if path.is_dir() else path
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(_moved(source, path))
    except FileExistsError:
        raise bad_input("E114", f"{path} already exists", help="give another name") from None
    except OSError as error:
        raise bad_input("E114", f"{path} cannot be written: {error.strerror}") from None
    click.echo(path)
