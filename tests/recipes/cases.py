"""The broken recipes of bad/, each with what it expects, read from its first comment lines.

    # expect: E104 at 7, "did you mean 'epochs'?"           line 7 of this file; texts that the message shows
    # expect: E302 at ../files/rows.jsonl:2                 a line of another file, relative to this one
    # expect: E109 at --set seed, "key.path=value"          a flag
    # set: seed                                             a --set that the command is given
    # mend: epoch: 3 => epochs: 3                           what the message says to write; then the recipe is right

One `expect` for each error, in the order of the output. Nothing else may be reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BAD = Path(__file__).parent / "bad"


@dataclass(frozen=True)
class Expected:
    """One error: its code, its place as the message shows it (None: not said), and words of the message."""

    code: str
    place: str | None
    words: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """A broken recipe, relative to bad/, with its flags and errors."""

    path: Path
    flags: tuple[str, ...]
    errors: tuple[Expected, ...]
    mends: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        return self.path.with_suffix("").as_posix()


def all_cases() -> list[Case]:
    return [_read(path) for path in sorted(BAD.rglob("*.yaml"))]


def _read(path: Path) -> Case:
    errors, flags, mends = [], [], []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, rest = line.partition(": ")
        if key == "# expect":
            errors.append(_expected(rest, path.relative_to(BAD)))
        elif key == "# set":
            flags += ["--set", rest]
        elif key == "# mend":
            wrong, _, right = rest.replace("\\n", "\n").replace("\\t", "\t").partition(" => ")
            mends.append((wrong, right))
    return Case(path.relative_to(BAD), tuple(flags), tuple(errors), tuple(mends))


def _expected(text: str, recipe: Path) -> Expected:
    head, *words = text.split(', "')
    code, _, where = head.partition(" at ")
    return Expected(code, _place(where, recipe) if where else None, tuple(word.removesuffix('"') for word in words))


def _place(where: str, recipe: Path) -> str:
    """A place as the message shows it when the working directory is the one that holds bad/."""
    if where.startswith("--set "):
        return where
    if where[:1].isdigit():
        return f"bad/{recipe.as_posix()}:{where}"
    parts: list[str] = []
    for part in ("bad", *recipe.parent.parts, *Path(where).parts):
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)
