"""pydantic's findings, said in the recipe's own words and at the recipe's own lines."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edgeopt.errors import Issue
from edgeopt.recipe.yaml import Document, Path_


def closest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that a misspelt word most likely meant."""
    found = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return found[0] if found else None


def from_pydantic(error: ValidationError, model: type[BaseModel], document: Document, root: Path_ = ()) -> list[Issue]:
    """One issue for each finding; several findings about one place of a union become one."""
    issues: dict[tuple[Any, ...], Issue] = {}
    for detail in error.errors(include_url=False):
        at = _in_document(document, root, detail["loc"])
        issue = _issue(detail, at, model, document, root)
        key = (at, issue.code if issue.code != "E106" else "value")
        if key not in issues:
            issues[key] = issue
    return list(issues.values())


def _in_document(document: Document, root: Path_, loc: tuple[str | int, ...]) -> Path_:
    """pydantic's loc without the names of union members, which are not in the file."""
    at: Path_ = root
    for i, part in enumerate(loc):
        last = i == len(loc) - 1
        if (*at, part) in document.values or (*at, part) in document.keys or (last and not _is_tag(part)):
            at = (*at, part)
    return at


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and (part in {"str", "int", "float", "bool"} or "[" in part or part[:1].isupper())


def _issue(detail: ErrorDetails, at: Path_, model: type[BaseModel], document: Document, root: Path_) -> Issue:
    kind, context, name = detail["type"], detail.get("ctx", {}), dotted(at, document)
    place = document.place(at)
    if kind == "extra_forbidden":
        known = _fields_at(model, detail["loc"][:-1])
        guess = closest(str(at[-1]), known)
        within = dotted(at[:-1], document)
        message = f"unknown key '{at[-1]}'" + (f" in '{within}'" if within else "")
        return Issue("E104", message, place,
                     f"did you mean '{guess}'?" if guess else f"known keys: {', '.join(sorted(known))}")
    if kind == "missing":
        parent = dotted(at[:-1], document)
        return Issue("E105", f"key '{at[-1]}' is missing" + (f" in '{parent}'" if parent else ""),
                     document.place(at[:-1]), f"add `{at[-1]}:`" + (f" below '{parent}'" if parent else ""))
    if kind == "literal_error":
        if at == ("edgeopt",):
            return Issue("E108", f"schema version {detail['input']!r} is not read by this edgeopt", place, "write `edgeopt: 1`")
        expected = str(context["expected"]).replace("'", "")
        guess = closest(str(detail["input"]), expected.replace(" or ", ", ").split(", "))
        return Issue("E106", f"'{name}' is {_shown(detail['input'])}, and must be {expected}", place,
                     f"did you mean '{guess}'?" if guess else None)
    if kind == "value_error":
        return Issue("E106", f"'{name}': {context['error']}" if name else str(context["error"]), place)
    message = detail["msg"][:1].lower() + detail["msg"][1:]
    message = message.replace("input should be", "must be").replace("valid dictionary or instance of", "mapping:")
    if kind in {"model_type", "dict_type", "model_attributes_type"}:
        message = "must be a mapping of keys to values"
    if kind == "string_pattern_mismatch":
        message = "must be letters, digits, '.', '_' and '-', and start with a letter or digit"
    return Issue("E106", f"'{name or 'the recipe'}' is {_shown(detail['input'])}: {message}", place)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "empty"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def dotted(path: Path_, document: Document) -> str:
    """The path as `--set` takes it: a step by its id where it has one."""
    parts = [str(p) for p in path]
    if len(path) > 1 and path[0] == "steps" and isinstance(path[1], int) and isinstance(document.data, dict):
        steps = document.data.get("steps")
        if isinstance(steps, list) and path[1] < len(steps) and isinstance(steps[path[1]], dict):
            parts[1] = str(steps[path[1]].get("id") or path[1])
    return ".".join(parts)


def _fields_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> set[str]:
    """The known keys of the (possibly nested, possibly optional) model that a loc leads to."""
    current: type[BaseModel] = model
    for part in loc:
        field = current.model_fields.get(part) if isinstance(part, str) else None
        nested = _model_types(field.annotation) if field else []
        current = nested[0] if nested else current
    return set(current.model_fields)


def _model_types(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found: list[type[BaseModel]] = []
    for inner in getattr(annotation, "__args__", ()):
        found += _model_types(inner)
    return found
