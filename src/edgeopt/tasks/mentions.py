"""Mentions of a document, and the pairs of them that a model is asked about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from edgeopt.spec.recipe import PairsSpec
from edgeopt.support.errors import InputError, Place, bad_input
from edgeopt.tasks import columns

#: Square brackets are what marks a mention, so the text's own become round; so do the treebank's names of brackets.
_BRACKETS = {"[": "(", "]": ")", "-LRB-": "(", "-RRB-": ")", "-LSB-": "(", "-RSB-": ")", "-LCB-": "{", "-RCB-": "}"}
_HELP = "give each sentence {words: [text, …], coref_spans: [[entity, first word, last word], …]}, words counted from 0"


class Mention(NamedTuple):
    """Where a mention stands (number of the sentence, first word, last word), and its gold entity.

    In the order of text.
    """

    sentence: int
    start: int
    end: int
    entity: int


Sentences = list[tuple[str, ...]]


def read_document(value: object, column: str, place: Place) -> Iterator[tuple[Sentences, list[Mention]]]:
    """Sentences and gold mentions of each part of a document: entities are numbered anew in each.

    Raises InputError E304.
    """
    parts: dict[Any, tuple[Sentences, list[Mention]]] = {}
    if not isinstance(value, (list, tuple)):
        raise _bad(f"column '{column}' is no list of sentences: {columns.short(value)}", place)
    for sentence in value:
        if not isinstance(sentence, Mapping) or not {"words", "coref_spans"} <= set(sentence):
            raise _bad(f"a sentence in column '{column}' lacks words or coref_spans: {columns.short(sentence)}", place)
        words = columns.texts(sentence["words"], "words", place, least=0)
        sentences, mentions = parts.setdefault(sentence.get("part_id"), ([], []))
        mentions += {
            Mention(len(sentences), start, end, entity)
            for entity, start, end in _spans(sentence["coref_spans"], len(words), place)
        }
        sentences.append(tuple(_BRACKETS.get(w, w) for w in words))
    for sentences, mentions in parts.values():
        yield sentences, sorted(mentions)


def _spans(value: object, words: int, place: Place) -> Iterator[tuple[int, int, int]]:
    if not isinstance(value, (list, tuple)):
        raise _bad(f"coref_spans is no list: {columns.short(value)}", place)
    for span in value:
        whole = isinstance(span, (list, tuple)) and len(span) == 3 and all(type(x) is int for x in span)
        if not whole or not 0 <= span[1] <= span[2] < words:
            raise _bad(f"{columns.short(span)} in coref_spans is no mention in a sentence of {words} words", place)
        yield span[0], span[1], span[2]


def marked(words: Sequence[str], mention: Mention, context: int) -> str:
    """The mention between square brackets, with as many words of its sentence on either side."""
    start, end = mention.start, mention.end + 1
    return " ".join([*words[max(0, start - context) : start], "[", *words[start:end], "]", *words[end : end + context]])


def pairs(mentions: Sequence[Mention], spec: PairsSpec) -> Iterator[tuple[int, int]]:
    """(anaphor, antecedent) for each mention and the nearest ones before it, nearest first.

    One that has none in the window is paired with the nearest all the same, so that every mention is in a pair and is
    counted.
    """
    for anaphor in range(1, len(mentions)):
        nearest = range(anaphor - 1, max(-1, anaphor - 1 - spec.max_antecedents), -1)
        near = [a for a in nearest if mentions[anaphor].sentence - mentions[a].sentence <= spec.window]
        for antecedent in near or [anaphor - 1]:
            yield anaphor, antecedent


def _bad(message: str, place: Place) -> InputError:
    return bad_input("E304", message, place=place, help=_HELP)
