"""Markdown's two needs: text that stays text, and tables that also read well as plain characters."""

from __future__ import annotations

from edgeopt.report.table import Table
from edgeopt.support.visible import visible

#: In this order: what a text has of backslashes may not undo ours.
_SIGNS = {"\\": r"\\", "&": "&amp;", "<": "&lt;", "|": r"\|", "`": r"\`", "](": r"]\(", "*": r"\*"}


def escape(text: str) -> str:
    """`text` so that it neither breaks a table row nor becomes markup."""
    for character, entity in _SIGNS.items():
        text = text.replace(character, entity)
    return visible(" ".join(text.split()))


def table(content: Table) -> str:
    """A padded pipe table: numbers to the right, so a terminal shows it as well as a browser."""
    right = [column.kind == "number" for column in content.columns]
    cells = [[column.name for column in content.columns], *([escape(c) for c in row] for row in content.rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(right))]

    def line(row: list[str]) -> str:
        padded = (t.rjust(w) if r else t.ljust(w) for t, w, r in zip(row, widths, right, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    return "\n".join([line(cells[0]), line(rule), *map(line, cells[1:])])
