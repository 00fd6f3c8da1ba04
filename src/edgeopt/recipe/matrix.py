"""The documents that one with a matrix stands for, one a combination. Pure: a document in, documents out.

In a combination all replacements come first, then insertions, removals and values, whatever the order of the axes. A
value for a step that is not there has no effect, and combinations that resolve to the same recipe are one cell.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from typing import Any

from edgeopt.recipe.override import set_value
from edgeopt.recipe.yaml import Document
from edgeopt.spec.recipe import NAME, Matrix, Value, Variant
from edgeopt.spec.steps import address
from edgeopt.step import registry
from edgeopt.support.errors import Issue, Path_
from edgeopt.support.words import meant

#: Combinations that a matrix may have.
LARGEST = 256
#: What belongs to the file and not to a cell.
_FIXED = ("edgeopt", "name", "matrix", "emissions", "diagnostics")


@dataclass(frozen=True)
class Combination:
    """One variant of each axis, and the recipe that this makes, without a matrix."""

    choices: Mapping[str, str]
    document: Document


@dataclass(frozen=True)
class _Choice:
    """A variant, and where in the file it stands.

    said, place: of what and where an error in it is said to be: the variants of a list of values make one mistake
    together.
    """

    variant: Variant
    at: Path_
    said: str
    place: Path_


def combinations(document: Document, matrix: Matrix) -> list[Combination]:
    """The product of the axes without what is excluded, the last axis varying first.

    What cannot be is added to the document's issues: E119, and E106 for a name.
    """
    before = len(document.issues)
    axes = {axis: _choices(document, axis, variants) for axis, variants in matrix.axes.items()}
    ids = _known_ids(document, matrix)
    found = [
        issue
        for choices in axes.values()
        for choice in choices.values()
        for issue in _variant_issues(document, choice, ids)
    ]
    document.issues += dict.fromkeys(found)
    count = math.prod(len(choices) for choices in axes.values())
    if count > LARGEST:
        place = document.place(("matrix", "axes"))
        document.issues.append(
            Issue(
                "E119",
                f"the axes make {count} combinations; at most {LARGEST} are allowed",
                place,
                "split the matrix into several recipes",
            )
        )
    document.issues += _exclude_issues(document, matrix, axes)
    if len(document.issues) > before:
        return []
    chosen = [dict(zip(axes, names, strict=True)) for names in product(*axes.values())]
    kept = [c for c in chosen if not any(_matches(c, given) for given in matrix.exclude)]
    if not kept:
        document.issues.append(
            Issue("E119", "`exclude` leaves no combination", document.place(("matrix", "exclude")), "remove an entry")
        )
    every = _entries(document, matrix)
    return [Combination(c, _document(document, [axes[axis][name] for axis, name in c.items()], every)) for c in kept]


def cell_name(choices: Mapping[str, str]) -> str:
    """`prune-on_sparsity-0.6`: an axis that is a key goes by its last word where that is one axis' alone."""
    last = [axis.rpartition(".")[2] or axis for axis in choices]
    return "_".join(
        f"{short if last.count(short) == 1 else axis}-{name}"
        for short, (axis, name) in zip(last, choices.items(), strict=True)
    )


def _choices(document: Document, axis: str, variants: dict[str, Variant | None] | list[Value]) -> dict[str, _Choice]:
    """The variants of an axis by name; a list's are named after its values."""
    at: Path_ = ("matrix", "axes", axis)
    if not variants:
        document.issues.append(
            Issue("E119", f"axis '{axis}' has no variant", document.place(at), "add variants, or remove the axis")
        )
    named = dict(variants) if isinstance(variants, dict) else {}
    out = {
        name: _Choice(variant or Variant(), (*at, name), f"variant '{name}' of axis '{axis}'", (*at, name))
        for name, variant in named.items()
    }
    for i, value in enumerate(variants if isinstance(variants, list) else ()):
        if _label(value) in out:
            document.issues.append(
                Issue(
                    "E119",
                    f"axis '{axis}' has the value {_label(value)} twice",
                    document.place((*at, i)),
                    "keep one of the two",
                )
            )
        out[_label(value)] = _Choice(Variant(set={axis: value}), (*at, i), f"axis '{axis}'", at)
    for name, place in [
        (axis, document.place(at)),
        *((name, document.place(choice.at)) for name, choice in out.items()),
    ]:
        if not re.fullmatch(NAME, name):
            help = (
                "values become part of the cells' names: write the axis as a mapping of names to variants"
                if name != axis
                else None
            )
            document.issues.append(
                Issue(
                    "E106",
                    f"{name!r} of axis '{axis}' must be letters, digits, '.', '_' and '-', "
                    "and start with a letter or digit",
                    place,
                    help,
                )
            )
    return out


def _label(value: object) -> str:
    """What a value is called: as it would be written in YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def _entries(document: Document, matrix: Matrix) -> list[dict[str, Any]]:
    """The steps that a cell may have, whichever variants it is made of."""
    steps = document.data.get("steps")
    entries = [*steps] if isinstance(steps, list) else []
    for variants in matrix.axes.values():
        for variant in variants.values() if isinstance(variants, dict) else ():
            entries += (
                [*(i.step for i in variant.insert), *({"id": step, **entry} for step, entry in variant.replace.items())]
                if variant
                else []
            )
    return [entry for entry in entries if isinstance(entry, dict)]


def _known_ids(document: Document, matrix: Matrix) -> list[str]:
    """What the steps that a cell may have are called, and what they replace."""
    return [name for entry in _entries(document, matrix) if (name := address(entry)) is not None]


def _takes(entry: dict[str, Any], key: str) -> bool:
    """Whether a step's transform has that parameter; one that is not known may."""
    use = entry.get("use")
    transform = registry.TRANSFORMS.find(use) if isinstance(use, str) else None
    return transform is None or key in {"id", "use", *transform.Params.model_fields}


def _is_of_another(
    out: Document, choice: _Choice, choices: Sequence[_Choice], parts: Sequence[str], every: Sequence[dict[str, Any]]
) -> bool:
    """Whether a value is for a step in whose place another axis has put one that does not take it.

    It is not for that step only where another step of that id takes it.
    """
    step, key = parts[1], parts[2] if len(parts) > 2 else "id"
    if not any(step in other.variant.replace for other in choices if other is not choice):
        return False
    there = next(entry for entry in out.data["steps"] if address(entry) == step)
    return not _takes(there, key) and any(_takes(entry, key) for entry in every if address(entry) == step)


def _variant_issues(document: Document, choice: _Choice, ids: list[str]) -> Iterator[Issue]:
    """Steps that no cell has, and keys that a cell cannot set."""
    variant = choice.variant
    named: list[tuple[str, Path_]] = [(step, ("replace", step)) for step in variant.replace]
    named += [
        (i.before or i.after or "", ("insert", n, "before" if i.before else "after"))
        for n, i in enumerate(variant.insert)
    ]
    named += [(step, ("remove", n)) for n, step in enumerate(variant.remove)]
    for key in variant.set:
        parts = key.split(".")
        at: Path_ = ("set", key)
        if parts[0] in _FIXED or key == "steps":
            help = "use `replace`, `insert` and `remove` for steps" if key == "steps" else None
            yield Issue(
                "E119",
                f"{choice.said} sets '{key}', which is the same in all cells",
                document.place((*choice.place, *at)),
                help,
            )
        elif parts[0] == "steps":
            named.append((parts[1], at))
    for step, at in named:
        if step not in ids:
            help = meant(step, ids, "steps")
            yield Issue("E119", f"{choice.said}: there is no step '{step}'", document.place((*choice.place, *at)), help)


def _exclude_issues(document: Document, matrix: Matrix, axes: Mapping[str, Mapping[str, _Choice]]) -> Iterator[Issue]:
    for i, given in enumerate(matrix.exclude):
        at: Path_ = ("matrix", "exclude", i)
        if not given:
            yield Issue("E119", "this excludes everything", document.place(at), "name the variant of an axis")
        for axis, value in given.items():
            known = axes.get(axis, axes)
            word, wrong = (_label(value), "variant") if axis in axes else (axis, "axis")
            if word not in known:
                of = f" of axis '{axis}'" if axis in axes else ""
                help = meant(word, known, "variants" if wrong == "variant" else "axes")
                yield Issue("E119", f"there is no {wrong} '{word}'{of}", document.place((*at, axis)), help)


def _matches(choices: Mapping[str, str], given: Mapping[str, Any]) -> bool:
    return all(choices[axis] == _label(value) for axis, value in given.items())


def _document(document: Document, choices: list[_Choice], every: Sequence[dict[str, Any]]) -> Document:
    """The document of one combination.

    Its places are those in the file, also where steps have moved. every: the steps that any combination may have.
    """
    base = document.data.get("steps")
    out = Document(document.source, {k: deepcopy(v) for k, v in document.data.items() if k != "matrix"})
    moved: dict[Path_, Path_] = {}
    present: set[str | None] | None = None
    if isinstance(base, list):
        steps = _steps(out, base, choices, document)
        out.data["steps"] = [deepcopy(entry) for entry, _ in steps]
        moved = {origin: ("steps", i) for i, (_, origin) in enumerate(steps)}
        present = {address(entry) for entry, _ in steps}
    for places, copy in ((document.keys, out.keys), (document.values, out.values)):
        for path, place in places.items():
            if len(path) < 2 or path[0] not in ("steps", "matrix"):
                copy[path] = place
            for origin, to in moved.items():
                if path[: len(origin)] == origin:
                    copy[(*to, *path[len(origin) :])] = place
    for choice in choices:
        for key, value in choice.variant.set.items():
            parts = key.split(".")
            if (
                present is not None
                and parts[0] == "steps"
                and (parts[1] not in present or _is_of_another(out, choice, choices, parts, every))
            ):
                continue
            at, said_at = (document.place((*at, "set", key)) for at in (choice.at, choice.place))
            set_value(out, parts, deepcopy(value), at, said_at)
    return out


def _steps(out: Document, base: list[Any], choices: list[_Choice], document: Document) -> list[tuple[Any, Path_]]:
    """The steps of one combination, each with where it stands in the file.

    First all replacements are made, then all insertions, then all removals.
    """
    steps: list[tuple[Any, Path_]] = [(entry, ("steps", i)) for i, entry in enumerate(base)]

    def index(step: str) -> int | None:
        return next((i for i, (entry, _) in enumerate(steps) if address(entry) == step), None)

    for choice in choices:
        for step, entry in choice.variant.replace.items():
            if (i := index(step)) is not None:
                steps[i] = ({"id": step, **entry}, (*choice.at, "replace", step))
    for choice in choices:
        for n, insert in enumerate(choice.variant.insert):
            step, at = insert.before or insert.after or "", (*choice.at, "insert", n)
            if (i := index(step)) is None:
                place = document.place((*at, "before" if insert.before else "after"))
                out.issues.append(
                    Issue(
                        "E119",
                        f"there is no step '{step}' to insert before or after",
                        place,
                        "name a step that every cell of this variant has",
                    )
                )
            else:
                steps.insert(i + (insert.after is not None), (insert.step, (*at, "step")))
    gone = {step for choice in choices for step in choice.variant.remove}
    return [(entry, origin) for entry, origin in steps if address(entry) not in gone]
