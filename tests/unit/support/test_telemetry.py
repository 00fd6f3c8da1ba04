"""Nobody is told that edgeopt runs: not by it, not by what it imports, not by the lines that it prints."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
from report_sample import sample_report

from edgeopt.bundle.verify import DEVICE
from edgeopt.export.exporter import exporter, exporter_names
from edgeopt.report.card import render_card
from edgeopt.support.telemetry import OPENVINO_LINES, ORT_LINES, VARIABLES, switch_off

ROOT = Path(__file__).parents[3]
#: Ends the process with 99 where Python asks for the network. Native code does not ask by this way: it is its files
#: that show.
WATCH = """
import os, sys
harmless = ("socket.__new__", "socket.gethostname")
sys.addaudithook(lambda event, args: event.startswith("socket.") and event not in harmless and os._exit(99))
"""
OLD = tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 29)


def watched(code: str, home: Path, **more: str) -> list[str]:
    """Run in a process whose home is empty and in which nothing was set; the files that it leaves there."""
    unset = (*VARIABLES, "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "CI", "HF_HUB_OFFLINE")
    env = {k: v for k, v in os.environ.items() if k not in unset} | {"HOME": str(home), **more}
    done = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-c", WATCH + code],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr[-500:]}"
    return sorted(p.relative_to(home).as_posix() for p in home.rglob("*"))


@pytest.mark.skipif(OLD, reason="collects nothing before 1.29")
def test_the_watching_sees_what_onnxruntime_leaves_by_itself(tmp_path: Path) -> None:
    assert any("onnxruntime" in name for name in watched("import onnxruntime", tmp_path))


@pytest.mark.parametrize("library", ["onnxruntime", "openvino"])
def test_edgeopt_tells_libraries_before_they_are_imported(library: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    assert watched(f"import edgeopt, {library}", tmp_path) == []


def test_run_py_serves_in_silence(tmp_path: Path) -> None:
    assert watched(f"sys.path.insert(0, {str(DEVICE)!r}); import run", tmp_path) == []


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    (tmp_path / "intel").mkdir()
    (tmp_path / "intel" / "openvino_telemetry").write_text("1")
    switch_off()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0" and "openvino_telemetry" not in sys.modules
    (tmp_path / "intel" / "openvino_telemetry").write_text("0")
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    switch_off()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1" and sys.modules["openvino_telemetry"] is None
    monkeypatch.delitem(sys.modules, "openvino_telemetry")


def printed() -> dict[str, str]:
    """Every piece of Python that edgeopt gives away, by where it stands."""
    cards = {
        f"card of a pair: {pair}": render_card(sample_report(), pair=pair, quantized=True) for pair in (True, False)
    }
    texts = {
        **cards,
        **{
            p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8")
            for p in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
        },
    }
    blocks = {
        f"{name} {i}": block
        for name, text in texts.items()
        for i, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    }
    loading = {
        f"{name} {lengths}": exporter(name).loading(lengths) for name in exporter_names() for lengths in (None, [32])
    }
    return {**blocks, **loading, "run.py": (DEVICE / "run.py").read_text(encoding="utf-8")}


@pytest.mark.parametrize(
    ("library", "lines", "least"), [("onnxruntime", ORT_LINES, 6), ("openvino", OPENVINO_LINES, 2)]
)
def test_every_snippet_that_we_print_tells_the_library(library: str, lines: str, least: int) -> None:
    named = {
        name: text
        for name, text in printed().items()
        if re.search(rf"^(?:import|from) {library}\b", text, re.MULTILINE)
    }
    assert len(named) >= least, sorted(named)
    for name, text in named.items():
        assert lines in text.partition(f"import {library}")[0], name
        compile(text, name, "exec")
