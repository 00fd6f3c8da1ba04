"""Whether a recipe whose gates are to be decided on a run is of the same model, made in the same way."""

from __future__ import annotations

from collections.abc import Iterator

from edgeopt.gates.request import Request
from edgeopt.results.changes import Change, changes
from edgeopt.results.sealed import Run
from edgeopt.support.errors import Issue

#: What of a recipe, besides model and task, makes the file that is measured.
_MADE = ("baseline", "steps", "export", "seed", "seeds")
#: What of a task says which rows are looked at and what of them; what gates need of it is looked at with them.
_LOOKED_AT = {"dataset", "text", "choices", "label", "labels", "missing_label", "leaks", "report", "metrics", "slices"}


def another_recipe(run: Run, asked: Request, own: Request) -> Issue | None:
    """E118 for a recipe that says anything else than the run's of how the model was made; None where it does not.

    The first difference is named in the message, others below it.
    """
    found = [*_model(run, asked, own), *_training(asked, own)]
    if not found:
        return None
    first = found[0].at.partition(".")[0]
    return Issue(
        "E118",
        f"the run was made by another recipe: {found[0]}",
        asked.place((first,)),
        "apply this recipe; or decide its gates alone, in a copy of the run's own recipe",
        tuple(map(str, found[1:10])),
    )


def _model(run: Run, asked: Request, own: Request) -> Iterator[Change]:
    """The difference in the models: by their files where they are here, else by what the recipes say of them."""
    here, there = asked.fingerprint(), run.lock["model"]
    if here is None or there is None:
        yield from changes(own.resolved["model"], asked.resolved["model"], "model")
    elif here != there:
        named = own.model.id, asked.model.id
        same = named[0] == named[1]
        yield Change("model", f"files {there[:12]}", f"files {here[:12]}") if same else Change("model.id", *named)


def _training(asked: Request, own: Request) -> Iterator[Change]:
    old, new = (each.task.model_dump(mode="json", exclude=_LOOKED_AT) for each in (own, asked))
    yield from changes(old, new, "task")
    for part in _MADE:
        yield from changes(own.resolved.get(part), asked.resolved.get(part), part)
