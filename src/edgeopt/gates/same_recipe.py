"""Whether a recipe whose gates are to be decided on a run is of the same model, made in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgeopt.gates.request import Request
from edgeopt.gates.rows_of_run import recipe_folders
from edgeopt.results.changes import Change, changes
from edgeopt.results.sealed import Run
from edgeopt.support.errors import Issue
from edgeopt.support.paths import expanded, is_there

#: What of a recipe, besides model and task, makes the file that is measured.
_MADE = ("baseline", "steps", "export", "seed", "seeds")
#: What of a task says which rows are looked at and what of them; what gates need of it is looked at with them.
_LOOKED_AT = {"dataset", "text", "choices", "label", "labels", "missing_label", "leaks", "report", "metrics", "slices"}
#: Keys of steps and further datasets under which a path may stand.
_NAMES = ("model", "teacher", "path", "train")


def another_recipe(run: Run, asked: Request, own: Request) -> Issue | None:
    """E118 for a recipe that says anything else than the run's of how the model was made; None where it does not.

    The first difference is named in the message, others below it.
    """
    found = [*_model(run, asked, own), *_training(asked, own)] or [*_places(run, asked)]
    if not found:
        return None
    first = found[0].at.partition(".")[0]
    return Issue(
        "E118",
        f"the run was made by another recipe: {found[0]}",
        asked.place((first,)),
        "apply this recipe, or put its gates into a copy of the run's own recipe",
        tuple(map(str, found[1:10])),
    )


def _model(run: Run, asked: Request, own: Request) -> Iterator[Change]:
    """The difference in the models: by their files where they are here, else by what the recipes say of them."""
    here, there = asked.fingerprint(), run.lock["model"]
    if here is None or there is None:
        yield from changes(own.resolved["model"], asked.resolved["model"], "model")
    elif here != there:
        named = own.model.named, asked.model.named
        same = named[0] == named[1]
        yield Change("model", f"files {there[:12]}", f"files {here[:12]}") if same else Change("model.id", *named)


def _training(asked: Request, own: Request) -> Iterator[Change]:
    old, new = (_as_learned(each) for each in (own, asked))
    yield from changes(old, new, "task")
    for part in _MADE:
        yield from changes(own.resolved.get(part), asked.resolved.get(part), part)


def _as_learned(asked: Request) -> object:
    """What a recipe says of its tasks besides which rows are looked at."""
    each = {
        ".".join(map(str, at)): task.model_dump(mode="json", exclude=_LOOKED_AT) for at, task in asked.task.each.items()
    }
    return each.get("task", each)


def _places(run: Run, asked: Request) -> Iterator[Change]:
    """Models and rows that both recipes name alike, and that are not the same where the recipes stand."""
    folders = recipe_folders(run)
    more = [*_named(asked.resolved["steps"], "steps")]
    if "task" in asked.resolved:
        more += _named(asked.resolved["task"]["train_with"], "task")
    for at, name in more:
        ours = next((path for folder in folders if is_there(path := folder / expanded(name), Path.exists)), None)
        theirs = asked.folder / expanded(name)
        if ours is not None and is_there(theirs, Path.exists) and not theirs.samefile(ours):
            yield Change(at, str(ours), str(theirs))


def _named(value: object, at: str, key: str = "") -> Iterator[tuple[str, str]]:
    """What stands under keys that name a model or rows, each with its path."""
    if isinstance(value, str) and key in _NAMES:
        yield at, value
    elif isinstance(value, dict | list):
        inside = value.items() if isinstance(value, dict) else ((key, each) for each in value)
        for inner, each in inside:
            yield from _named(each, f"{at}.{inner}" if isinstance(value, dict) else at, inner)
