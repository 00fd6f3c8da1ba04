"""Seeded mutations of what edgeopt reads, and what no input may ever cause.

The same number gives the same mutation, so that a finding is reproduced by its number alone.

    from fuzz.mutate import Mutator, assert_sound

    def case(number: int) -> Result:
        mutator = Mutator(number)
        path.write_bytes(mutator.raw(original))
        return edgeopt("validate", path)

    assert_sound(numbers(1000), case, codes={0, 2})

`assert_sound` runs the cases in this process with EDGEOPT_DEBUG set, so that what would become an E900 or a traceback
of the command line is seen as the exception that it is. EDGEOPT_FUZZ_ONLY=17,23 runs these numbers alone.
"""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import traceback
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from helpers import Result

#: Values that programs stumble over, of every kind that JSON and YAML have.
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    3,
    255,
    1000,
    10**6,
    2**31,
    2**32,
    2**63,
    2**64,
    -(2**63),
    10**30,
    10**400,
    0.0,
    -0.0,
    0.5,
    1.0,
    -1.5,
    1e-320,
    1e-12,
    1e308,
    -1e308,
    float("inf"),
    float("-inf"),
    float("nan"),
    "",
    " ",
    "\n",
    "\t",
    "x",
    "0",
    "1",
    "-1",
    "1.0",
    "1e9",
    "null",
    "true",
    "nan",
    "inf",
    "auto",
    "none",
    "text",
    "label",
    "baseline",
    "task",
    "worst",
    ".",
    "..",
    "/",
    "~",
    "~nobody",
    "../..",
    "a/b",
    "a/b/c",
    "/dev/null",
    "/dev/zero",
    "/proc/self/mem",
    "x" * 300,
    "x" * 5000,
    "a\0b",
    "\x80",
    "\u202e",
    "\ufeff",
    "é",
    "日本",
    "😀",
    "\ud800",
    "%s%n",
    "{}",
    "[",
    "'",
    '"',
    "\\",
    "$HOME",
    "*",
    "-",
    "--help",
    "=",
    "a=b",
    "::error::x",
    "\x1b[31m",
    [],
    [[]],
    [None],
    [0],
    [""],
    ["x"],
    ["x", "x"],
    [["x"]],
    [1, 2, 3],
    [{}],
    list(range(300)),
    {},
    {"": None},
    {"x": 1},
    {"id": "x"},
    {"0": "a", "1": "b"},
    {"name": "x"},
    {"path": "x"},
    {"x": {"x": {"x": {}}}},
)
#: Pieces that mean something in text formats.
_PIECES = (
    b"\0",
    b"\xff",
    b"\xfe\xff",
    b"\xef\xbb\xbf",
    b"\x80",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\n",
    b"\r",
    b"\r\n",
    b"\t",
    b" ",
    b'"',
    b"'",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b"[[[[[[[[",
    b"{{{{{{{{",
    b":",
    b": ",
    b",",
    b";",
    b"- ",
    b"#",
    b"&a ",
    b"*a",
    b"!!python/object:os.system ",
    b"!x ",
    b"---\n",
    b"...\n",
    b"<<: ",
    b"? ",
    b"|\n",
    b">\n",
    b"%YAML 1.1\n",
    b"@",
    b"`",
    b"null",
    b"true",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"0x10",
    b"1_0",
    b"99999999999999999999999",
    b"-1",
    b"=",
    b"\x1b[2J",
)


class Mutator:
    """Mutations that one number decides. rng: for choices of the test's own."""

    def __init__(self, number: int) -> None:
        self.rng = random.Random(number)

    def odd(self) -> Any:
        """A value that programs stumble over."""
        return copy.deepcopy(self.rng.choice(ODD))

    def tree(self, value: Any, times: int | None = None) -> Any:
        """A copy of a tree of dicts, lists and scalars with some of its nodes changed.

        times: how many; default: 1 to 3, mostly 1.
        """
        root: list[Any] = [copy.deepcopy(value)]
        for _ in range(self._times(times)):
            self._change(root)
        return root[0]

    def raw(self, data: bytes, times: int | None = None) -> bytes:
        """The bytes with some places changed: bits, pieces cut, doubled, moved or put in, the end cut off."""
        for _ in range(self._times(times)):
            data = self._spoil(data)
        return data

    def json(self, data: bytes, times: int | None = None) -> bytes:
        """JSON with changed nodes; what is no JSON, and one in eight of what is, with changed bytes."""
        try:
            value = json.loads(data)
        except ValueError:
            return self.raw(data, times)
        if self.rng.random() < 1 / 8:
            return self.raw(data, times)
        return json.dumps(self.tree(value, times), ensure_ascii=self.rng.random() < 1 / 2).encode(
            "utf-8", "surrogatepass"
        )

    def file(self, path: Path) -> None:
        """Change a file where it stands: mostly its content, by `json` or by JSON lines, else what it is."""
        if self.rng.random() < 7 / 8:
            data = path.read_bytes()
            path.write_bytes(self.lines(data) if path.suffix == ".jsonl" else self.json(data))
            return
        path.unlink()
        self.rng.choice(
            (
                lambda: None,
                lambda: path.mkdir(),
                lambda: path.symlink_to(path.name),
                lambda: path.touch(),
                lambda: path.symlink_to("/dev/zero"),
            )
        )()

    def folder(self, folder: Path, times: int | None = None) -> None:
        """Change some of a folder's files where they stand."""
        for _ in range(self._times(times)):
            files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
            if files:
                self.file(self.rng.choice(files))

    def _times(self, times: int | None) -> int:
        return times if times is not None else self.rng.choice((1, 1, 1, 1, 2, 3))

    def lines(self, data: bytes) -> bytes:
        """JSON lines with one changed, or changed bytes."""
        lines = data.split(b"\n")
        if self.rng.random() < 1 / 4:
            return self.raw(data)
        at = self.rng.randrange(len(lines))
        lines[at] = self.json(lines[at])
        return b"\n".join(lines)

    def _change(self, root: list[Any]) -> None:
        """One change at one node of the tree that root holds."""
        places = list(_places(root))
        holder, key = self.rng.choice(places)
        value = holder[key]
        kind = self.rng.randrange(10)
        if kind <= 3:
            holder[key] = self.odd()
        elif kind == 4 and holder is not root:
            del holder[key]
        elif kind == 5:
            other, there = self.rng.choice(places)
            holder[key] = copy.deepcopy(other[there])
        elif kind == 6:
            holder[key] = self.rng.choice(
                ([value], [value, copy.deepcopy(value)], {"x": value}, str(value), json.dumps(value, default=str))
            )
        elif kind == 7 and isinstance(holder, dict):
            renamed = self._renamed(key)
            entries = [(renamed if k == key else k, v) for k, v in holder.items()]
            holder.clear()
            holder.update(entries)
        elif kind == 8 and isinstance(value, dict | list):
            self._grow(value)
        elif isinstance(value, bool):
            holder[key] = not value
        elif isinstance(value, int | float):
            holder[key] = self.rng.choice(
                (-value, value + 1, value - 1, value * 1000, value // 3, str(value), repr(value) + ".0")
            )
        elif isinstance(value, str):
            holder[key] = self._word(value)
        else:
            holder[key] = self.odd()

    def _grow(self, value: dict[str, Any] | list[Any]) -> None:
        """An entry more: one that is there again, or an odd one."""
        if isinstance(value, dict):
            value[self.rng.choice(("x", "", "id", "name", "use", "path", "type", "0", *map(str, value)))] = self.odd()
        elif value and self.rng.random() < 1 / 2:
            value.insert(self.rng.randrange(len(value) + 1), copy.deepcopy(self.rng.choice(value)))
        else:
            value.insert(self.rng.randrange(len(value) + 1), self.odd())

    def _renamed(self, key: str) -> str:
        return self.rng.choice((self._word(key), key.upper(), key + "s", key[:-1], str(self.odd())[:40]))

    def _word(self, word: str) -> str:
        """A misspelling, or something put in."""
        at = self.rng.randint(0, len(word))
        return self.rng.choice(
            (
                word[:at] + word[at + 1 :],
                word[:at] + str(self.odd())[:40] + word[at:],
                word[::-1],
                word * 2,
                word.upper(),
                f" {word} ",
            )
        )

    def _spoil(self, data: bytes) -> bytes:
        """One change of the bytes."""
        a, b = sorted(self.rng.randint(0, len(data)) for _ in range(2))
        if self.rng.random() < 3 / 4:  # mostly a small one
            b = min(b, a + self.rng.randint(1, 8))
        kind = self.rng.randrange(8)
        if kind == 0 and a < len(data):
            return data[:a] + bytes([data[a] ^ 1 << self.rng.randrange(8)]) + data[a + 1 :]
        if kind == 1:
            return data[:a] + data[b:]
        if kind == 2:
            return data[:b] + data[a:b] * self.rng.choice((1, 1, 1, 100)) + data[b:]
        if kind == 3:
            return data[:a]
        if kind == 4:
            return data[b:] + data[a:b] + data[:a]
        if kind == 5:
            return data[:a] + self.rng.randbytes(self.rng.randint(1, 16)) + data[b:]
        return data[:a] + self.rng.choice(_PIECES) + data[self.rng.choice((a, b)) :]


def _places(root: list[Any]) -> Iterable[tuple[Any, Any]]:
    """(container, key) of every node."""
    waiting: list[Any] = [root]
    while waiting:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])


def restored(original: Path, folder: Path) -> Path:
    """`folder` as `original` is, whatever was there."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder, symlinks=True)
    return folder


def numbers(count: int, start: int = 0) -> Iterable[int]:
    """The numbers of the cases: from `start`, or those that EDGEOPT_FUZZ_ONLY names."""
    only = os.environ.get("EDGEOPT_FUZZ_ONLY")
    return [int(n) for n in only.split(",") if start <= int(n) < start + count] if only else range(start, start + count)


def assert_sound(
    cases: Iterable[int], case: Callable[[int], Result], *, codes: Collection[int] = (0, 2), most: int = 12
) -> None:
    """Run each case.

    Fails with the numbers, each kind of defect once, where one raised, told of an E900 or a traceback, ended with
    another exit code, or with 2 and no error that says what to do. most: kinds that are looked for before it stops.
    """
    found: dict[str, list[int]] = {}
    shown: dict[str, str] = {}
    for number in cases:
        kind, detail = _defect(number, case, codes)
        if kind:
            found.setdefault(kind, []).append(number)
            shown.setdefault(kind, detail)
            if len(found) >= most:
                break
    assert not found, "\n\n".join(f"{kind}\n  {len(at)} cases: {at[:8]}\n{shown[kind]}" for kind, at in found.items())


def _defect(number: int, case: Callable[[int], Result], codes: Collection[int]) -> tuple[str, str]:
    """What is wrong with a case, by which it counts as one with others, and its details; nothing where it is sound."""
    try:
        with patch.dict(os.environ, {"EDGEOPT_DEBUG": "1"}):
            done = case(number)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = next((f for f in reversed(frames) if "/edgeopt" in f.filename), frames[-1])
        return f"{type(error).__name__} at {Path(ours.filename).name}:{ours.lineno}", "".join(
            traceback.format_exception(error)[-6:]
        )
    said = done.out + done.err
    if "E900" in said or "Traceback" in said:
        return "E900 or a traceback", said[-2000:]
    if done.code not in codes:
        return f"exit code {done.code}", said[-2000:]
    if done.code == 2 and "error[" not in said and '"errors"' not in said and "Usage:" not in said:
        return "exit code 2 without an error", said[-2000:]
    return "", ""
