"""A plan is made: the recipe checked, then the store looked into."""

from __future__ import annotations

from dataclasses import replace

from edgeopt.models.begun import Begun
from edgeopt.models.source import ModelSource
from edgeopt.plan.corpora import find_corpora
from edgeopt.plan.fit import attempt, emissions_issues, export_issues, fit_issues, itself_issues, step_issues
from edgeopt.plan.inputs import Inputs, in_order
from edgeopt.plan.lookup import look_up_chain
from edgeopt.plan.order import check_order, start_facts
from edgeopt.plan.references import find_checkpoints, unmatched
from edgeopt.plan.steps import Plan
from edgeopt.recipe.expand import each_seed
from edgeopt.recipe.load import Recipe
from edgeopt.store.store import Store
from edgeopt.support.errors import InputError, Issue
from edgeopt.training.precision import known


def make_plans(recipe: Recipe, store: Store) -> list[Plan]:
    """Check the recipe, then look up what the store holds: a plan for each seed. Raises InputError as `check` does."""
    return looked_up(check(recipe), store)


def looked_up(plan: Plan, store: Store) -> list[Plan]:
    """A plan for each seed, with what the store holds of it."""
    corpora = {id: corpus.recalled(store.recall_source(corpus.named)) for id, corpus in plan.corpora.items()}
    if isinstance(plan.source, Begun):
        plan = replace(plan, source=plan.source.kept_in(store.begun))
    plans = plans_by_seed(replace(plan, corpora=corpora).decided(known(plan.source.config, store.measured)))
    for plan in plans:
        for chain, steps in plan.chains.items():
            look_up_chain(plan, chain, steps, store)
    return plans


def make_plan(recipe: Recipe, store: Store) -> Plan:
    """The plan of a recipe's only, or first, seed, with what the store has."""
    return make_plans(recipe, store)[0]


def plans_by_seed(plan: Plan) -> list[Plan]:
    """The plan for each of the recipe's seeds, in their order: model, rows and steps are the same."""
    return [
        replace(plan, recipe=recipe, chains={name: list(steps) for name, steps in plan.chains.items()})
        for recipe in each_seed(plan.recipe)
    ]


def check(recipe: Recipe, inputs: Inputs | None = None) -> Plan:
    """The plan without a look at any store: model, order of the steps, and data.

    inputs: of the recipes beside this one. Raises InputError for everything that a user can mend before any compute or
    download.
    """
    issues: list[Issue] = []
    inputs = inputs or Inputs()
    spec = recipe.head.model
    found = attempt(issues, lambda: inputs.model(recipe))
    source = found or ModelSource(spec.named, spec.revision, None, False)  # the order can be checked without it
    chains = attempt(issues, lambda: check_order(recipe, source))
    rows = attempt(issues, lambda: inputs.rows(recipe))
    data = attempt(issues, lambda: in_order(recipe, source, rows)) if rows else None
    checkpoints = (
        attempt(issues, lambda: find_checkpoints(recipe, chains, start_facts(source), source, data)) if chains else None
    )
    corpora = attempt(issues, lambda: find_corpora(recipe, inputs))
    issues += unmatched(recipe, source, checkpoints or {})
    issues += [
        *export_issues(recipe),
        *fit_issues(recipe, source, data),
        *step_issues(recipe, source),
        *emissions_issues(recipe),
        *itself_issues(recipe),
    ]
    if issues or chains is None:
        raise InputError(issues)
    return Plan(recipe, source, data, chains, checkpoints or {}, corpora or {})
