"""Every broken recipe is refused with the documented exit code, the right errors at the right lines, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers import Result, edgeopt, edgeopt_process

from recipes.cases import Case, all_cases

CASES = all_cases()
#: One of each kind is also run as a user runs it.
AS_PROCESS = ["yaml/tab", "schema/many-at-once", "order/finetune-after-quantize", "data/bad-json-line"]


@pytest.fixture(autouse=True)
def _in_workspace(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)


def arguments(case: Case) -> list[str]:
    return ["validate", f"bad/{case.path.as_posix()}", *case.flags]


def blocks(err: str) -> list[str]:
    """stderr, cut where each error begins."""
    return [block for block in re.split(r"(?m)^(?=error\[)", err) if block]


def check(case: Case, done: Result) -> None:
    assert done.code == 2, done
    assert done.out == ""
    assert "Traceback" not in done.err
    found = blocks(done.err)
    assert [block[6:10] for block in found] == [e.code for e in case.errors], done.err
    for block, expected in zip(found, case.errors, strict=True):
        places = re.findall(r"(?m)^  --> (.*)$", block)
        assert [_without_column(p, expected.place) for p in places] == ([expected.place] if expected.place else []), (
            block
        )
        assert not [w for w in expected.words if w not in block], block


def _without_column(shown: str, expected: str | None) -> str:
    """A recipe need not state the column it expects."""
    return shown.rpartition(":")[0] if expected and shown.startswith(f"{expected}:") else shown


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_text(case: Case) -> None:
    assert case.errors, "say in a comment what is expected"
    check(case, edgeopt(*arguments(case)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_json(case: Case) -> None:
    done = edgeopt(*arguments(case), "--json")
    assert (done.code, done.err, done.json["exit_code"]) == (2, "", 2)
    assert [e["code"] for e in done.json["errors"]] == [e.code for e in case.errors]
    for error, expected in zip(done.json["errors"], case.errors, strict=True):
        place = error["place"]
        shown = ":".join(str(place[k]) for k in ("source", "line", "column") if place[k] is not None) if place else ""
        assert _without_column(shown, expected.place) == (expected.place or "")


@pytest.mark.parametrize("case", [c for c in CASES if c.id in AS_PROCESS], ids=lambda case: case.id)
def test_process(case: Case) -> None:
    check(case, edgeopt_process(*arguments(case)))


def test_there_are_enough() -> None:
    assert len(CASES) >= 55
    assert len([c for c in CASES if c.id in AS_PROCESS]) == len(AS_PROCESS)
