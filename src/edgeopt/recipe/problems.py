"""What pydantic finds wrong, said in the recipe's own words and at the recipe's own lines."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edgeopt.recipe import mends
from edgeopt.recipe.yaml import Document
from edgeopt.spec.recipe import Strict
from edgeopt.spec.renamed import said_now
from edgeopt.spec.steps import address
from edgeopt.support.errors import Issue, Path_
from edgeopt.support.words import as_share, closest, meant


def from_pydantic(error: ValidationError, model: type[BaseModel], document: Document, root: Path_ = ()) -> list[Issue]:
    """One issue for each finding; several findings about one place of a union become one."""
    issues: dict[tuple[Any, ...], Issue] = {}
    found = [
        (detail, _in_document(document, root, detail["loc"])) for detail in _unions(error.errors(include_url=False))
    ]
    # a key that is missing because it is misspelled is one mistake
    meant = {
        (*at[:-1], closest(str(at[-1]), _fields_at(model, d["loc"][:-1])))
        for d, at in found
        if d["type"] == "extra_forbidden"
    }
    for detail, at in found:
        if detail["type"] == "missing" and at in meant:
            continue
        issue = _issue(detail, at, model, document, root)
        key = (at, issue.code if issue.code != "E106" else "value")
        if key not in issues:
            issues[key] = issue
    return list(issues.values())


#: Words of recipes elsewhere.
TASKS_TO_COME = ("question-answering",)
#: How pydantic says that a value is of another kind altogether, and what it would have been
_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def _expected(detail: ErrorDetails) -> str | None:
    """What a value that is of the wrong kind should be; None where something else is wrong with it."""
    return str(detail.get("ctx", {})["expected"]) if detail["type"] == "literal_error" else _KINDS.get(detail["type"])


def _unions(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """The findings, but of a union's members only those of the one that was meant.

    Where the value fits no member, there is one finding that names them all. pydantic reports every member as if each
    had been meant.
    """
    kept: list[ErrorDetails] = []
    misfits: dict[tuple[str | int, ...], list[ErrorDetails]] = {}
    for detail in details:
        if detail["loc"] and _is_tag(detail["loc"][-1]) and _expected(detail):
            misfits.setdefault(detail["loc"][:-1], []).append(detail)
        else:
            kept.append(detail)
    for union, members in misfits.items():
        inside = [loc for d in kept if (loc := d["loc"])[: len(union)] == union] + [
            loc for loc in misfits if loc != union and loc[: len(union)] == union
        ]
        if not inside:
            names = " or ".join(dict.fromkeys(str(_expected(m)) for m in members))
            fit = {"members": [m["type"] for m in members]}
            kept.append({**members[0], "type": "union", "loc": union, "msg": f"Input should be {names}", "ctx": fit})
    return kept


def _in_document(document: Document, root: Path_, loc: tuple[str | int, ...]) -> Path_:
    """The path in the file of what pydantic calls a loc, which has the names of union members besides."""
    at: Path_ = root
    for i, part in enumerate(loc):
        last = i == len(loc) - 1
        if (*at, part) in document.values or (*at, part) in document.keys or (last and not _is_tag(part)):
            at = (*at, part)
    return at


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and (
        part in {"str", "int", "float", "bool"} or "[" in part or part.startswith("constrained-") or part[:1].isupper()
    )


def _issue(detail: ErrorDetails, at: Path_, model: type[BaseModel], document: Document, root: Path_) -> Issue:
    kind, context, name = detail["type"], detail.get("ctx", {}), dotted(at, document)
    place = document.place(at)
    if kind == "extra_forbidden":
        known = _fields_at(model, detail["loc"][:-1], document.at(at[:-1]))
        known |= {"id", "use"} if root and len(detail["loc"]) == 1 else set()
        within = dotted(at[:-1], document)
        message = f"unknown key '{at[-1]}'" + (f" in '{within}'" if within else "")
        near = said_now(str(at[-1]), detail["input"], known) or meant(str(at[-1]), sorted(known), "known keys", most=0)
        return Issue("E104", message, place, near)
    if kind == "missing":
        parent = dotted(at[:-1], document)
        return Issue(
            "E105",
            f"key '{at[-1]}' is missing" + (f" in '{parent}'" if parent else ""),
            document.place(at[:-1]),
            f"add `{at[-1]}:`" + (f" below '{parent}'" if parent else "") if at != ("edgeopt",) else "add `edgeopt: 1`",
        )
    if kind == "literal_error":
        if at == ("edgeopt",):
            return Issue(
                "E108", f"schema version {detail['input']!r} is not read by this edgeopt", place, "write `edgeopt: 1`"
            )
        expected = str(context["expected"]).replace("'", "")
        if at == ("task", "type") and detail["input"] in TASKS_TO_COME:
            return Issue(
                "E106",
                f"'{name}' is {_shown(detail['input'])}, a task that edgeopt does not have yet",
                place,
                f"there are {expected}",
            )
        guess = closest(str(detail["input"]), expected.replace(" or ", ", ").split(", "))
        return Issue(
            "E106",
            f"'{name}' is {_shown(detail['input'])}, and must be {expected}",
            place,
            f"did you mean '{guess}'?" if guess else None,
        )
    if kind == "unusable_plugin":
        return Issue("E122", str(context["message"]), place, str(context["help"]))
    if kind == "value_error":
        error = context["error"]
        place = document.place((*at, *_named_key(str(error), at, document)))
        return Issue("E106", f"'{name}': {error}" if name else str(error), place, getattr(error, "help", None))
    help = _mend(detail, at, model)
    message = detail["msg"][:1].lower() + detail["msg"][1:]
    message = message.replace("input should be", "must be")
    if kind in _KINDS:
        message = f"must be {_KINDS[kind]}"
    if kind == "too_short":
        least = context["min_length"]
        message = f"must have at least {least} {'entry' if least == 1 else 'entries'}"
    if kind == "string_pattern_mismatch":
        message = "must be letters, digits, '.', '_' and '-', and start with a letter or digit"
        help = f"write '{guess}'" if (guess := as_name(str(detail["input"]))) else None
    if kind == "less_than" and at[-1:] == ("max_drop_relative",):
        help = as_share("max_drop_relative", detail["input"])
    return Issue("E106", f"'{name or 'the recipe'}' is {_shown(detail['input'])}: {message}", place, help)


def _named_key(message: str, at: Path_, document: Document) -> Path_:
    """The key of a block that a message about the block begins with, as in `'labels' names classes`."""
    found = re.match(r"'(\w+)", message)
    return (found[1],) if found and (*at, found[1]) in document.keys else ()


def _mend(detail: ErrorDetails, at: Path_, model: type[BaseModel]) -> str | None:
    """What to write in place of a value that is of another kind, or out of range."""
    kind, value, key = detail["type"], detail["input"], at[-1] if at else ""
    if kind == "union" and "int_type" in detail["ctx"]["members"]:
        kind = "int_type"
    if kind == "string_type":
        return mends.text(value)
    if not isinstance(key, str):
        return None
    if kind in ("less_than", "less_than_equal"):
        context = detail.get("ctx", {})
        return mends.share(key, value, context.get("lt", context.get("le")))
    if kind in ("int_type", "float_type"):
        return mends.number(key, value, whole=kind == "int_type")
    if kind == "bool_type":
        return mends.switch(key, value)
    inner = _model_at(model, detail["loc"])
    needed = [name for name, field in inner.model_fields.items() if field.is_required()] if inner else []
    if kind == "list_type":
        return mends.listed(key, value, needed[0] if needed else None)
    return mends.mapping(key, value, inner.model_fields if inner else (), needed) if kind == "model_type" else None


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "empty"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def as_name(text: str) -> str:
    """The name that a text makes where only letters, digits, '.', '_' and '-' may stand; nothing where none is left."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")[:60]


def dotted(path: Path_, document: Document) -> str:
    """The path as `--set` takes it: a step by its id where it has one."""
    parts = [str(p) for p in path]
    if len(path) > 1 and path[0] == "steps" and isinstance(path[1], int) and isinstance(document.data, dict):
        steps = document.data.get("steps")
        if isinstance(steps, list) and path[1] < len(steps) and isinstance(steps[path[1]], dict):
            parts[1] = address(steps[path[1]]) or parts[1]
    return ".".join(parts)


def _fields_at(model: type[BaseModel], loc: tuple[str | int, ...], given: object = None) -> set[str]:
    """The known keys of the (possibly nested, possibly optional) model that a loc leads to.

    given: the keys and values that stand there; keys that do not go with them are left out.
    """
    current = model
    for i in range(len(loc)):
        current = _model_at(current, loc[i : i + 1]) or current
    unfit = current.unfit(given) if issubclass(current, Strict) and isinstance(given, dict) else set()
    return {*current.model_fields} - unfit


def _model_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The model of the key that a loc leads to, or of the entries of its list; None where that is none."""
    current: type[BaseModel] | None = model
    for part in loc:
        field = current.model_fields.get(part) if current and isinstance(part, str) else None
        nested = _model_types(field.annotation) if field else []
        current = nested[0] if nested else None if isinstance(part, str) else current
    return current


def _model_types(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found: list[type[BaseModel]] = []
    for inner in getattr(annotation, "__args__", ()):
        found += _model_types(inner)
    return found
