"""Every broken recipe is refused with the documented exit code, the right errors at the right lines, and no others."""

from __future__ import annotations

import re
from collections.abc import Callable
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


def as_text(case: Case, done: Result) -> None:
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


def as_json(case: Case, done: Result) -> None:
    assert (done.code, done.err, done.json["exit_code"]) == (2, "", 2)
    assert [e["code"] for e in done.json["errors"]] == [e.code for e in case.errors]
    for error, expected in zip(done.json["errors"], case.errors, strict=True):
        place = error["place"]
        shown = ":".join(str(place[k]) for k in ("source", "line", "column") if place[k] is not None) if place else ""
        assert _without_column(shown, expected.place) == (expected.place or "")


def _without_column(shown: str, expected: str | None) -> str:
    """A recipe need not state the column it expects."""
    return shown.rpartition(":")[0] if expected and shown.startswith(f"{expected}:") else shown


FORMS: dict[str, Callable[[Case], None]] = {
    "text": lambda case: as_text(case, edgeopt(*arguments(case))),
    "json": lambda case: as_json(case, edgeopt(*arguments(case), "--json")),
    "process": lambda case: as_text(case, edgeopt_process(*arguments(case))),
}


@pytest.mark.parametrize(
    ("form", "case"),
    [
        pytest.param(form, case, id=f"{form}-{case.id}")
        for form in FORMS
        for case in CASES
        if form != "process" or case.id in AS_PROCESS
    ],
)
def test_bad_recipe(form: str, case: Case) -> None:
    assert case.errors, "say in a comment what is expected"
    FORMS[form](case)


BY_HAND = [case for case in CASES if case.mends]


@pytest.mark.parametrize("case", BY_HAND, ids=[case.id for case in BY_HAND])
def test_the_mend_works(case: Case) -> None:
    """What the messages of a recipe written by hand say to write makes it a right one."""
    wrong = Path("bad", case.path)
    text = "".join(line for line in wrong.read_text().splitlines(True) if not line.startswith("#"))
    for old, new in case.mends:
        assert old in text
        text = text.replace(old, new, 1)
    mended = wrong.with_suffix(".mended.yaml")
    mended.write_text(text)
    done = edgeopt("validate", mended)
    assert (done.code, done.err) == (0, "")


def test_there_are_enough() -> None:
    assert len(CASES) >= 55 and len(BY_HAND) >= 50
    assert len([c for c in CASES if c.id in AS_PROCESS]) == len(AS_PROCESS)
