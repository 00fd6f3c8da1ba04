"""Words for people: the one that was meant, and one line of what a library says."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from edgeopt.support.synonyms import meanings


def closest(word: str, choices: Iterable[str]) -> str | None:
    """The choice that a misspelled word, or a word of another tool, most likely meant."""
    known = [c for c in choices if c != word]
    same = [c for c in known if c.casefold() == word.strip().casefold()]
    # lora of adapter.lora, p50 of latency.p50
    parts = [c for c in known if word and word.casefold() in c.casefold().split(".")]
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.8)
    far = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    last = [c for m in meanings(word.rpartition(".")[2]) for c in known if c == m]
    found = [*same, *(m for m in meanings(word) if m in known), *near, *parts, *last, *far]
    return found[0] if found else None


def meant(word: str, choices: Iterable[str], what: str, none: str = "none", most: int = 8) -> str:
    """What a word that is none of the choices most likely means, and which there are.

    most: more choices than that are not listed beside a guess. none: said where there are no choices.
    """
    known = list(dict.fromkeys(choices))
    guess = closest(word, known)
    there = f"{what}: {', '.join(known) or none}"
    if guess is None:
        return there
    return f"did you mean '{guess}'?" + (f" {there}" if len(known) <= most else "")


def first_line(error: BaseException) -> str:
    """An error's text on one line of at most 200 characters; its class where it has none."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


def a(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[:1] in 'aeiouAEIOU' else 'a'} {noun}"


def as_share(key: str, points: float) -> str:
    """What to write for a bound that was given in points of a hundred."""
    said = f"{points:g} point{'' if points == 1 else 's'}"
    return f"metrics are fractions, not percentages: for {said} write `{key}: {points / 100:g}`"


def is_number(text: str) -> bool:
    """Whether Python reads the text as a number; nan is one."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_integer(name: str) -> bool:
    """Whether a name is a whole number, of at most 18 digits."""
    return re.fullmatch(r"-?[0-9]{1,18}", name) is not None
