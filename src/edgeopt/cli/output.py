"""What commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

import click

from edgeopt.errors import EdgeoptError


def show_error(error: EdgeoptError, *, as_json: bool) -> None:
    """Each issue once, in the documented form; with --json as one object on stdout."""
    if as_json:
        print_json({"errors": [i.as_json() for i in error.issues], "exit_code": int(error.exit_code)})
        return
    for issue in error.issues:
        head, *rest = issue.render().splitlines()
        click.secho(head, fg="red", bold=True, err=True, color=False if "NO_COLOR" in os.environ else None)
        for line in rest:
            click.echo(line, err=True)


def print_json(data: Any) -> None:
    click.echo(json.dumps(data, indent=1, ensure_ascii=False, default=str))


def log_to_stderr(*, quiet: bool = False) -> None:
    """edgeopt's own lines on stderr; the libraries' lines go to the run's log alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("edgeopt")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    handler.setLevel(logging.ERROR if quiet else logging.INFO)
