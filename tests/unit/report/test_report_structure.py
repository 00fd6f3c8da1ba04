"""The section on structure: what it says and draws of a model that was cut, and that it is absent where none was."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

from report_sample import sample_report, step

from edgeopt.models.structure import Dense, Layer, Structure, survival
from edgeopt.report import structure
from edgeopt.report.html import render_html
from edgeopt.report.markdown import render_markdown
from edgeopt.results.model import Report

DENSE = Dense(3, 4, 16, 256, 64)
CUT = Structure((Layer(0, (0, 2), 128), Layer(2, (), 8)), 64, DENSE)


def report() -> Report:
    macs, whole = CUT.macs(128), DENSE.structure.macs(128)
    shape: dict[str, Any] = {
        **survival(CUT),
        "hidden": 64,
        "dense": dict(vars(DENSE)),
        "weights": CUT.weights,
        "dense_weights": DENSE.structure.weights,
        "macs": macs,
        "dense_macs": whole,
        "macs_tokens": 128,
        "promised_speedup": whole / macs,
    }
    earlier = {**shape, "heads": [4, 4, 4], "head_numbers": [[0, 1, 2, 3]] * 3}
    steps = [
        step("first", "prune.layers", "candidate", 1.0, 1_000_000, structure=earlier, compressed_bytes=900_000),
        step("prune", "prune.fisher", "candidate", 1.0, 500_000, structure=shape, compressed_bytes=450_000, multiple=8),
        step("onnx", "lower.onnx", "candidate", 1.0, 500_000),
    ]
    return sample_report(steps=steps)


def test_the_table_has_the_last_steps_counts() -> None:
    rows = {row[0]: row[1:] for row in structure.table(report()).rows}
    assert rows["layers with heads or neurons"] == ["3", "2", "1.50× fewer"]
    assert rows["heads"] == ["12", "2", "6.00× fewer"]
    assert rows["neurons"] == ["768", "136", "5.65× fewer"]
    # by hand: 3·(4·64² + 2·64·256) = 147,456; 4·64·32 + 2·64·136 = 25,600
    assert rows["weights of the layers"] == ["147,456", "25,600", "5.76× fewer"]
    assert rows["float weights, compressed by zlib"][1:] == ["0.450 MB", "90.0 % of 0.500 MB"]
    assert rows["sizes are rounded to multiples of"][1] == "8"
    measured = rows["speed measured, all steps together: p50, cpu-1-thread, 128 tokens"]
    assert measured[-1] == "2.52× as fast"
    assert "| heads " in render_markdown(report())


def test_the_map_has_a_cell_for_each_head_and_a_bar_for_what_is_left() -> None:
    drawn = structure.picture(report())
    assert drawn is not None
    root = ET.fromstring(str(drawn))
    classes = [e.get("class") for e in root.iter("rect")]
    assert classes.count("track") == 10 + 3  # heads that are gone, and the whole length of each layer's neurons
    assert classes.count("bar candidate") == 2 + 2
    assert "layer 1: 0 of 4 heads, 0 of 256 neurons" in (root.get("aria-label") or "")
    assert "What is left of each layer" in render_html(report())


def test_nothing_is_said_where_nothing_was_cut() -> None:
    plain = sample_report()
    assert structure.picture(plain) is None
    assert structure.table(plain).rows == []
    assert not re.search("Structure|What is left", render_html(plain) + render_markdown(plain))
