"""A report's table on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Drawn

    from edgeopt.report.table import Table


def open_console(file: TextIO | None = None, *, width: int = 120) -> Console:
    """As wide as the terminal, or `width` where there is none."""
    from rich.console import Console

    file = file or sys.stdout
    return Console(file=file, width=None if file.isatty() else width, highlight=False)


def draw(table: Table, title: str) -> Drawn:
    """Numbers to the right, text as it is: nothing in it is markup."""
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=escape(title), title_justify="left")
    for column in table.columns:
        drawn.add_column(escape(column.name), justify="right" if column.kind == "number" else "left")
    for row in table.rows:
        drawn.add_row(*map(escape, row))
    return drawn
