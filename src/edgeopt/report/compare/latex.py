"""Tables for papers: LaTeX with booktabs."""

from __future__ import annotations

from edgeopt.report.table import Table
from edgeopt.support.visible import visible

_SIGNS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "−": "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "–": "--",
    "…": r"\ldots{}",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
}


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_SIGNS.get(character, character) for character in visible(" ".join(text.split())))


def latex(table: Table) -> str:
    """A tabular; numbers stand to the right, and sentences are broken into lines."""
    kinds = {"number": "r", "prose": r"p{0.7\linewidth}"}
    sides = "".join(kinds.get(column.kind, "l") for column in table.columns)
    lines = [_line([column.name for column in table.columns]), "\\midrule", *map(_line, table.rows)]
    return "\n".join([f"\\begin{{tabular}}{{{sides}}}", "\\toprule", *lines, "\\bottomrule", "\\end{tabular}"])


def _line(cells: list[str]) -> str:
    return " & ".join(map(escape, cells)) + " \\\\"


def comment(text: str) -> str:
    """A line that LaTeX skips."""
    return f"% {visible(' '.join(text.split()))}"
