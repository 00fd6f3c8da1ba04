"""Whatever a step raises is a failed step, what would end the process too; Ctrl-C stays Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeopt.run.failures import step_errors
from edgeopt.support.errors import InputError, Place, StepError
from edgeopt.support.registry import Unusable

STEP: Any = SimpleNamespace(id="mine", use="x.y", place=Place("recipe.yaml", 3))


class Unknown(BaseException):
    pass


@pytest.mark.parametrize(
    "raised", [SystemExit(0), SystemExit(), GeneratorExit(), StopIteration(), Unknown("so"), ValueError("so")]
)
def test_what_a_step_raises_is_a_failed_step(raised: BaseException, tmp_path: Path) -> None:
    with pytest.raises(StepError) as error, step_errors(STEP, tmp_path):
        raise raised
    assert error.value.issues[0].code == "E401" and error.value.issues[0].place == STEP.place
    assert f"step 'mine' (x.y) failed: {type(raised).__name__}" in error.value.issues[0].message


def test_an_interruption_stays_one(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), step_errors(STEP, tmp_path):
        raise KeyboardInterrupt


def test_an_error_of_any_kind_gets_the_place_of_its_step(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error, step_errors(STEP, tmp_path):
        raise Unusable("it is broken", "mend it")
    assert type(error.value) is Unusable and error.value.issues[0].place == STEP.place
    assert "--> recipe.yaml:3" in str(error.value)
