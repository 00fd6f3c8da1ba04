"""What takes long says so before, goes on saying so, and a bound on time bounds the whole."""

from __future__ import annotations

import io
import json
import logging
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from edgeopt.export.exporter import Runnable
from edgeopt.measure import latency_worker
from edgeopt.measure.latency import promise
from edgeopt.spec.recipe import Target
from edgeopt.support import progress
from edgeopt.support.progress import Progress


def test_it_is_said_what_is_done_how_long_it_may_take_and_took(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "REMIND", 0.02)
    monkeypatch.setattr(progress, "TOLD", 0.0)
    with caplog.at_level(logging.INFO, "edgeopt"):
        with Progress(show=False).during("energy of inferences", 30.0):
            time.sleep(0.05)
        with pytest.raises(KeyError), Progress(show=False).during("latency on cpu", 3.0, most=True):
            raise KeyError
        with Progress(show=False).during("npm fetches the libraries"):
            pass
    said = [r.getMessage() for r in caplog.records]
    assert said[0] == "energy of inferences: about 30 s …"
    reminders = [s for s in said if s.endswith("so far")]
    assert 1 <= len(reminders) <= 2 and said[1 + len(reminders)].startswith("  took 0.")
    assert [s for s in said if s.endswith("…")][1:] == ["latency on cpu: up to 3 s …", "npm fetches the libraries …"]


def test_what_is_quick_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "edgeopt"):
        with Progress(show=False).during("the files are checked", after=5):
            pass
        assert not caplog.records
        with Progress(show=False).during("the files are checked", 3, after=0.01):
            time.sleep(0.1)
    assert [r.getMessage() for r in caplog.records] == ["the files are checked: about 3 s …"]


def test_what_shows_a_bar_needs_no_reminder(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(progress, "REMIND", 0.01)
    shown = Progress(show=False)
    with caplog.at_level(logging.INFO, "edgeopt"), shown.during("a step"), shown.bar("rows", 10):
        time.sleep(0.03)
    assert not [r for r in caplog.records if r.getMessage().endswith("so far")]


def test_the_worker_keeps_its_promise(tmp_path: Path) -> None:
    """All that is measured of two files at two lengths takes as long as was said; the rest is the start of a process.

    That is the search for options, arithmetic limit, warm-up, openings and rounds together.
    """
    files = {
        name: Runnable(write_graph(tmp_path / f"{name}.onnx", width))
        for name, width in (("baseline", 600), ("candidate", 300))
    }
    target = Target(name="brief", threads=1, sequence=[8, 16], queries=100_000, max_seconds=0.4)
    what, seconds = promise(target)
    assert (what, seconds) == ("latency on brief at 2 lengths, once torch and the files are loaded", 0.8)
    began = time.monotonic()
    found = run_here(target, files)
    assert time.monotonic() - began < seconds + 1.5  # on a busy machine, and with what a loop ends in
    assert {(m["subject"], m["sequence"]) for m in found} == {(name, n) for name in files for n in (8, 16)} and all(
        m["samples"] for m in found
    )


def write_graph(path: Path, width: int) -> Path:
    """The mean of tokens' vectors, multiplied by matrices."""
    rng = np.random.default_rng(0)
    weights = {
        "table": rng.standard_normal((50, width)),
        **{f"w{i}": rng.standard_normal((width, width)) for i in range(4)},
    }
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["x0"])]
    nodes += [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i in range(4)]
    nodes += [helper.make_node("ReduceMean", ["x4"], ["logits"], axes=[1], keepdims=0)]
    ends = [
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "s"]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", width]),
    ]
    graph = helper.make_graph(
        nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def run_here(target: Target, files: dict[str, Runnable]) -> Any:
    """What the worker answers, without the start of its process; it may not pin this one."""
    task = {
        "target": target.model_dump(mode="json"),
        "graphs": {n: f.as_json() for n, f in files.items()},
        "torch": None,
        "options": {},
        "rows": [{"input_ids": [1, 2, 3, 4]}],
    }
    out = io.StringIO()
    with (
        patch.object(latency_worker, "read_task", lambda: task),
        patch.object(latency_worker, "pin", lambda _: None),
        redirect_stdout(out),
    ):
        latency_worker.main()
    return json.loads(out.getvalue())
