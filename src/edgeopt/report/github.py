"""Gates for GitHub Actions: annotations at their lines in the recipe, and a table in the step's summary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgeopt.report.gate_text import title
from edgeopt.report.markdown_text import escape, table
from edgeopt.report.model import Verdict
from edgeopt.report.suite import Suite
from edgeopt.report.table import Column, Table

_LEVELS: dict[Verdict, str] = {"fail": "error", "inconclusive": "warning"}


def commands(suites: Sequence[Suite], recipe: Path | None) -> list[str]:
    """A workflow command for each gate that did not pass: an error for a failed one, a warning for an inconclusive one. recipe:
    the file in which the gates have their lines."""
    out = []
    for suite in suites:
        for gate in suite.gates:
            if gate.verdict in _LEVELS:
                out.append(_command(_LEVELS[gate.verdict], f"{gate.verdict}: {suite.name}: {title(gate)}", gate.reason, recipe, gate.line))
        if suite.problem:
            out.append(_command("error", suite.name, suite.problem, recipe, None))
    return out


def _command(level: str, heading: str, message: str, recipe: Path | None, line: int | None) -> str:
    where = {"file": _in_repository(recipe), **({"line": str(line)} if line else {})} if recipe is not None else {}
    properties = ",".join(f"{k}={_property(v)}" for k, v in {**where, "title": heading}.items())
    return f"::{level} {properties}::{_data(message)}"


def summary(suites: Sequence[Suite]) -> str:
    """Markdown: for each recipe its verdict and a table of its gates."""
    parts = []
    for suite in suites:
        parts.append(f"## edgeopt: {escape(suite.name)}: {suite.verdict}")
        if suite.problem:
            parts.append(escape(suite.problem))
        elif suite.gates:
            parts.append(table(Table([Column("verdict"), Column("gate"), Column("evidence")], [[g.verdict, title(g), g.reason] for g in suite.gates])))
        else:
            parts.append("No gates.")
    return "\n\n".join(parts) + "\n\n"


def append_summary(text: str) -> bool:
    """Append to the step's summary; False where there is none, as outside GitHub Actions."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return False
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)
    return True


def _in_repository(path: Path) -> str:
    """Relative to the checkout, as annotations have it."""
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    whole = path.resolve()
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else whole.as_posix()


def _data(text: str) -> str:
    """As the runner's toolkit escapes the message (actions/toolkit, core/src/command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
