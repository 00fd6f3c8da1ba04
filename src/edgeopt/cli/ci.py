"""What apply and gate tell a CI server: a JUnit file, and GitHub's annotations and step summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeopt.support.errors import EdgeoptError, InputError
from edgeopt.support.visible import unguarded

if TYPE_CHECKING:
    from edgeopt.report.suite import Suite

JUNIT = click.option(
    "--junit", type=click.Path(path_type=Path), metavar="FILE", help="Also write the gates as a JUnit file."
)
GITHUB = click.option(
    "--github",
    is_flag=True,
    help="In GitHub Actions: also annotate the lines of the gates, and append to the job summary.",
)
_COMMANDS = ("apply", "gate")


def make_way(junit: Path | None) -> None:
    """See to it, before anything is computed, that the JUnit file can be written and is not an earlier run's.

    What an earlier run left there goes, so that nobody reads it when this one fails. Raises InputError E114 or E156.
    """
    from edgeopt.support import user_files

    if junit is not None:
        user_files.forget_output("--junit", junit, user_files.JUNIT)


def publish(suites: Sequence[Suite], recipe: Path | None, junit: Path | None, *, github: bool) -> None:
    """Tell a CI server of the gates, in a JUnit file and on GitHub. recipe: the file in which they have their lines.

    Raises InputError E114 or E156 where the JUnit file cannot be written; the verdict does not depend on what GitHub
    can show.
    """
    from edgeopt.report.github import commands
    from edgeopt.report.junit import write_junit

    if junit is not None:
        write_junit(junit, suites)
    if github:
        _tell(commands(suites, recipe), suites)


def _tell(commands: Sequence[str], suites: Sequence[Suite]) -> None:
    """Write annotations to stderr, which the runner reads too, and the summary where GitHub looks for it."""
    from edgeopt.report.github import append_summary, summary

    for line in commands:
        click.echo(line, file=unguarded(sys.stderr))
    if problem := append_summary(summary(suites)):
        click.echo(problem, err=True)


@dataclass(frozen=True)
class Asked:
    """What a command line asks for, found in its words, because an error may stand in the way of their meaning."""

    command: str
    recipe: Path | None
    junit: Path | None
    github: bool

    @property
    def name(self) -> str:
        """What the suite is called: after the recipe, or after the command where none is named."""
        return self.recipe.stem if self.recipe else f"edgeopt {self.command}"


def asked_for(words: Sequence[str]) -> Asked | None:
    """What the words of a command line ask for; None where it is neither JUnit nor GitHub."""
    if not words or words[0] not in _COMMANDS or os.environ.get("RANK", "0") != "0":
        return None
    found: dict[str, str] = {}
    rest = iter(words[1:])
    for word in rest:
        name, equals, value = word.partition("=")
        if name in ("--junit", "--recipe"):
            found[name] = value if equals else next(rest, "")
        elif word == "--github":
            found[word] = word
        elif not word.startswith("-") and word.endswith((".yaml", ".yml")):
            found.setdefault("--recipe", word)
    junit, recipe = (Path(found[name]) if found.get(name) else None for name in ("--junit", "--recipe"))
    return Asked(words[0], recipe, junit, "--github" in found) if junit or "--github" in found else None


def tell_error(error: EdgeoptError, words: Sequence[str]) -> None:
    """Tell a CI server why there is no verdict; raises nothing.

    There is an annotation at the place of each issue, and a JUnit file with an error.
    """
    asked = asked_for(words)
    if asked is None:
        return
    from edgeopt.report.github import issue_commands
    from edgeopt.report.junit import write_junit
    from edgeopt.report.suite import Suite

    suite = Suite(asked.name, [], "\n".join(issue.render().removeprefix("error") for issue in error.issues))
    if asked.junit is not None:
        try:
            write_junit(asked.junit, [suite])
        except InputError as other:
            if other.issues != error.issues:
                click.echo(f"warning: {other.issues[0].message}", err=True)
    if asked.github:
        _tell(issue_commands(asked.name, error.issues), [suite])
