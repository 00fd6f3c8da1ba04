"""A plan as JSON, for --json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeopt.data.task_data import Extra, TaskData
    from edgeopt.plan import Plan, PlannedStep


def plan_as_json(plans: Sequence[Plan]) -> dict[str, object]:
    """What `edgeopt plan --json` prints. plans: one a seed."""
    from edgeopt.plan.measured import advice

    by_seed = [{"seed": p.recipe.head.seed, "steps": [step_as_json(s) for s in p.steps]} for p in plans]
    told = [each.as_json() for each in advice(plans[0])]
    found = {"name": plans[0].recipe.head.name, **_extra(plans[0].data), "steps": by_seed[0]["steps"], "measured": told}
    return {**found, "seeds": by_seed} if len(plans) > 1 else found


def _extra(data: TaskData | None) -> dict[str, list[dict[str, object]] | None]:
    """What each dataset of task.train_with and each without labels brings; None where rows are on the hub."""

    def brings(found: Iterable[Extra]) -> list[dict[str, object]]:
        return [
            {"source": e.source, "rows": len(e.rows), "left_out": e.left_out, "fingerprint": e.rows.fingerprint}
            for e in found
        ]

    return {
        "train_with": None if data is None else brings(data.extra),
        "unlabelled": None if data is None else brings(data.unlabelled.values()),
    }


def step_as_json(step: PlannedStep) -> dict[str, object]:
    """One step of a plan, as `edgeopt plan --json` prints it."""
    return {
        "chain": step.chain,
        "id": step.id,
        "use": step.use,
        "implied": step.implied,
        "status": step.status,
        "why": step.why,
        "key": step.key,
        "note": step.note,
    }
