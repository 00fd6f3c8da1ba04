"""Keys that recipes had before 0.1.0, or that stand elsewhere, and how the same is said now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import yaml

from edgeopt.spec.recipe import Distillation, EmbeddingLosses, Losses

#: What was the weight of a loss among a teacher's other keys: its name in `losses`.
_LOSSES = {**{name: name for name in Losses.model_fields}, "layers": "hidden"}
_TEACHER = ("distil", "distill", "distillation")
_Keys = Mapping[str, Any]
#: What is shown where the value is no mapping, or too long to show.
_TAUGHT: _Keys = {"teacher": "baseline", "losses": {"labels": 0.5, "logits": 1.0}}
_BUDGET: _Keys = {"macs": 0.5}
_LONGEST = 160


def said_now(key: str, value: object, known: Collection[str]) -> str | None:
    """How to say what an old or misplaced key says, for the error's `help` line; None where the key is neither.

    known: the keys that there are in its place.
    """
    if key in _TEACHER and "distill" in known:
        return f"write `{_shown({'distill': _with_losses(value)}, {'distill': _TAUGHT})}`"
    if key in Distillation.model_fields and "distill" in known:
        return f"write `{_shown({'distill': {key: value}}, {'distill': _TAUGHT})}`"
    if key in Losses.model_fields and set(known) == set(EmbeddingLosses.model_fields):
        return f"write `{_shown({'distill': {'losses': {key: value}}}, {'distill': _TAUGHT})}`"
    if key in _TEACHER and "losses" in known:
        return _on_the_step(_with_losses(value), _TAUGHT)
    if key == "budget" and "macs" in known:
        return _on_the_step(_mapping(value, _BUDGET), _BUDGET)
    if key in _LOSSES and "losses" in known:
        return f"write `{_shown({'losses': {_LOSSES[key]: value}}, {'losses': {_LOSSES[key]: 1.0}})}`"
    return None


def _mapping(value: object, example: _Keys) -> _Keys:
    """The value where it is a mapping, or nothing; else the example."""
    return value if isinstance(value, Mapping) else example if value is not None else {}


def _with_losses(old: object) -> _Keys:
    """The keys of a teacher, with the weights of the losses in `losses`."""
    given = _mapping(old, _TAUGHT)
    kept = {k: v for k, v in given.items() if k not in _LOSSES}
    weights = {_LOSSES[k]: v for k, v in given.items() if k in _LOSSES}
    losses = {**_mapping(kept.pop("losses", None), {}), **weights}
    first = {"teacher": kept.pop("teacher")} if "teacher" in kept else {}
    return {**first, **({"losses": losses} if losses else {}), **kept}


def _on_the_step(keys: _Keys, example: _Keys) -> str:
    if not keys:
        return "its keys are on the step itself: take it out"
    return f"write its keys on the step itself: `{_shown(keys, example)}`"


def _shown(keys: _Keys, example: _Keys) -> str:
    """The keys as they stand in a recipe, on one line; the example where that is too long."""
    text, short = (in_flow(dict(k))[1:-1] for k in (keys, example))
    return text if len(text) <= _LONGEST else short


def in_flow(value: dict[str, Any] | list[Any]) -> str:
    """A mapping or a list as YAML on one line."""
    dumped = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**31)
    return str(dumped).strip()
