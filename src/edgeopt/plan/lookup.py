"""What the store holds of a plan, and why a step is to be built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgeopt.models.begun import Begun
from edgeopt.plan.keys import data_key, key_parts, memory_of, other_digests
from edgeopt.plan.steps import Chain, Plan, PlannedStep
from edgeopt.recipe.load import Recipe
from edgeopt.store.store import Store
from edgeopt.support.files import key_of
from edgeopt.training.precision import asks


def look_up_chain(plan: Plan, chain: Chain, steps: list[PlannedStep], store: Store) -> None:
    """Gives each step of a chain, in place, its key and its state, as far as the states before it are known."""
    digest, data = plan.source.fingerprint(), data_key(plan, store)
    behind = (
        ("the model is not begun yet" if isinstance(plan.source, Begun) else "the model is not downloaded yet")
        if digest is None
        else "the dataset is not downloaded yet"
        if data is None
        else ""
    )
    for i, step in enumerate(steps):
        if behind:
            steps[i] = replace(step, status="new", why=behind)
            continue
        assert digest is not None
        assert data is not None
        if asks(step.params):
            behind = "`precision: auto` is measured first"
            steps[i] = replace(step, status="new", why=behind)
            continue
        if step.transform.corpus(step.params) is not None and plan.corpora[step.id].key() is None:
            behind = "the corpus is not downloaded yet"
            steps[i] = replace(step, status="new", why=behind)
            continue
        others, missing = other_digests(step, plan, data, store)
        if missing:
            behind = f"'{missing}' is not built yet"
            steps[i] = replace(step, status="new", why=behind)
            continue
        steps[i] = found = look_up(step, key_parts(step, digest, plan, data, others), plan.recipe, store)
        if found.state is None:
            behind = f"follows '{step.id}'"
        else:
            digest = found.state.digest


def look_up(step: PlannedStep, parts: dict[str, Any], recipe: Recipe, store: Store) -> PlannedStep:
    """The step with its key, and its state where the store has it, or why it has not."""
    key = key_of(parts)
    state = store.find(key)
    if state is not None:
        return replace(step, key=key, parts=parts, status="cached", why="", state=state)
    if damage := store.why_damaged(key):
        return replace(step, key=key, parts=parts, status="stale", why=f"its state is damaged: {damage}")
    before = store.recall(memory_of(recipe), step.chain, step.id)
    if before is None:
        return replace(step, key=key, parts=parts, status="new", why="never built")
    if before["key"] == key:
        return replace(step, key=key, parts=parts, status="new", why="not finished, or removed from the store")
    return replace(step, key=key, parts=parts, status="stale", why=_changed(before["parts"], parts))


_WORDS = {
    "input": "its input",
    "version": "the transform's version",
    "plugin": "the transform's code",
    "plugin.source": "the transform's code",
    "task": "the task",
    "task.plugin": "the task's code",
    "task.plugin.source": "the task's code",
    "parity.plugin": "the task's code",
    "parity.plugin.source": "the task's code",
    "data": "the training rows",
    "data.fingerprint": "the training rows",
    "data.train_with": "the rows of task.train_with",
    "data.unlabelled": "the rows without labels",
    "corpus.train": "the text",
    "corpus.validation": "the held-out text",
    "corpus.hub": "the text",
}


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """`amount 0.3 → 0.4`: what differs between the parts of two keys."""
    if old.get("transform") != new.get("transform"):
        return f"was {old.get('transform')}"
    new = json.loads(json.dumps(new))  # as the store keeps them: tuples are lists there
    found: list[str] = []

    def walk(a: object, b: object, path: str) -> None:
        if isinstance(a, dict) and isinstance(b, dict):
            for name in sorted({*a, *b}):
                walk(a.get(name), b.get(name), f"{path}.{name}" if path else name)
        elif a != b:
            if path.startswith("references."):
                found.append(f"the model of {path.removeprefix('references.')} changed")
            elif path in _WORDS:
                found.append(f"{_WORDS[path]} changed")
            else:
                found.append(f"{path.removeprefix('params.').replace('plugin.', '')} {_short(a)} → {_short(b)}")

    walk(old, new, "")
    return "; ".join(dict.fromkeys(found)) or "its key changed"


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else text[:12] + "…"
