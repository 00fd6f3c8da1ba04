"""Text from files made harmless for a terminal and a CI server's log: what would command either is written out.

Names, labels, notes and what a model answers may come from anybody. ESC begins commands to a terminal; marks of writing
direction show a text in another order than it is in; a line that begins with `::`, or has `##[` in it, is a command to
GitHub's runner. `guarded` is around the whole command line, so that nothing has to remember this.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_CONTROL = [*(c for c in range(0x20) if chr(c) not in "\n\t"), *range(0x7F, 0xA0)]
#: Separators of lines and paragraphs, and marks of writing direction (UAX #9).
_INVISIBLE = [0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
_WRITTEN_OUT = {**{c: f"\\x{c:02x}" for c in _CONTROL}, **{c: f"\\u{c:04x}" for c in _INVISIBLE}}
_IN_JSON = {c: f"\\u{c:04x}" for c in [*_CONTROL, *_INVISIBLE] if c >= 0x7F}  # json.dumps writes out the others
#: What the runner skips before a command (.NET's white space), and one that begins there (actions/runner,
#: ActionCommand.cs).
_COMMAND = re.compile(r"(?m)(^[^\S\n]*)(?=::|:\Z)")


def visible(text: str) -> str:
    """The text with its control characters written out, line breaks and tabs left."""
    return text.translate(_WRITTEN_OUT)


def one_line(text: str) -> str:
    """Text made harmless, on one line."""
    return visible(" ".join(text.split("\n")))


def harmless(text: str) -> bool:
    """Whether a text is shown as it is: nothing in it is written out, and no line of it is a command."""
    return visible(text) == text and "##[" not in text and not _COMMAND.search(text)


def visible_json(text: str) -> str:
    """JSON that says the same and commands nothing."""
    return text.translate(_IN_JSON).replace("##[", "##\\u005b")


class Guarded:
    """A text stream that writes control characters out, and no line as a command.

    styled: a view of it for what has dealt with control characters itself, as rich has to for its colors. unguarded:
    the stream itself, for edgeopt's own commands.
    """

    def __init__(self, stream: TextIO) -> None:
        self.unguarded, self.styled = stream, _Styled(self)
        self._before = ""  # what stands on the last line so far, as far as it matters

    def write(self, text: str) -> int:
        self.put(visible(text) if isinstance(text, str) else text)
        return len(text)

    def put(self, text: str) -> int:
        """Write text whose control characters are dealt with."""
        if not isinstance(text, str):  # click asks streams in this way whether they are binary
            raise TypeError("a text is needed")
        if text:
            self.unguarded.write(self._harmless(text))
        return len(text)

    def _harmless(self, text: str) -> str:
        whole = self._before + text
        harmless = _COMMAND.sub(r"\1\\", whole).replace("##[", "##\\[")
        last = whole.rpartition("\n")[2]
        self._before, before = (last if not last.strip() else last[-2:].rjust(3, "x")), self._before
        return harmless[len(before) :]

    def __getattr__(self, name: str) -> Any:
        if name in ("buffer", "detach"):
            raise AttributeError(name)  # nothing goes past this
        return getattr(self.unguarded, name)


class _Styled:
    def __init__(self, guarded: Guarded) -> None:
        self._guarded = guarded

    def write(self, text: str) -> int:
        return self._guarded.put(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guarded, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Within, stdout and stderr write out what would command a terminal or a CI server."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (Guarded(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def styled(stream: TextIO) -> TextIO:
    """The view of a stream that takes colors; the stream itself where it is not guarded."""
    view: TextIO = getattr(stream, "styled", stream)
    return view


def unguarded(stream: TextIO) -> TextIO:
    """The stream that a guarded one writes to."""
    inner: TextIO = getattr(stream, "unguarded", stream)
    return inner
