"""edgeopt's errors travel between processes, and nothing that edgeopt calls ends one."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import click
import pytest
from helpers import edgeopt as command

import edgeopt
from edgeopt import cli
from edgeopt.support.errors import EdgeoptError, InputError, Interrupted, Issue, Place, StepError
from edgeopt.support.registry import Unusable
from edgeopt.tasks.columns import NoClass, NoColumn

ISSUES = (Issue("E107", "no such step", Place("recipe.yaml", 3, 4), "mend it", ("a line",)), Issue("E102", "another"))


def sent(error: EdgeoptError) -> Any:
    return pickle.loads(pickle.dumps(error))  # noqa: S301 - what was written here just now


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, sent])
@pytest.mark.parametrize(
    "error",
    [
        *(kind(ISSUES) for kind in (EdgeoptError, InputError, StepError, Interrupted)),
        NoClass(ISSUES),
        NoColumn("text", ["words"], Place("rows.csv")),
        Unusable("it is broken", "mend it", Place("recipe.yaml")),
    ],
    ids=lambda e: type(e).__name__,
)
def test_an_error_can_be_copied_and_pickled(error: EdgeoptError, again: Callable[[Any], Any]) -> None:
    made = again(error)
    assert type(made) is type(error) and made.issues == error.issues and str(made) == str(error)
    assert made.exit_code == error.exit_code and vars(made) == vars(error)


@pytest.mark.parametrize("raised", [SystemExit(0), SystemExit(), GeneratorExit()])
def test_no_command_ends_where_something_below_it_wants_that(
    raised: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def ends() -> None:
        raise raised

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: ends)
    done = command("doctor")
    assert done.code == 3 and "error[E401]: code that edgeopt called tried to end the process" in done.err
    assert type(raised).__name__ in done.err


def test_no_function_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(*_: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr("edgeopt.recipe.expand.load", ends)
    with pytest.raises(edgeopt.StepError, match="SystemExit: 0"):
        edgeopt.load({})


def test_a_problem_that_two_checks_meet_is_told_once() -> None:
    assert InputError([*ISSUES, ISSUES[0]]).issues == ISSUES
