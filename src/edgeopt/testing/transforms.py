"""The conformance test check_transform: does a transform do what its contract says?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgeopt.run.execute import Done, Executed
from edgeopt.spec.recipe import TaskSpec
from edgeopt.step.transform import AnyTransform, StepContext
from edgeopt.store.facts import Fact
from edgeopt.store.store import MANIFEST, State, Store
from edgeopt.support.declared import check_declared
from edgeopt.support.files import file_digest
from edgeopt.support.progress import Progress
from edgeopt.testing.build import TASK, build, step, steps_towards
from edgeopt.testing.failing import failing
from edgeopt.testing.imports import imports_no_torch

OTHER_SEED = 271828


@failing
def check_transform(transform: AnyTransform, params: dict[str, Any], *, model: Path, data: Path, work: Path) -> State:
    """Run the transform on your small model and rows, after the steps that its contract requires.

    Returns the state that the transform made. Raises AssertionError, which names the check that failed.

    The checks:

    - The parameters refuse unknown keys.
    - The module imports no torch.
    - The facts that the transform declares are found in its files.
    - The input state is unchanged, and files are written only into `context.output`.
    - The figures are numbers.
    - The same key gives the same bytes in another store.
    - A second run reuses the state.
    - With `seeded = False`, another seed gives the same bytes.
    - A torch state can be exported, and the graph agrees with torch.

    model: a folder with config.json, model.safetensors and the tokenizer. data: a folder with train.jsonl and
    validation.jsonl, with columns `text` and `label`. work: an empty folder.
    """
    _refuses_unknown_keys(transform, params)
    check_declared(transform)
    imports_no_torch(type(transform).__module__)
    before = steps_towards(transform.contract.requires)
    under_test = step(transform, params, "under-test")
    after = steps_towards(frozenset({Fact.TRAINED_HEAD})) if _leaves_untrained(transform) else []
    if Fact.ADAPTER in transform.contract.adds:
        from edgeopt.transforms.merge import Merge

        after = [step(Merge(), {}, Merge.name)]
    steps = [*before, under_test, *after]
    first = build(steps, model=model, data=data, store=work / "a")
    done = {d.step.id: d for d in first.chains["candidate"]}
    made = done["under-test"].state
    opened = Store(work / "a")
    for each in done.values():
        damaged = opened.damage(each.state)
        assert damaged is None, (
            f"step '{each.step.id}' no longer has the files it had: {damaged} was changed by a later step"
        )
        _nothing_beside(each.state, each.step.id)
    _wrote_where_it_may(opened)
    _finite(made)
    again = build(steps, model=model, data=data, store=work / "a")
    assert all(d.cached for d in again.chains["candidate"]), "the same recipe was built twice: the key is not stable"
    # what it was given is the same to the byte, and what it kept to be quicker is gone
    shutil.copytree(work / "a", work / "b", ignore=shutil.ignore_patterns("answers", "measured", "work"))
    Store(work / "b").remove(made.key)
    other = build(steps, model=model, data=data, store=work / "b")
    twin = next(d.state for d in other.chains["candidate"] if d.step.id == "under-test")
    assert twin.digest == made.digest, f"two runs with the same key gave different files: {_differing(made, twin)}"
    if not transform.seeded:
        _draws_nothing(done["under-test"], _input_of(first, "under-test"), first, work / "drawn")
    return made


def _nothing_beside(state: State, id: str) -> None:
    found = {path.relative_to(state.folder).as_posix() for path in state.folder.rglob("*") if path.is_file()}
    more = sorted(found - {*state.files, MANIFEST})
    assert not more, f"step '{id}' has a file that it had not: {more[0]} was written by a later step"


def _wrote_where_it_may(store: Store) -> None:
    left = sorted(path.name for path in (store.root / "building").iterdir())
    assert not left, f"{left[0]} was written beside `context.output`"


def _finite(state: State) -> None:
    try:
        json.dumps(state.figures, allow_nan=False)
    except ValueError:
        raise AssertionError(f"a figure is no number: {state.figures}") from None


def _input_of(executed: Executed, step_id: str) -> State:
    """The input state of a step of the candidate."""
    chain = executed.chains["candidate"]
    return chain[next(i for i, d in enumerate(chain) if d.step.id == step_id) - 1].state


def _draws_nothing(done: Done, given: State, executed: Executed, work: Path) -> None:
    for folder in (output := work / "output", kept := work / "kept"):
        folder.mkdir(parents=True)
    task = TaskSpec.model_validate(TASK | {"dataset": {"path": executed.data.source}})
    context = StepContext(task, executed.data, output, kept, OTHER_SEED, Progress(show=False))
    done.step.transform.apply(given, done.step.params, context)
    differing = [n for n, f in done.state.files.items() if file_digest(output / n) != f["sha256"]]
    assert not differing, f"{done.step.use} says `seeded = False`, and with another seed {', '.join(differing)} differs"


def _leaves_untrained(transform: AnyTransform) -> bool:
    contract = transform.contract
    return Fact.TORCH in contract.requires and Fact.TRAINED_HEAD not in contract.requires | contract.adds


def _refuses_unknown_keys(transform: AnyTransform, params: dict[str, Any]) -> None:
    transform.Params.model_validate(params)
    try:
        transform.Params.model_validate({**params, "no_such_key": 1})
    except ValidationError:
        return
    raise AssertionError(f"{transform.name} takes a parameter it does not know: derive Params from StepParams")


def _differing(a: State, b: State) -> str:
    names = [n for n in sorted({*a.files, *b.files}) if a.files.get(n) != b.files.get(n)]
    return ", ".join(names) or "their facts"
