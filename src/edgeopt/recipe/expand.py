"""The recipes that one file stands for: the cells of its matrix, and one a seed. Pure: a recipe in, recipes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from edgeopt.recipe.given import Given
from edgeopt.recipe.load import Recipe, checked, head_of, path_of, read_document
from edgeopt.recipe.matrix import Combination, cell_name, combinations
from edgeopt.support.errors import InputError, Issue, Place, bad_input
from edgeopt.support.words import closest

G = TypeVar("G")
T = TypeVar("T")
#: Characters of a cell's whole name, which is that of a folder and a log.
_LONGEST = 128


@dataclass(frozen=True)
class Cell:
    """A recipe of a matrix, which has none itself. choices: the variant of each axis that made a difference."""

    name: str
    choices: Mapping[str, str]
    recipe: Recipe


@dataclass(frozen=True)
class Grid:
    """A recipe with a matrix, expanded into its cells.

    combinations: the number of combinations of the axes' variants, without excluded ones. Combinations with the same
    recipe are one cell.
    """

    name: str
    path: Path
    cells: tuple[Cell, ...]
    combinations: int

    def metered(self) -> Grid:
        """This grid with energy measured in every cell."""
        return replace(self, cells=tuple(replace(cell, recipe=cell.recipe.metered()) for cell in self.cells))


def load(source: Path | Given, overrides: Sequence[str] = (), cell: str | None = None) -> Recipe | Grid:
    """The recipe in a file, or given as a mapping, or where it has a matrix its grid, or of that one cell.

    Raises InputError with all that is wrong: E1xx at its line, in which cells where it is not in all of them; E121
    where there is no such cell.
    """
    document, path = read_document(source, overrides), path_of(source)
    if document.data.get("matrix") is None:
        if cell is not None:
            raise bad_input("E121", f"there is no cell '{cell}': the recipe has no matrix", help="name no cell")
        return checked(document, path, overrides)
    before = len(document.issues)
    head, wrong = head_of(document)
    if "matrix" in wrong:
        raise InputError(document.issues)
    assert head.matrix is not None
    del document.issues[before:]  # whatever else is wrong is in the cells too, unless their variants mend it
    made = combinations(document, head.matrix)
    if document.issues:
        raise InputError(sorted(document.issues, key=_line))
    recipes = each_cell([cell_name(m.choices) for m in made], made, lambda m: checked(m.document, path, overrides))
    grid = Grid(recipes[0].head.name, recipes[0].path, tuple(_merged(made, recipes)), len(made))
    _check_names(grid, document.place(("matrix", "axes")))
    if cell is None:
        return grid
    return one_cell(grid, cell).recipe


def _check_names(grid: Grid, place: Place | None) -> None:
    """Raises InputError E119 where a cell's name cannot be that of a folder of its own, on any file system."""
    seen: dict[str, Cell] = {}
    for cell in grid.cells:
        if len(cell.recipe.head.name) > _LONGEST:
            raise bad_input(
                "E119",
                f"'{grid.name}.{cell.name}' is longer than {_LONGEST} characters",
                place=place,
                help="give axes and variants shorter names",
            )
        if (other := seen.setdefault(cell.name.casefold(), cell)) is not cell:
            both = (", ".join(f"{axis}: {name}" for axis, name in c.choices.items()) for c in (other, cell))
            raise bad_input(
                "E119",
                f"two cells would be in one folder '{cell.name}': {' and '.join(both)}",
                place=place,
                help="give axes or variants other names",
            )


def one_cell(grid: Grid, name: str) -> Cell:
    """The cell of that name. Raises InputError E121 where there is none."""
    found = {c.name: c for c in grid.cells}
    if name not in found:
        guess = closest(name, found)
        raise bad_input(
            "E121",
            f"there is no cell '{name}'",
            help=f"did you mean '{guess}'?" if guess else "`edgeopt plan` lists the cells",
        )
    return found[name]


def _merged(made: Sequence[Combination], recipes: Sequence[Recipe]) -> list[Cell]:
    """Combinations that make the same recipe become one cell, which is named after what they have in common."""
    groups: dict[str, list[int]] = {}
    for i, recipe in enumerate(recipes):
        groups.setdefault(recipe.digest, []).append(i)
    choices = [dict(set.intersection(*(set(made[i].choices.items()) for i in members))) for members in groups.values()]
    ordered = [{axis: chosen[axis] for axis in made[0].choices if axis in chosen} for chosen in choices]
    names = [cell_name(chosen) for chosen in ordered]
    cells = []
    for members, chosen, name in zip(groups.values(), ordered, names, strict=True):
        first = made[members[0]].choices
        told_apart = bool(name) and names.count(name) == 1
        cells.append(
            _cell(name if told_apart else cell_name(first), chosen if told_apart else first, recipes[members[0]])
        )
    return cells


def _cell(name: str, choices: Mapping[str, str], recipe: Recipe) -> Cell:
    whole = f"{recipe.head.name}.{name}"
    recipe.document.data["name"] = whole
    return Cell(name, choices, replace(recipe, head=recipe.head.model_copy(update={"name": whole})))


def each_cell(names: Sequence[str], given: Sequence[G], make: Callable[[G], T]) -> list[T]:
    """What is made of each cell.

    Raises InputError with the issues of all, each once, whatever mend each cell is shown: where only some have it, it
    says which.
    """
    out: list[T] = []
    found: dict[Issue, list[str]] = {}
    same: dict[tuple[str, str, Place | None], Issue] = {}
    for name, cell in zip(names, given, strict=True):
        try:
            out.append(make(cell))
        except InputError as error:
            alike = [same.setdefault((i.code, i.message, i.place), i) for i in error.issues]
            for issue in dict.fromkeys(alike):
                found.setdefault(issue, []).append(name)
    if found:
        raise InputError(
            sorted((i if len(cells) == len(names) else _of_cells(i, cells) for i, cells in found.items()), key=_line)
        )
    return out


def _of_cells(issue: Issue, cells: Sequence[str]) -> Issue:
    others = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
    return replace(issue, message=f"{issue.message}; in cell '{cells[0]}'{others}")


def _line(issue: Issue) -> int:
    return (issue.place.line or 0) if issue.place else 0


def each_seed(recipe: Recipe) -> list[Recipe]:
    """A recipe for each of its `seeds`, in their order; a recipe without `seeds` is itself the only one."""
    return [for_seed(recipe, seed) for seed in recipe.head.seeds] if recipe.head.seeds else [recipe]


def for_seed(recipe: Recipe, seed: int) -> Recipe:
    """A recipe as if it named this seed alone."""
    return replace(recipe, head=recipe.head.model_copy(update={"seed": seed, "seeds": None}), variant=f"seed-{seed}")
