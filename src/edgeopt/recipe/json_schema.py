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
    _allow_short_forms(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "recipe-v1.json",
        **schema,
        "title": "edgeopt recipe",
    }


def _allow_short_forms(schema: dict[str, Any]) -> None:
    """Let the schema allow the short forms too, which `spell_out` writes out."""
    for path in MAPPINGS:
        held = _property(schema, path)
        entry = held.get("items", held)
        whole = {key: entry.pop(key) for key in ("$ref",) if key in entry}
        entry["anyOf"] = [whole, {"type": "string"}]
    for path in LISTS:
        held = _property(schema, path)
        options = held.pop("anyOf", None) or [
            {key: held.pop(key) for key in ("type", "items", "minItems") if key in held}
        ]
        several = next(option for option in options if option.get("type") == "array")
        held["anyOf"] = [*options, several["items"]]


def _property(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """The schema of one key of the recipe, by its path."""
    inside: dict[str, Any] = schema["properties"]
    for part in path[:-1]:
        inside = schema["$defs"][inside[part]["$ref"].rpartition("/")[2]]["properties"]
    found: dict[str, Any] = inside[path[-1]]
    return found
