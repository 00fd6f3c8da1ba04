"""The action and the examples of docs/how-to/gate-in-ci.md, run with stand-ins for pip and edgeopt."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeopt.cli.baseline import command as baseline
from edgeopt.cli.gate import command as gate

ROOT = Path(__file__).parents[3]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
PAGE = ROOT / "docs" / "how-to" / "gate-in-ci.md"
EXAMPLES = [
    yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
]
#: Writes down how it was called, an argument a line.
STAND_IN = '#!/bin/sh\nprintf "%s\\n" "$(basename "$0")" "$@" >> "$CALLS"\necho >> "$CALLS"\nexit "${CODE:-0}"\n'


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A folder with a space in its name and stand-ins for programs."""
    folder = tmp_path / "work space"
    (folder / "bin").mkdir(parents=True)
    for name in ("python", "edgeopt"):
        (folder / "bin" / name).write_text(STAND_IN)
        (folder / "bin" / name).chmod(0o755)
    return folder


def run_line(line: str, bench: Path, *arguments: str, **env: str) -> tuple[int, list[list[str]]]:
    """Run as the runner does with `shell: bash`: its exit code, and the calls of the stand-ins."""
    calls = bench / "calls"
    calls.unlink(missing_ok=True)
    path = f"{bench / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", line, "bash", *arguments],
        cwd=bench,
        check=False,
        env={"PATH": path, "CALLS": str(calls), **env},
    )
    return done.returncode, [block.split("\n") for block in calls.read_text().strip("\n").split("\n\n")]


def run_action(bench: Path, code: str = "0", **inputs: str) -> tuple[int, list[list[str]]]:
    """Every step of the action with these inputs: the last exit code, and all calls."""
    values = {f"inputs.{k}": inputs.get(k, v.get("default")) for k, v in ACTION["inputs"].items()} | {
        "github.action_path": str(bench / "the action")
    }
    assert not [k for k, v in ACTION["inputs"].items() if v.get("required") and k not in inputs]
    calls: list[list[str]] = []
    status = 0
    for step in ACTION["runs"]["steps"]:
        # what users give reaches the shell as values, never as its text
        assert step["shell"] == "bash" and "${{" not in step["run"]
        env = {k: re.sub(r"\$\{\{ ([\w.]+) \}\}", lambda m: values[m[1]], v) for k, v in step["env"].items()}
        status, new = run_line(step["run"], bench, **env, CODE=code if "edgeopt gate" in step["run"] else "0")
        calls += new
    return status, calls


def options_of(command: Any) -> set[str]:
    return {name for p in command.params for name in p.opts}


def test_the_action_installs_what_is_light_and_gates(bench: Path) -> None:
    status, calls = run_action(bench, artifact="my model", recipe="a;b.yaml", against="base line.json")
    assert status == 0
    action = str(bench / "the action")
    assert calls == [
        ["python", "-m", "pip", "install", "--quiet", "-r", f"{action}/requirements-gate.txt"],
        ["python", "-m", "pip", "install", "--quiet", "--no-deps", action],
        [
            "edgeopt",
            "gate",
            "my model",
            "--recipe",
            "a;b.yaml",
            "--against",
            "base line.json",
            "--junit",
            "edgeopt-gates.xml",
            "--github",
        ],
    ]
    assert {a for a in calls[2] if a.startswith("--")} <= options_of(gate)
    assert (ROOT / "requirements-gate.txt").is_file()


def test_what_is_not_given_is_left_out(bench: Path) -> None:
    _, calls = run_action(bench, artifact="$(touch run)`touch run`")
    assert calls[2] == ["edgeopt", "gate", "$(touch run)`touch run`", "--junit", "edgeopt-gates.xml", "--github"]
    assert not (bench / "run").exists()


@pytest.mark.parametrize(
    ("code", "inconclusive", "status"), [("1", "pass", 1), ("2", "pass", 2), ("4", "pass", 0), ("4", "fail", 4)]
)
def test_the_exit_code_is_the_verdict(bench: Path, code: str, inconclusive: str, status: int) -> None:
    assert run_action(bench, code, artifact="model", inconclusive=inconclusive)[0] == status


def test_the_example_gives_the_action_inputs_that_it_has() -> None:
    (step,) = [s for e in EXAMPLES if "jobs" in e for s in e["jobs"]["model"]["steps"] if "edgeopt" in s["uses"]]
    assert set(step["with"]) <= set(ACTION["inputs"])


def test_gitlabs_example(bench: Path) -> None:
    (job,) = [e["gate"] for e in EXAMPLES if "gate" in e]
    (bench / "bin/pip").write_text(STAND_IN)
    (bench / "bin/pip").chmod(0o755)
    calls = [call for line in job["script"] for call in run_line(line, bench)[1]]
    assert [c[:2] for c in calls] == [["pip", "install"], ["pip", "install"], ["edgeopt", "gate"]]
    assert {a for a in calls[2] if a.startswith("--")} <= options_of(gate)
    assert calls[2][-1] == job["artifacts"]["reports"]["junit"]


def test_the_hooks_before_a_commit(bench: Path) -> None:
    (hooks,) = [e["repos"][0]["hooks"] for e in EXAMPLES if "repos" in e]
    validate, gated = hooks
    # pre-commit splits `entry` as a shell would and puts the names of the files behind it
    status, calls = run_line(f'{validate["entry"]} "$@"', bench, "recipes/one.yaml", "recipes/two words.yaml")
    assert (status, calls) == (
        0,
        [["edgeopt", "validate", "recipes/one.yaml"], ["edgeopt", "validate", "recipes/two words.yaml"]],
    )
    assert run_line(f'{validate["entry"]} "$@"', bench, "recipes/one.yaml", "recipes/two.yaml", CODE="2") == (
        2,
        [["edgeopt", "validate", "recipes/one.yaml"]],
    )
    assert re.search(validate["files"], "recipes/a/b.yaml") and not re.search(validate["files"], "docs/recipes/b.yaml")
    assert re.search(gated["files"], "models/sentiment/onnx/model.onnx") and re.search(
        gated["files"], "recipes/sentiment.yaml"
    )
    _, ((_, name, *rest),) = run_line(gated["entry"], bench)
    assert name == "gate" and {a for a in rest if a.startswith("--")} <= options_of(gate)


def test_the_commands_of_the_page_have_their_options() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for line in re.findall(r"`edgeopt baseline ([^`]*)`", text):
        assert {a for a in line.split() if a.startswith("--")} <= options_of(baseline)
