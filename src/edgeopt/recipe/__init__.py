"""Recipes: read, checked, overridden. Nothing here imports torch or computes anything."""

from edgeopt.recipe.load import Recipe, StepSpec, load_recipe

__all__ = ["Recipe", "StepSpec", "load_recipe"]
