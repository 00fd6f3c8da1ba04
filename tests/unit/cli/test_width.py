"""What commands print on a narrow terminal: no word is broken, and no command that one has to copy."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import edgeopt
from report_sample import TARGET, gates, latency, sample_report, speedup
from unit.report.test_compare import write

from edgeopt.cli.drawing import fitted, open_console, show
from edgeopt.cli.output import say
from edgeopt.export.exporter import EXPORTERS, absent, install_command
from edgeopt.report.exports import brief
from edgeopt.report.gate_text import in_terminal, title
from edgeopt.report.junit import junit
from edgeopt.report.suite import suite_of
from edgeopt.report.table import Column, Table, numbers
from edgeopt.results.model import Export, Report


def words(text: str) -> set[str]:
    return set(re.sub("[│┃━┏┓┗┛└┘─┌┐├┤┬┴┼┡┩╇┳┻╷╵]", " ", text).split())


def drawn(table: Table, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    file = io.StringIO()
    show(open_console(file), table, "a title")
    return file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_table_breaks_no_word(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich takes from the widest column first, however long its words are."""
    rows = [["unbreakable-" * 2, "prose " * 30, "-0.0110 to +0.0061"], ["x", "other words", "17.6 MB"]]
    table = Table([Column("Name"), Column("What"), Column("Bounds", "number")], rows)
    found = drawn(table, width, monkeypatch)
    assert {word for row in rows for cell in row for word in cell.split()} <= words(found)
    assert max(map(len, found.splitlines())) <= width
    assert ("│" in found) == (width > 40)  # cells stand below each other where there is no room beside
    assert "-0.0110 to +0.0061" in found


def test_verdicts_and_numbers_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table([Column("", "verdict"), *numbers("Gate", "Value")], [["inconclusive", "a gate " * 9, "1,234.5 MB"]])
    found = drawn(table, 44, monkeypatch)
    assert "inconclusive" in found and "1,234.5 MB" in found


def test_lines_are_wrapped_between_words_and_commands_stay_whole() -> None:
    line = "  help: measure it anew with `edgeopt baseline recipe.yaml --out baseline.json`, which takes a minute"
    found = fitted(line, 60).splitlines()
    assert all(len(each) <= 60 for each in found) and found[0].startswith("  help: ")
    assert any("`edgeopt baseline recipe.yaml --out baseline.json`" in each for each in found)
    assert fitted("/a/very/long/path" * 9, 60) == "/a/very/long/path" * 9
    assert fitted("short", 60) == "short"


def test_only_a_terminal_has_its_lines_wrapped(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    say("one two three four five six")
    assert capsys.readouterr().out == "one two three four five six\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    say("one two three four five six")
    assert capsys.readouterr().out == "one two three four\n  five six\n"


@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_what_to_install_stands_on_a_line_by_itself(width: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeopt.cli import exporters

    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setattr("edgeopt.export.exporter.absent", lambda e: ["it"] if e.name == "onnx" else absent(e))
    assert exporters.command
    shown, onnx = edgeopt("exporters"), EXPORTERS.usable()["onnx"]
    assert f"onnx needs: {install_command(onnx)}" in shown.out.splitlines()


# several exports, and slices


def several() -> Report:
    figures = sample_report().candidate
    made = {"onnx": ("candidate", "model/onnx/model.onnx"), "ort": ("ort", "model-ort/model.ort")}
    exports = [
        Export.model_validate(
            {
                "name": name,
                "format": name,
                "runtime": "onnxruntime",
                "subject": subject,
                "made_of": "graph",
                "lengths": None,
                "figures": figures.model_copy(update={"artifact": artifact}),
                "max_abs_diff": 0.0,
                "verdict": "pass",
            }
        )
        for name, (subject, artifact) in made.items()
    ]
    timed = [latency("candidate", 8.5, 9, None), latency("ort", 7.5, 9, None), latency("baseline", 21, 22, None)]
    sliced = gates()[0].model_copy(update={"slice": "contrast", "reason": "of 2 slices contrast without drops most"})
    return sample_report(exports=exports, latency=timed, speedups=[speedup("baseline", 2.5, 2.4, 2.6)], gates=[sliced])


def test_every_export_has_its_folder_on_the_terminal(tmp_path: Path) -> None:
    rows = brief(several()).rows
    assert [row[:2] for row in rows] == [["ort", "model-ort/"], ["onnx", "model/"]]
    assert rows[0][3:] == ["0.8382", "7.50 ms", "pass"]
    shown = edgeopt("report", write(tmp_path, several(), "run"))
    assert shown.code == 0 and "model-ort/" in shown.out and f"p50, {TARGET}" in shown.out
    assert "Folder" not in edgeopt("report", write(tmp_path, sample_report(), "one")).out


def test_a_gate_on_slices_is_named_so_everywhere(tmp_path: Path) -> None:
    gate = several().gates[0]
    named = "accuracy by contrast max_drop 0.02"
    assert title(gate) == in_terminal(gate, [gate]) == named
    assert f'name="{named}"' in junit([suite_of(several())])
    assert "contrast without drops most" in junit([suite_of(several())])
    assert named in edgeopt("report", write(tmp_path, several(), "run")).out
    worst = gate.model_copy(update={"slice": "worst"})
    assert title(worst) == "accuracy worst slice max_drop 0.02"
