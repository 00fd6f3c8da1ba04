"""What happens at the edges of the command line: pipes, encodings, a store in use, colors."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import edgeopt, edgeopt_process

from edgeopt.run.processes import Group
from edgeopt.store.store import Store
from edgeopt.support.errors import InputError, unforeseen
from edgeopt.support.progress import Bar, RichBar


def test_a_reader_that_goes_away_is_no_verdict() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeopt", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    errors = process.stderr.read()
    assert process.wait(timeout=60) == 141
    assert errors == b""


def test_a_terminal_that_cannot_show_a_character_does_not_fail() -> None:
    done = edgeopt_process("explain", PYTHONIOENCODING="ascii")
    assert done.code == 0


@pytest.mark.skipif(shutil.which("script") is None, reason="needs util-linux's script to make a terminal")
@pytest.mark.parametrize("color", [True, False])
def test_no_color(color: bool) -> None:
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | ({} if color else {"NO_COLOR": "1"})
    command = f"{sys.executable} -m edgeopt explain E999"
    done = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, text=True, env=env)
    assert ("\x1b[31m" in done.stdout) == color


def test_gc_leaves_sound_states_of_a_store_in_use(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    with store.building("a" * 64) as folder:
        (folder / "model.onnx").write_text("x")
        store.commit(folder, key="a" * 64, parts={}, use="load", facts=frozenset(), figures={}, seconds=1.0)
    with store.in_use():
        done = edgeopt("cache", "gc", "--all", "--store", store.root)
        assert "a run is using the store" in done.err
        assert len(store.states()) == 1
    assert edgeopt("cache", "gc", "--all", "--store", store.root).code == 0
    assert store.states() == []


def test_bars_follow_a_total_that_is_known_late() -> None:
    bar = RichBar("train", 1)
    bar.total = 266
    bar.update(3, "loss 1")
    assert bar.progress.tasks[0].total == 266
    plain = Bar("train", 1)
    plain.total = 266
    plain.update(3)
    assert plain.done == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("RANK", "x"), ("WORLD_SIZE", "x"), ("WORLD_SIZE", "-1"), ("WORLD_SIZE", ""), ("RANK", "1"), ("RANK", "9" * 5000)],
)
def test_an_environment_that_no_launcher_made(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="E329"):
        Group()
    assert unforeseen(ValueError("x")).issues[0].code in ("E900", "E401")
