"""Completion: what each shell runs, what it is answered, and that a word takes no time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import edgeopt, edgeopt_process

from edgeopt.export.exporter import exporter_names
from edgeopt.recipe.library import target_files

TARGETS = sorted(target_files())


def completed(shell: str, *words: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What edgeopt offers for the last word, as that shell asks for it and is told."""
    line = " ".join(["edgeopt", *words])
    monkeypatch.setenv("_EDGEOPT_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", line if shell == "fish" else line.replace(" ", "\n"))
    monkeypatch.setenv("COMP_CWORD", words[-1] if shell == "fish" else str(len(words)))
    done = edgeopt()
    assert done.code == 0, done.err
    lines = [line for line in done.out.splitlines() if line]
    return lines[1::3] if shell == "zsh" else [line.partition(",")[2].partition("\t")[0] for line in lines]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_offered_the_names_that_edgeopt_knows(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offered(*words: str) -> list[str]:
        return completed(shell, *words, monkeypatch=monkeypatch)

    (tmp_path / "mine.yaml").touch()
    (tmp_path / "rows.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert offered("pre") == ["predict"] and "--batch-size" in offered("predict", "--b")
    assert offered("apply", "m") == ["mine.yaml"] == offered("gate", "run", "--recipe", "m")
    assert offered("explain", "E90") == ["E900"] == offered("explain", "90")
    assert sorted(offered("init", "x.csv", "--target", "")[: len(TARGETS)]) == TARGETS
    assert offered("recipes", "show", "quick") == ["quickstart"]
    assert offered("completion", "f") == ["fish"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_exporters_and_targets_follow_set(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = completed(shell, "apply", "r.yaml", "--set", "export=o", monkeypatch=monkeypatch)
    assert found == [f"export={name}" for name in exporter_names() if name.startswith("o")] and found
    found = completed(shell, "apply", "r.yaml", "--set", "targets=", monkeypatch=monkeypatch)
    assert found == [f"targets={name}" for name in TARGETS]


def test_folders_beside_recipes_are_left_to_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "one.yaml").touch()
    (tmp_path / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path)
    for word, wanted in (("m", ["m"]), ("my/", ["my/one.yaml"]), ("my/o", ["my/one.yaml"]), ("gone/x", [])):
        assert completed("fish", "plan", word, monkeypatch=monkeypatch) == wanted, word


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_ask_edgeopt(shell: str) -> None:
    done = edgeopt("completion", shell)
    assert done.code == 0 and f"_EDGEOPT_COMPLETE={shell}_complete" in done.out and "_edgeopt_completion" in done.out
    assert edgeopt("completion", "tcsh").code == 2


def test_what_cannot_be_answered_is_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in ("bash_complete", "tcsh_complete", "nonsense"):
        monkeypatch.setenv("_EDGEOPT_COMPLETE", asked)  # without the words
        done = edgeopt()
        assert (done.code, done.out, done.err) == (1, "", "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_real_bash_completes(tmp_path: Path) -> None:
    """Where `=` parts words, which the names behind it must not be lost for."""
    program = tmp_path / "edgeopt"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m edgeopt "$@"\n')
    program.chmod(0o755)
    (tmp_path / "mine.yaml").touch()
    script = """
    source <(edgeopt completion bash)
    complete -p edgeopt
    try() {
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        _edgeopt_completion edgeopt
        echo "${COMPREPLY[@]}"
    }
    try edgeopt explain E90
    try edgeopt apply mi
    try edgeopt apply mine.yaml --set export = on
    try edgeopt init x.csv --target = mob
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    first, *offered = done.stdout.splitlines()
    assert first == "complete -o nosort -F _edgeopt_completion edgeopt", done.stderr
    assert offered == ["E900", "mine.yaml", "onnx", "mobile"], done.stderr


def test_a_word_loads_nothing_that_takes_time() -> None:
    """The libraries that checking a recipe takes make a start three times as long."""
    ask = (
        "import sys; from edgeopt.cli import main\n"
        "slow = {'pydantic', 'numpy', 'yaml', 'rich', 'jinja2', 'torch'}\n"
        "try: main()\n"
        "finally: print(*slow & set(sys.modules), file=sys.stderr)"
    )
    for words in ("explain\nE90", "init\nx.csv\n--target\nmob", "recipes\nshow\nquick", "apply\nr\n--set\nexport=on"):
        asked = {"_EDGEOPT_COMPLETE": "zsh_complete", "COMP_WORDS": f"edgeopt\n{words}"}
        done = edgeopt_process(python=("-c", ask), **asked, COMP_CWORD=str(words.count("\n") + 1))
        assert done.code == 0 and done.out and not done.err.strip(), (words, done.err)
