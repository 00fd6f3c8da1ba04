"""A report's table on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from edgeopt.support.visible import styled, visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment
    from rich.table import Table as Drawn

    from edgeopt.report.table import Table


def open_console(file: TextIO | None = None, *, width: int = 120) -> Console:
    """A console of rich's, as wide as the terminal, or `width` where there is none.

    Text is text: nothing in it is markup, and control characters are written out.
    """
    from rich.console import Console

    file = styled(file or sys.stdout)
    console = Console(file=file, width=None if file.isatty() else width, markup=False, emoji=False, highlight=False)
    hook: Any = _WrittenOut()  # not of rich's class, which would have to be imported first
    console.push_render_hook(hook)
    return console


class _WrittenOut:
    def process_renderables(self, renderables: list[Any]) -> list[Any]:
        return [_Harmless(each) for each in renderables]


@dataclass(frozen=True)
class _Harmless:
    """Something that rich draws; the colors are rich's own, the text is not trusted."""

    inner: Any

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.inner, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def draw(table: Table, title: str) -> Drawn:
    """A report's table as one of rich's, with numbers to the right."""
    from rich.table import Table

    drawn = Table(title=title, title_justify="left")
    for column in table.columns:
        drawn.add_column(column.name, justify="right" if column.kind == "number" else "left")
    for row in table.rows:
        drawn.add_row(*row)
    return drawn
