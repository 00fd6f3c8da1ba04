"""One way to open a template: an undefined name is an error, not an empty place."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment(*, autoescape: bool) -> Environment:
    """Where the report's templates are and how they are filled; a name that is not known is an error."""
    return Environment(
        loader=PackageLoader("edgeopt.report"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
