"""Which trainings leave the selection rows out: all that come before something is judged by them.

Rows that a model was trained on tell less of what it does to others: its answers there are surer, and int8 flips fewer
of them.
"""

from __future__ import annotations

from dataclasses import replace

from edgeopt.plan.steps import Chain, PlannedStep
from edgeopt.recipe.load import Recipe
from edgeopt.spec.recipe import AUTO


def chooses_export(recipe: Recipe) -> bool:
    """Whether the export that is kept is chosen by how the exports do on the selection rows."""
    return any(spec.format == AUTO for spec in recipe.head.export)


def hold_out(chains: dict[Chain, list[PlannedStep]], recipe: Recipe) -> dict[Chain, list[PlannedStep]]:
    """The chains, with `held_out` on every training up to the last step that looks at the selection rows.

    Where the export is chosen by them, that is all of both chains, as candidate and baseline are compared there; else
    the baseline's training goes with the candidate's where that is the same one.
    """
    whole = chooses_export(recipe)
    candidate = _held(chains["candidate"], whole=whole)
    shared = [(s.use, s.params) for s in candidate if s.held_out]
    baseline = _held(chains["baseline"], whole=whole)
    return {
        **chains,
        "candidate": candidate,
        "baseline": [replace(s, held_out=s.held_out or (s.use, s.params) in shared) for s in baseline],
    }


def _held(chain: list[PlannedStep], *, whole: bool) -> list[PlannedStep]:
    last = len(chain) if whole else max((i for i, step in enumerate(chain) if step.looks_at_selection), default=-1)
    return [replace(step, held_out=i <= last and step.transform.trains(step.params)) for i, step in enumerate(chain)]
