"""What apply and gate tell a CI server: a JUnit file, and GitHub's annotations and step summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeopt.errors import bad_input

if TYPE_CHECKING:
    from edgeopt.report.suite import Suite

JUNIT = click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Also write the gates as a JUnit file.")
GITHUB = click.option("--github", is_flag=True, help="Also annotate the gates' lines, and append to the step's summary, in GitHub Actions.")


def make_way(*files: Path | None) -> None:
    """Before anything is computed: the folders are made, and what an earlier run left is gone, so that nobody reads it when this
    one fails. Raises InputError E114 where a file cannot be written."""
    for file in files:
        if file is not None:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.unlink(missing_ok=True)
                file.touch()
                file.unlink()
            except OSError as error:
                raise bad_input("E114", f"{file} cannot be written: {error.strerror}", help="give a file in a folder of your own") from None


def publish(suites: Sequence[Suite], recipe: Path | None, junit: Path | None, *, github: bool) -> None:
    """recipe: the file in which the gates have their lines. Annotations go to stderr, which the runner reads too."""
    from edgeopt.report.github import append_summary, commands, summary
    from edgeopt.report.junit import write_junit

    if junit is not None:
        write_junit(junit, suites)
    if github:
        for line in commands(suites, recipe):
            click.echo(line, err=True)
        if not append_summary(summary(suites)):
            click.echo("GITHUB_STEP_SUMMARY is not set: there is no step whose summary could be appended to", err=True)
