"""The notebook in docs/: that its cells run, in order, in an empty folder, and say what is written under them."""

from __future__ import annotations

import ast
import io
import json
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "first.ipynb"


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def ran(source: str, space: dict[str, Any]) -> tuple[str, object]:
    """What a cell prints, and the value of its last line where that is an expression."""
    tree, out = ast.parse(source), io.StringIO()
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body[-1] = ast.Assign([ast.Name("_", ast.Store())], last.value)
    space["_"] = None
    with redirect_stdout(out):
        exec(compile(ast.fix_missing_locations(tree), "cell", "exec"), space)
    return out.getvalue(), space["_"]


def test_every_cell_runs_and_says_what_is_written_under_it(tmp_path: Path) -> None:
    space: dict[str, Any] = {}
    with chdir(tmp_path):
        for cell in cells():
            out, value = ran("".join(cell["source"]), space)
            told = "".join("".join(o["text"]) for o in cell["outputs"] if o["output_type"] == "stream")
            shown = ["".join(o["data"]["text/plain"]) for o in cell["outputs"] if o["output_type"] == "execute_result"]
            assert out == told
            if value is not None and not hasattr(value, "folder"):  # of a run the folder is another
                assert [repr(value)] == shown
    assert space["run"].verdict == "pass" and "<script" not in NOTEBOOK.read_text(encoding="utf-8")


def test_what_is_written_was_executed() -> None:
    assert [cell["execution_count"] for cell in cells()] == list(range(1, len(cells()) + 1))
    assert all(o["output_type"] in ("stream", "execute_result") for cell in cells() for o in cell["outputs"])
