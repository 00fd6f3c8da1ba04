"""Every error code is explained, every explanation is of a code, and the documents say the same as the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeopt.cli import cli
from edgeopt.cli.explain import command as explain
from edgeopt.support.errors import EdgeoptError, ExitCode
from edgeopt.support.explanations import EXPLANATIONS

ROOT = Path(__file__).parents[3]


def codes_in_sources() -> set[str]:
    """Codes as string literals: what an Issue can carry."""
    files = [p for folder in ("src", "exporters") for p in (ROOT / folder).rglob("*.py") if p.name != "explanations.py"]
    return {code for path in files for code in re.findall(r'"(E[1-49]\d\d)"', path.read_text(encoding="utf-8"))}


REFERENCE = ROOT / "docs" / "reference"


def test_every_code_is_explained_and_every_explanation_is_of_a_code() -> None:
    assert set(EXPLANATIONS) == codes_in_sources()


def test_explanations_are_sorted_and_have_their_form() -> None:
    assert list(EXPLANATIONS) == sorted(EXPLANATIONS)
    for code, text in EXPLANATIONS.items():
        first, blank, rest = text.split("\n", 2)
        assert first.endswith("."), f"{code}: the first line is a sentence of its own"
        assert blank == "", f"{code}: a blank line follows the first"
        assert rest.strip()
        assert all(len(line) <= 110 for line in text.splitlines()), f"{code}: a line is too long for a terminal"


@pytest.mark.parametrize("code", EXPLANATIONS)
def test_explain_prints_each(code: str) -> None:
    result = CliRunner().invoke(cli, ["explain", code.lower()])
    assert result.exit_code == 0
    assert result.stdout.strip() == f"{code}: {EXPLANATIONS[code]}"


def test_explain_lists_all_codes_and_exit_codes() -> None:
    lines = CliRunner().invoke(cli, ["explain"]).stdout.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == list(EXPLANATIONS)
    assert lines[-1].startswith("exit codes: 0 pass, 1 gate failed, ")
    as_json = json.loads(CliRunner().invoke(cli, ["explain", "--json"]).stdout)
    assert as_json["errors"] == EXPLANATIONS
    assert as_json["exit_codes"] == {e.name.lower(): int(e) for e in ExitCode}


def test_explain_takes_the_number_alone() -> None:
    shown = [CliRunner().invoke(explain, [code], catch_exceptions=False).stdout for code in ("314", "e314", "E314")]
    assert len(set(shown)) == 1 and shown[0].startswith("E314: ")


def test_explain_refuses_a_code_that_is_none() -> None:
    with pytest.raises(EdgeoptError, match="E100") as caught:
        CliRunner().invoke(explain, ["E999"], catch_exceptions=False)
    assert caught.value.exit_code == ExitCode.BAD_INPUT


def test_the_documents_have_the_exit_codes() -> None:
    text = (REFERENCE / "exit-codes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+?) \|", text, re.MULTILINE)
    assert {name: int(code) for code, name in rows} == {e.name.lower().replace("_", " "): int(e) for e in ExitCode}


def test_the_documents_have_every_transform() -> None:
    text = (REFERENCE / "transforms.md").read_text(encoding="utf-8").partition("## Families of models")[0]
    named = re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE)
    schema = json.loads(CliRunner().invoke(cli, ["schema"]).stdout)
    assert sorted(named) == [name.removeprefix("step-") for name in sorted(schema["$defs"]) if name.startswith("step-")]
