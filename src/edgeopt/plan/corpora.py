"""The plain text that steps read: found, and each mistake in it told at the step that names it."""

from __future__ import annotations

from dataclasses import replace

from edgeopt.corpus.source import Corpus
from edgeopt.plan.inputs import Inputs
from edgeopt.recipe.load import Recipe
from edgeopt.support.errors import InputError, Issue


def find_corpora(recipe: Recipe, inputs: Inputs) -> dict[str, Corpus]:
    """The plain text of every step that reads some, by the step's id. Raises InputError as `find_corpus` does."""
    found: dict[str, Corpus] = {}
    issues: list[Issue] = []
    for number, step in enumerate(recipe.steps):
        spec = step.transform.corpus(step.params)
        if spec is None:
            continue
        try:
            found[step.id] = inputs.corpus(spec, recipe.folder)
        except InputError as error:
            place = recipe.document.place(("steps", number, "corpus"))
            issues += [replace(issue, place=issue.place or place) for issue in error.issues]
    if issues:
        raise InputError(issues)
    return found
