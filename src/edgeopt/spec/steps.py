"""What a step is called."""

from __future__ import annotations

#: Steps that the planner adds to every chain, by their ids, which no recipe's step may have.
LOAD, LOWERING = "load", "onnx"
IMPLIED = (LOAD, LOWERING)


def default_id(use: str) -> str:
    """The id of a step that names none: the last word of its transform."""
    return use.rpartition(".")[2]


def address(entry: object) -> str | None:
    """What `--set` calls an entry of a list: a step's id, a target's name."""
    if not isinstance(entry, dict):
        return None
    given = entry.get("id", entry.get("name"))
    if given is None and isinstance(entry.get("use"), str):
        given = default_id(entry["use"])
    return None if given is None else str(given)
