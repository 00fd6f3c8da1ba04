"""What commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from edgeopt.support.errors import EdgeoptError
from edgeopt.support.visible import one_line, styled, visible, visible_json


def show_error(error: EdgeoptError, *, as_json: bool) -> None:
    """Print each issue once, in the documented form; with --json as one object on stdout."""
    if as_json:
        print_json({"errors": [i.as_json() for i in error.issues], "exit_code": int(error.exit_code)})
        return
    from edgeopt.cli.drawing import fitted

    for issue in error.issues:
        head, *rest = issue.render().split("\n")
        if sys.stderr.isatty():
            head = fitted(head, shutil.get_terminal_size((80, 24)).columns)
        echo_styled((head, {"fg": "red", "bold": True}), err=True)
        for line in rest:
            say(line, err=True)


def say(text: str, *, err: bool = False, hang: str = "  ") -> None:
    """Print a text, on a terminal wrapped between words. hang: what further lines begin with."""
    from edgeopt.cli.drawing import fitted

    if (sys.stderr if err else sys.stdout).isatty():
        width = shutil.get_terminal_size().columns
        text = "\n".join(fitted(line, width, hang=hang) for line in text.split("\n"))
    click.echo(text, err=err)


def echo_styled(*parts: tuple[str, dict[str, Any]], err: bool = False) -> None:
    """Print a line of pieces, each with what `click.style` takes."""
    text = "".join(click.style(visible(part), **style) for part, style in parts)
    click.echo(text, file=styled(sys.stderr if err else sys.stdout), color=False if "NO_COLOR" in os.environ else None)


def print_json(data: object) -> None:
    """Print data as JSON; what JSON does not have stands as its text."""
    echo_json(json.dumps(data, indent=1, ensure_ascii=False, default=str))


def echo_json(text: str) -> None:
    """Print what is JSON already, with control characters written as escapes."""
    click.echo(visible_json(text))


def log_to_stderr(*, quiet: bool = False) -> None:
    """Print edgeopt's own log lines on stderr; the libraries' lines go to the run's log alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))
    logger = logging.getLogger("edgeopt")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    handler.setLevel(logging.ERROR if quiet else logging.INFO)


@contextmanager
def working(what: str, seconds: float | None = None) -> Iterator[None]:
    """Say what a command is doing while the block runs, where that takes more than a second. seconds: about so many."""
    from edgeopt.support.progress import Progress

    log_to_stderr()
    with Progress().during(what, seconds, after=1.0):
        yield


class _OneLine(logging.Formatter):
    """A message is a line, whatever is in it; a trace keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))
