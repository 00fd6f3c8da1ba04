"""The JSON schema of recipes, made from the models that check them."""

from __future__ import annotations

from typing import Any

from edgeopt.recipe.short import LISTS, MAPPINGS
from edgeopt.spec.recipe import NAME, RecipeHead
from edgeopt.step import registry


def recipe_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12: the recipe with one shape a transform for its steps."""
    schema = RecipeHead.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    steps = []
    for name, transform in sorted(registry.TRANSFORMS.usable().items()):
        params = transform.Params.model_json_schema(ref_template="#/$defs/{model}")
        definitions.update(params.pop("$defs", {}))
        own = {"id": {"type": "string", "pattern": NAME}, "use": {"const": name, "description": transform.summary}}
        title = f"step-{name}"
        definitions[title] = {
            **params,
            "title": title,
            "properties": {**own, **params.get("properties", {})},
            "required": ["use", *params.get("required", [])],
        }
        steps.append({"$ref": f"#/$defs/{title}"})
    schema["properties"]["steps"] = {"type": "array", "items": {"oneOf": steps}, "default": []}
    _allow_several(schema)
    _allow_short_forms(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "recipe-v1.json",
        **schema,
        "title": "edgeopt recipe",
    }


def _allow_several(schema: dict[str, Any]) -> None:
    """Let the schema ask for `task` or `tasks`."""
    schema["required"].remove("task")
    schema["oneOf"] = [{"required": ["task"]}, {"required": ["tasks"]}]


def _allow_short_forms(schema: dict[str, Any]) -> None:
    """Let the schema allow the short forms too, which `spell_out` writes out."""
    for path in MAPPINGS:
        for held in _properties(schema, path):
            _allow_mapping(held)
    for path in LISTS:
        for held in _properties(schema, path):
            _allow_list(held)


def _allow_mapping(held: dict[str, Any]) -> None:
    entry = held.get("items", held)
    whole = {key: entry.pop(key) for key in ("$ref",) if key in entry}
    entry["anyOf"] = [whole, {"type": "string"}]


def _allow_list(held: dict[str, Any]) -> None:
    options = held.pop("anyOf", None) or [{key: held.pop(key) for key in ("type", "items", "minItems") if key in held}]
    several = next(option for option in options if option.get("type") == "array")
    held["anyOf"] = [*options, several["items"]]


def _properties(schema: dict[str, Any], path: tuple[str, ...]) -> list[dict[str, Any]]:
    """The schemas of one key of the recipe, by its path; of a task's key also that of one of several tasks."""
    inside: dict[str, Any] = schema["properties"]
    for part in path[:-1]:
        inside = schema["$defs"][inside[part]["$ref"].rpartition("/")[2]]["properties"]
    several = [schema["$defs"]["OneTask"]["properties"][path[-1]]] if path[0] == "task" else []
    return [inside[path[-1]], *several]
