"""An argument of another kind is one error that names it, and Python's own errors stay Python's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import edgeopt
from edgeopt import api
from edgeopt.run.arguments import _KINDS

RECIPE: dict[str, Any] = {"edgeopt": 1}
WRONG: dict[str, Callable[[Any], object]] = {
    "recipe": lambda it: it.load(None),
    "recipe ": lambda it: it.load(3),
    "recipe  ": lambda it: it.validate([RECIPE]),
    "recipe   ": lambda it: it.gate("run", recipe=3),
    "set": lambda it: it.load(RECIPE, set=5),
    "set ": lambda it: it.load(RECIPE, set=["seed=1", 2]),
    "set  ": lambda it: it.load(RECIPE, set={1: 2}),
    "cell": lambda it: it.load(RECIPE, cell=1),
    "folder": lambda it: it.load(RECIPE, folder=1),
    "folder ": lambda it: it.load(RECIPE, folder="/nonexistent"),
    "folder  ": lambda it: it.Run(5),
    "folder   ": lambda it: it.Run(None),
    "store": lambda it: it.plan(RECIPE, store=5),
    "out": lambda it: it.apply(RECIPE, out=5),
    "locked": lambda it: it.apply(RECIPE, locked=5),
    "remeasure": lambda it: it.apply_cells(RECIPE, remeasure="no"),
    "progress": lambda it: it.apply(RECIPE, progress="yes"),
    "path": lambda it: it.gate(5),
    "max_seconds": lambda it: it.gate("run", max_seconds=-1),
    "runs": lambda it: it.compare("run", 5),
    "baseline": lambda it: it.compare("run", baseline="no"),
    "second": lambda it: it.diff("run", None),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_argument_of_another_kind_is_named(name: str) -> None:
    with pytest.raises(edgeopt.InputError) as error:
        WRONG[name](edgeopt)
    (issue,) = error.value.issues
    assert issue.code == "E100" and issue.message.startswith(f"the argument {name.strip()} must be ")


def test_a_text_is_one_value() -> None:
    with pytest.raises(edgeopt.InputError) as error:
        edgeopt.load(RECIPE, set="steps")
    assert [issue.code for issue in error.value.issues].count("E109") == 1


def test_nothing_to_compare_is_said() -> None:
    with pytest.raises(edgeopt.InputError, match="compare needs runs"):
        edgeopt.compare()


def test_what_python_says_of_arguments_stays() -> None:
    for wrong in (lambda: edgeopt.load(), lambda: edgeopt.load(RECIPE, sett={})):  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=r"load\(\) (missing|got)"):
            wrong()


def test_every_argument_has_its_kind() -> None:
    taken = {name for each in api.__all__ if inspect.isfunction(getattr(api, each)) for name in signature_of(each)}
    assert taken <= _KINDS.keys()


def signature_of(name: str) -> list[str]:
    return list(inspect.signature(getattr(api, name)).parameters)
