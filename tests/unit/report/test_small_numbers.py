"""What is small or nothing is written so that it tells: no sign at nothing, and digits enough for a small model."""

from __future__ import annotations

import pytest

from edgeopt.gates.timed import _short
from edgeopt.report import format as fmt
from edgeopt.support.words import a


def test_nothing_has_no_minus() -> None:
    assert fmt.metric(-0.00001) == "0.0000" and fmt.points("accuracy", -0.00001) == "+0.00"
    assert fmt.points("mse", -0.00001) == "+0.0000" and fmt.points("mse", -0.00001, sign=False) == "0.0000"


@pytest.mark.parametrize(
    ("value", "shown"), [(0.145679, "0.146"), (0.0437, "0.0437"), (1, "1.00"), (9.87, "9.87"), (267.84, "267.8")]
)
def test_a_small_size_has_three_digits(value: float, shown: str) -> None:
    assert _short(value) == shown


def test_a_noun_has_its_article() -> None:
    assert [a("object"), a("set"), a("Integer")] == ["an object", "a set", "an Integer"]
