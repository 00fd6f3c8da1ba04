"""Documents of CoNLL-2012 files: a line a word in columns, a blank line behind a sentence.

The last column says where the mentions of which entity begin and end: `(3`, `3)`, `(3)`, several with `|` between, or
`-` (https://conll.cemantix.org/2012/data.html).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeopt.support.errors import InputError, Place, bad_input

#: {words, coref_spans: [[entity, first word, last word]]}, as CoNLL-2012 on the hub has it
Sentence = dict[str, list[Any]]
_MENTION = re.compile(r"(\(?)([0-9]{1,9})(\)?)", re.ASCII)
#: document, part, number, word, entities; the columns between are not read
_LEAST = 5
_WORD = 3


def documents(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, list[Sentence]]]:
    """(line of its #begin, sentences) of each part of each document. Raises InputError E302."""
    begin: int | None = None
    sentences: list[Sentence] = []
    sentence = _Sentence(path)
    for number, raw in lines:
        line = raw.strip()
        if line.startswith("#begin document"):
            if begin is not None:
                raise _bad(
                    path,
                    number,
                    f"the document that begins in line {begin} has not ended",
                    "write #end document before this line",
                )
            begin = number
        elif line.startswith("#end document") or not line:
            if sentence.words:
                sentences.append(sentence.closed())
                sentence = _Sentence(path)
            if line and begin is None:
                raise _bad(
                    path,
                    number,
                    "a document ends here that has not begun",
                    "write #begin document (name); part 000 before it",
                )
            if line:
                assert begin is not None
                yield begin, sentences
                begin, sentences = None, []
        elif not line.startswith("#"):
            if begin is None:
                raise _bad(
                    path, number, "this word is outside a document", "write #begin document (name); part 000 before it"
                )
            sentence.add(line.split(), number)
    if begin is not None:
        raise _bad(
            path,
            begin,
            "the document does not end: #end document is missing",
            "the file may have been cut short: copy it again",
        )


class _Sentence:
    """Words so far, mentions so far, and the open ones: entity → [(first word, line)]."""

    def __init__(self, path: Path) -> None:
        self.path, self.words = path, list[str]()
        self.spans, self.open = list[list[int]](), dict[int, list[tuple[int, int]]]()

    def add(self, columns: list[str], line: int) -> None:
        if len(columns) < _LEAST:
            raise _bad(
                self.path,
                line,
                f"this line has {len(columns)} columns, but needs at least {_LEAST}",
                "CoNLL-2012 has 12 or more, the entities last",
            )
        here = len(self.words)
        self.words.append(columns[_WORD])
        for piece in columns[-1].split("|") if columns[-1] != "-" else ():
            found = _MENTION.fullmatch(piece)
            if found is None or not (found[1] or found[3]):
                raise _bad(
                    self.path,
                    line,
                    f"'{columns[-1][:40]}' in the last column is no mention",
                    "write (3, 3) or (3), with | between several, or -",
                )
            entity = int(found[2])
            if found[1]:
                self.open.setdefault(entity, []).append((here, line))
            if found[3]:
                if not self.open.get(entity):
                    raise _bad(self.path, line, f"a mention of entity {entity} ends that has not begun in its sentence")
                self.spans.append([entity, self.open[entity].pop()[0], here])

    def closed(self) -> Sentence:
        """The sentence, whose mentions are all closed. Raises InputError E302 where one is still open."""
        for entity, begun in self.open.items():
            if begun:
                raise _bad(
                    self.path, begun[-1][1], f"a mention of entity {entity} begins that does not end in its sentence"
                )
        return {"words": self.words, "coref_spans": self.spans}


def _bad(path: Path, line: int, message: str, help: str | None = None) -> InputError:
    return bad_input("E302", message, place=Place.of(path, line), help=help)
