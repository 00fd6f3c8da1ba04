"""edgeopt schema."""

from __future__ import annotations

import click

from edgeopt.cli.output import print_json


@click.command("schema")
def command() -> None:
    """Print the JSON schema of recipes, for editors: `# yaml-language-server: $schema=recipe-v1.json`."""
    from edgeopt.recipe.json_schema import recipe_schema

    print_json(recipe_schema())
