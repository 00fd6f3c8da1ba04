"""What CI servers are told: JUnit by its schema, GitHub's commands by the runner's rules, and what is installed."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
from lxml import etree

from edgeopt.report.github import append_summary, commands, summary
from edgeopt.report.junit import junit
from edgeopt.report.suite import Suite
from edgeopt.results.model import Gate, Verdict

ROOT = Path(__file__).parents[3]
SCHEMA = etree.XMLSchema(etree.parse(ROOT / "tests/junit.xsd"))
NASTY = "a <b> & \"c\" 'd' ]]> 100 %, x:y | `z`\r\nnext\x00\x1b\ud800 ≥ 2×"


def gate(verdict: Verdict, reason: str = "0.83 → 0.82", line: int | None = 12) -> Gate:
    return Gate(
        metric="latency.p50",
        verdict=verdict,
        value=None,
        bound=1.5,
        kind="min_speedup",
        reason=reason,
        confidence=0.95,
        target="cpu-1-thread",
        sequence="task",
        line=line,
        low=None,
        high=None,
    )


def suites() -> list[Suite]:
    return [
        Suite("quick <&> start", [gate("pass", NASTY), gate("fail", NASTY), gate("inconclusive", NASTY), gate("pass")]),
        Suite("none", []),
        Suite("broken", [], f"E401: {NASTY}"),
    ]


def test_junit_is_valid_and_says_what_the_gates_say() -> None:
    root = etree.fromstring(junit(suites()).encode())
    SCHEMA.assertValid(root)
    first, none, broken = root
    assert dict(first.attrib) == {
        "name": "quick <&> start",
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "0",
    }
    assert [c[0].tag for c in first] == ["system-out", "failure", "error", "system-out"]
    shown = first[1][0].get("message")
    assert "a <b> & \"c\" 'd' ]]> 100 %, x:y | `z`" in shown and shown.endswith("next��� ≥ 2×")
    assert first[0].get("name") == "latency.p50 min_speedup 1.5 (cpu-1-thread task rows)"
    assert (len(none), none.get("tests")) == (0, "0")
    assert (broken.get("errors"), broken[0][0].tag) == ("1", "error")


@pytest.mark.parametrize(
    "wrong", ['<testsuite tests="1"/>', '<testsuites><testsuite name="x" tests="1" failures="0"/></testsuites>']
)
def test_the_schema_refuses_what_is_not_junit(wrong: str) -> None:
    assert not SCHEMA.validate(etree.fromstring(wrong))


COMMAND = re.compile(r"^::(?P<level>\w+)(?: (?P<properties>[^:]*(?:%3A[^:]*)*))?::(?P<message>.*)$")


def as_the_runner_reads(line: str) -> tuple[str, dict[str, str], str]:
    """A command as actions/runner reads it, by ActionCommand.TryParseV2.

    Properties are split at commas, then at the first =; escapes are undone last.
    """
    found = COMMAND.match(line)
    assert found and "\n" not in line and "\r" not in line, line

    def undo(text: str, extra: bool) -> str:
        for code, character in [("%3A", ":"), ("%2C", ",")] * extra + [("%0D", "\r"), ("%0A", "\n"), ("%25", "%")]:
            text = text.replace(code, character)
        return text

    pairs = (p.split("=", 1) for p in (found["properties"] or "").split(","))
    return found["level"], {k: undo(v, True) for k, v in pairs}, undo(found["message"], False)


def test_annotations_come_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    recipe = tmp_path / "recipes" / "odd, 100%:1.yaml"
    found = [as_the_runner_reads(line) for line in commands(suites(), recipe)]
    assert [level for level, _, _ in found] == ["error", "warning", "error"]
    _, where, message = found[0]
    assert where == {
        "file": "recipes/odd, 100%:1.yaml",
        "line": "12",
        "title": "fail: quick <&> start: latency.p50 min_speedup 1.5 (cpu-1-thread task rows)",
    }
    assert message == NASTY.replace("\r\n", "\n").replace("\x00", "\\x00").replace("\x1b", "\\x1b")
    assert "line" not in found[2][1]
    (alone,) = commands([Suite("x", [gate("fail", line=None)])], None)
    assert "file" not in as_the_runner_reads(alone)[1]


def test_the_summary_is_appended_and_stays_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    text = summary([Suite("a|b", [gate("fail", NASTY.replace("\ud800", ""))])])
    assert append_summary("one\n\n") is None and append_summary(text) is None
    lines = (tmp_path / "summary.md").read_text(encoding="utf-8").splitlines()
    assert lines[:3] == ["one", "", "## edgeopt: a\\|b: fail"]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines[4:7]] == [4, 4, 4]
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert "is not set" in str(append_summary("two"))


@pytest.mark.parametrize("where", ["no/such/folder/summary.md", "", ".", "pipe", "a\0b"])
def test_a_summary_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(os, "environ", {**os.environ, "GITHUB_STEP_SUMMARY": str(tmp_path / where)})
    assert "cannot be written" in str(append_summary("text"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pipe"]


def test_the_light_requirements_are_pyprojects_without_what_trains() -> None:
    everything = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    light = [
        line for line in (ROOT / "requirements-gate.txt").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert set(light) < set(everything)
    left_out = {re.split("[<>=]", name)[0] for name in set(everything) - set(light)}
    assert left_out == {"torch", "transformers", "peft", "accelerate", "datasets", "safetensors", "scipy", "pyarrow"}


def test_a_warning_beside_the_verdict_reaches_every_form() -> None:
    """Rows of the report split that stand in train: nobody who reads the CI server alone may miss it."""
    said = "12 of 200 validation rows are also in train"
    suites = [Suite("x", [gate("pass")], warnings=(said,)), Suite("none", [], warnings=(said,))]
    assert [suite.findtext("system-out") for suite in etree.fromstring(junit(suites).encode())] == [
        f"WARNING: {said}"
    ] * 2
    assert summary(suites).count(f"**Warning:** {said}") == 2 and "with a warning" in summary(suites)
    assert sum(line.startswith("::warning") and said in line for line in commands(suites, None)) == 2
