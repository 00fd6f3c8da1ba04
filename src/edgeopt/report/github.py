"""Gates for GitHub Actions: annotations at their lines in the recipe, and a table in the step's summary."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from edgeopt.report.gate_text import title
from edgeopt.report.markdown_text import escape, table
from edgeopt.report.suite import Suite
from edgeopt.report.table import Column, Table
from edgeopt.results.model import Verdict
from edgeopt.support.errors import Issue
from edgeopt.support.visible import visible

_LEVELS: dict[Verdict, str] = {"fail": "error", "inconclusive": "warning"}


def commands(suites: Sequence[Suite], recipe: Path | None) -> list[str]:
    """A workflow command for each gate that did not pass: an error for a failed one, a warning for an inconclusive one.

    recipe: the file in which the gates have their lines.
    """
    out = []
    for suite in suites:
        for gate in suite.gates:
            if gate.verdict in _LEVELS:
                out.append(
                    _command(
                        _LEVELS[gate.verdict],
                        f"{gate.verdict}: {suite.name}: {title(gate)}",
                        gate.reason,
                        recipe,
                        gate.line,
                    )
                )
        out += [
            _command("warning", f"beside the verdict {suite.verdict}: {suite.name}", warning, recipe, None)
            for warning in suite.warnings
        ]
        if suite.problem:
            out.append(_command("error", suite.name, suite.problem, recipe, None))
    return out


def issue_commands(name: str, issues: Sequence[Issue]) -> list[str]:
    """An error for each issue that kept edgeopt from a verdict, at its line where it has one.

    name: of what was asked for.
    """
    out = []
    for issue in issues:
        place = issue.place
        file = None if place is None or not Path(place.source).is_file() else Path(place.source)
        text = "\n".join(part for part in (issue.message, *issue.context, issue.help) if part)
        out.append(_command("error", f"{issue.code}: {name}", text, file, place.line if file and place else None))
    return out


def _command(level: str, heading: str, message: str, recipe: Path | None, line: int | None) -> str:
    where = {"file": _in_repository(recipe), **({"line": str(line)} if line else {})} if recipe is not None else {}
    properties = ",".join(f"{k}={_property(v)}" for k, v in {**where, "title": heading}.items())
    return f"::{level} {properties}::{_data(message)}"


def summary(suites: Sequence[Suite]) -> str:
    """Markdown: for each recipe its verdict and a table of its gates."""
    parts = []
    for suite in suites:
        parts.append(f"## edgeopt: {escape(suite.name)}: {suite.verdict}{', with a warning' * bool(suite.warnings)}")
        parts += [f"**Warning:** {escape(warning)}" for warning in suite.warnings]
        if suite.model:
            parts.append(f"Model: {escape(suite.model)}")
        if suite.problem:
            parts.append(escape(suite.problem))
        elif suite.gates:
            parts.append(
                table(
                    Table(
                        [Column("verdict"), Column("gate"), Column("evidence")],
                        [[g.verdict, title(g), g.reason] for g in suite.gates],
                    )
                )
            )
        else:
            parts.append("No gates.")
    return "\n\n".join(parts) + "\n\n"


def append_summary(text: str) -> str | None:
    """Append to the step's summary. Returns why it was not, as outside GitHub Actions: no verdict depends on it."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return "GITHUB_STEP_SUMMARY is not set, so there is no step summary to append to"
    try:
        with open(path, "a", encoding="utf-8", errors="replace", opener=_plain_file) as file:
            file.write(text)
    except (OSError, ValueError) as error:
        return (
            f"warning: GITHUB_STEP_SUMMARY is {path!r}, which cannot be written: "
            f"{getattr(error, 'strerror', None) or error}"
        )
    return None


def _plain_file(path: str, flags: int) -> int:
    """Opens it without waiting, and only where it is a plain file. Raises OSError."""
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file")
    return handle


def _in_repository(path: Path) -> str:
    """Relative to the checkout, as annotations have it."""
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    whole = path.resolve()
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else whole.as_posix()


def _data(text: str) -> str:
    """Text escaped as the runner's toolkit escapes the message (actions/toolkit, core/src/command.ts)."""
    return (
        visible(text.replace("\r\n", "\n"))
        .replace("##[", "##\\[")
        .replace("%", "%25")
        .replace("\r", "%0D")
        .replace("\n", "%0A")
    )


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
