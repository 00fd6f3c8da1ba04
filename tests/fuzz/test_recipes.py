"""Mutated recipes and --set values: `validate` ends with 0 or with 2 and what is wrong, whatever it is given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import Result, edgeopt

from fuzz.bases import recipes
from fuzz.mutate import ODD, Mutator, assert_sound, numbers

BASES = recipes("model", "data")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("base", BASES, ids=lambda b: b["task"]["type"])
def test_the_recipes_are_sound(base: dict[str, Any]) -> None:
    Path("sound.yaml").write_text(yaml.safe_dump(base, sort_keys=False))
    done = edgeopt("validate", "sound.yaml")
    assert done.code == 0, done.err


def _mutated(mutator: Mutator) -> bytes:
    """A recipe with other keys and values, or with spoiled text."""
    base = mutator.rng.choice(BASES)
    if mutator.rng.random() < 1 / 4:
        return mutator.raw(yaml.safe_dump(base, sort_keys=False).encode())
    return yaml.safe_dump(mutator.tree(base), sort_keys=False, allow_unicode=mutator.rng.random() < 1 / 2).encode(
        "utf-8", "surrogatepass"
    )


@pytest.mark.slow  # 2,000 recipes take minutes
@pytest.mark.parametrize("start", range(0, 10_000, 2_000))
def test_mutated_recipes(start: int, here: Path) -> None:
    def case(number: int) -> Result:
        Path("mutated.yaml").write_bytes(_mutated(Mutator(number)))
        return edgeopt("validate", "mutated.yaml")

    assert_sound(numbers(2_000, start), case)


def _paths(value: Any, at: str = "") -> list[str]:
    """Every key path of a recipe, as --set has it."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [at] if at else []
    for key, inner in entries:
        name = inner.get("id", key) if isinstance(value, list) and isinstance(inner, dict) else key
        found += _paths(inner, f"{at}.{name}" if at else str(name))
    return found


def _setting(mutator: Mutator, base: dict[str, Any]) -> str:
    key = mutator.rng.choice(_paths(base))
    value = mutator.odd() if mutator.rng.random() < 3 / 4 else mutator.tree(mutator.rng.choice(list(base.values())))
    text = f"{key}={value if isinstance(value, str) else json.dumps(value)}"
    if mutator.rng.random() < 1 / 4:
        text = mutator.raw(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogateescape")
    return text.replace("\0", "")  # which no argument can have


@pytest.mark.slow  # 4,000 runs of validate take minutes
def test_settings(here: Path) -> None:
    for i, base in enumerate(BASES):
        Path(f"base-{i}.yaml").write_text(yaml.safe_dump(base, sort_keys=False))

    def case(number: int) -> Result:
        mutator = Mutator(number)
        i = mutator.rng.randrange(len(BASES))
        flags = [
            part for _ in range(mutator.rng.choice((1, 1, 1, 2))) for part in ("--set", _setting(mutator, BASES[i]))
        ]
        return edgeopt("validate", f"base-{i}.yaml", *flags)

    assert_sound(numbers(4_000), case)


def test_odd_values_can_be_given() -> None:
    """What stands in for bytes that are no UTF-8 is among them."""
    assert any(isinstance(value, str) and "\ud800" in value for value in ODD)
