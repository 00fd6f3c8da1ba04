"""The recipes that one file stands for: one a seed. Pure: a recipe in, recipes out."""

from __future__ import annotations

from dataclasses import replace

from edgeopt.recipe.load import Recipe


def each_seed(recipe: Recipe) -> list[Recipe]:
    """A recipe for each of its `seeds`, in their order; a recipe without `seeds` is itself the only one."""
    return [for_seed(recipe, seed) for seed in recipe.head.seeds] if recipe.head.seeds else [recipe]


def for_seed(recipe: Recipe, seed: int) -> Recipe:
    """The same recipe as if it named this seed alone."""
    return replace(recipe, head=recipe.head.model_copy(update={"seed": seed, "seeds": None}), variant=f"seed-{seed}")
