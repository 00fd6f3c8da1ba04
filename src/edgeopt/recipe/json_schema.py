"""The JSON schema of recipes, made from the models that check them."""

from __future__ import annotations

from typing import Any

from edgeopt.recipe.schema import NAME, RecipeHead
from edgeopt.transforms import registry


def recipe_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12: the recipe with one shape a transform for its steps."""
    schema = RecipeHead.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    steps = []
    for name in registry.names():
        transform = registry.get(name)
        params = transform.Params.model_json_schema(ref_template="#/$defs/{model}")
        definitions.update(params.pop("$defs", {}))
        own = {"id": {"type": "string", "pattern": NAME}, "use": {"const": name, "description": transform.summary}}
        title = f"step-{name}"
        definitions[title] = {**params, "title": title, "properties": {**own, **params.get("properties", {})}, "required": ["use", *params.get("required", [])]}
        steps.append({"$ref": f"#/$defs/{title}"})
    schema["properties"]["steps"] = {"type": "array", "items": {"oneOf": steps}, "default": []}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "recipe-v1.json", **schema, "title": "edgeopt recipe"}
