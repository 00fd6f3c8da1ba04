"""What a shell is offered for a word that is being typed: names that edgeopt knows, and recipes that lie there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Offer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]
#: The variable by which a shell asks what a word may become.
COMPLETE = "_EDGEOPT_COMPLETE"
_RECIPES = (".yaml", ".yml")


def recipe_files(context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem]:
    """The recipes in the folder that the word names; where folders or none fit, the shell completes files itself."""
    from click.shell_completion import CompletionItem

    folder, begun = Path(word or ".").parent if word and not word.endswith("/") else Path(word or "."), Path(word).name
    begun = "" if word.endswith("/") else begun
    try:
        found = sorted(p for p in folder.iterdir() if p.name.startswith(begun) and (begun or p.name[0] != "."))
        recipes = [p for p in found if p.suffix in _RECIPES]
        if not recipes or any(p.is_dir() for p in found):
            return [CompletionItem(word, type="file")]
    except OSError:
        return []
    head = word[: len(word) - len(begun)]
    return [CompletionItem(head + p.name) for p in recipes]


def recipes(context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem]:
    """The names of the recipes that come along."""
    from edgeopt.recipe import library

    return _named(library.recipe_files(), word)


def targets(context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem]:
    """The names of the device profiles that come along."""
    from edgeopt.recipe.library import target_files

    return _named(target_files(), word)


def codes(context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem]:
    """The codes of errors, each with what it says."""
    from click.shell_completion import CompletionItem

    from edgeopt.support.explanations import EXPLANATIONS

    begun = f"E{word}" if word.isdecimal() else word.upper()
    return [CompletionItem(c, help=t.splitlines()[0]) for c, t in EXPLANATIONS.items() if c.startswith(begun)]


def values(context: click.Context, parameter: click.Parameter, word: str) -> list[CompletionItem]:
    """What --set may make of a recipe's export or targets."""
    key, _, begun = word.partition("=")
    if key == "export":
        from importlib.metadata import entry_points

        names = sorted({entry.name for entry in entry_points(group="edgeopt.exporters")} | {"auto"})
        return _named([f"export={name}" for name in names], word)
    if key == "targets":
        return [type(item)(f"targets={item.value}") for item in targets(context, parameter, begun)]
    return []


def _named(names: Iterable[str], word: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(word)]
