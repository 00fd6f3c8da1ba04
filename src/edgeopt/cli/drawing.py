"""A report's table on a terminal."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from edgeopt.support.visible import styled, visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment
    from rich.table import Table as Drawn

    from edgeopt.report.table import Table

#: What a verdict is drawn in.
COLORS = {"pass": "green", "fail": "red", "inconclusive": "yellow"}
_COMMAND, _GLUE = re.compile("`[^`]+`"), "\u00a0"


def open_console(file: TextIO | None = None, *, width: int = 120) -> Console:
    """A console of rich's, as wide as the terminal or COLUMNS says, or `width` where neither does.

    Text is text: nothing in it is markup, and control characters are written out.
    """
    from rich.console import Console

    file = styled(file or sys.stdout)
    own = file.isatty() or "COLUMNS" in os.environ
    console = Console(file=file, width=None if own else width, markup=False, emoji=False, highlight=False)
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


def show(console: Console, table: Table, title: str) -> None:
    """Print a report's table, of which no word is broken.

    Where the words of a row are too many to stand beside each other, its cells stand below each other.
    """
    tell(console, title, "italic")
    if widths := _widths(table, console.width):
        console.print(_drawn(table, widths))
        return
    for row in table.rows:
        first, *rest = ((column.name, cell) for column, cell in zip(table.columns, row, strict=True) if cell)
        tell(console, ": ".join(filter(None, first)), indent="  ")
        for name, cell in rest:
            tell(console, f"{name}: {cell}" if name else cell, indent="    ")


def tell(console: Console, text: str, style: str = "", indent: str = "") -> None:
    """Print a text, wrapped between words; what is longer than a line stays whole."""
    for line in text.splitlines() or [""]:
        console.print(fitted(line, console.width, indent), style=style or None, soft_wrap=True)


def fitted(line: str, width: int, indent: str = "", hang: str = "  ") -> str:
    """A line wrapped between words, further lines a little to the right of its beginning; a `command` stays whole."""
    if len(indent + line) <= width:
        return indent + line
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", _GLUE), line.strip(" "))
    begin = indent + line[: len(line) - len(line.lstrip(" "))]
    made = textwrap.fill(
        whole,
        width,
        initial_indent=begin,
        subsequent_indent=begin + hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return made.replace(_GLUE, " ")


def _widths(table: Table, width: int) -> list[int]:
    """How wide each column is drawn; empty where its longest words alone take more than there is.

    Numbers keep their units and bounds on one line where there is room.
    """
    from rich.cells import cell_len

    cells = [[column.name, *(row[i] for row in table.rows)] for i, column in enumerate(table.columns)]
    most = [max(map(cell_len, each)) for each in cells]
    words = [max((cell_len(word) for cell in each for word in cell.split()), default=1) for each in cells]
    whole = [
        max([words[i], *map(cell_len, cells[i][1:])]) if column.kind == "number" else words[i]
        for i, column in enumerate(table.columns)
    ]
    for least in (whole, words):
        left = width - 3 * len(cells) - 1 - sum(least)
        if left >= 0:
            break
    else:
        return []
    widths, wanting = list(least), sorted(range(len(cells)), key=lambda i: most[i] - least[i])
    for position, i in enumerate(wanting):
        more = min(most[i] - least[i], left // (len(cells) - position))
        widths[i], left = widths[i] + more, left - more
    return widths


def _drawn(table: Table, widths: list[int]) -> Drawn:
    from rich.table import Table
    from rich.text import Text

    drawn = Table()
    for column, width in zip(table.columns, widths, strict=True):
        drawn.add_column(column.name, justify="right" if column.kind == "number" else "left", width=width)
    for row in table.rows:
        drawn.add_row(
            *(
                Text(cell, COLORS.get(cell, "")) if column.kind == "verdict" else cell
                for column, cell in zip(table.columns, row, strict=True)
            )
        )
    return drawn
