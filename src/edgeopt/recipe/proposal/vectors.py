"""Rows whose texts are embedded, or put in order for a query: their columns, and which task they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from edgeopt.data.files import read_rows
from edgeopt.recipe.proposal import columns
from edgeopt.recipe.proposal.files import Table, relative
from edgeopt.support.errors import Place, bad_input

#: What columns are called that hold a query, a passage that answers it, and one that does not, the surest first.
_QUERIES = ("query", "question", "anchor", "claim")
_PASSAGES = ("passage", "positive", "document", "context", "answer", "text", "body")
_NEGATIVES = ("negative", "hard_negative")
#: What columns are called that hold ids: of the passages relevant to a query, of a passage, and of a query.
_RELEVANT = ("relevant", "relevant_ids", "positives", "positive_ids", "passage_id", "passage_ids", "doc_id", "doc_ids")
_IDS = ("id", "_id", "pid", "passage_id", "doc_id", "docid")
_GROUPS = ("query_id", "qid", "question_id", "group")
_RELEVANCE = ("relevance", "relevant", "label", "score", "grade", "target")
#: Rows of a query, on average, from which on they are its passages, to be put in order.
_SEVERAL = 1.5


@dataclass(frozen=True)
class Found:
    """The columns of rows. why: what told what they are, where it was not the label."""

    text: tuple[str, ...]
    label: str | None
    why: str = ""
    corpus: str | Mapping[str, Any] | None = None
    group: str | None = None


def usual_pairs() -> Table:
    """Pairs with a similarity, from the hub, for somebody who has no rows."""
    rows = {"path": "nyu-mll/glue", "name": "stsb"}
    return Table(rows, (), True, False, Place(rows["path"]))


def embedded(table: Table, text: Sequence[str], label: str | None, folder: Path) -> Found:
    """What texts to embed, and how they are measured. text, label: as somebody named them; folder: the recipe's.

    Raises InputError E303 where no column looks like texts, or like the ids of passages in a file beside.
    """
    if not table.rows:
        return Found(("sentence1", "sentence2"), "label", "the model embeds texts; these are pairs with a similarity")
    if table.passages and not label and len(text) < 2:
        return _in_a_corpus(table, table.passages, text, folder)
    text = tuple(text) or _texts(table)
    if not text:
        raise _no_column(table, "texts", "name it: --text COLUMN")
    if not label and _searches(table, text):
        told = f"each '{text[0]}' is searched for among all of '{text[1]}'"
        return Found(text, None, told, "rows")
    label = label or (_score(table, text) if len(text) == 2 else None)
    told = f"'{label}' is how similar two texts are" if label else "nothing says which texts are alike"
    return Found(text, label, told)


def ordered(table: Table, text: Sequence[str], label: str | None) -> Found | None:
    """Queries with passages and a relevance of each; None where the rows do not look like it."""
    pair = tuple(text) or _pair(table)
    label = label or columns.first(_RELEVANCE, [n for n in _numbers(table) if n not in pair])
    if len(pair) != 2 or label is None:
        return None
    group = columns.first(_GROUPS, [n for n in table.columns if n not in (*pair, label)])
    return Found(pair, label, f"'{label}' says how relevant a passage is to its query", None, group)


def is_ordered(table: Table, text: Sequence[str], label: str | None) -> bool:
    """Whether rows look like the passages of queries: a query has several, each with a relevance."""
    found = ordered(table, text, label)
    return found is not None and _is_search(found.text) and _rows_a_value(table, found.group or found.text[0])


def is_embedded(table: Table, text: Sequence[str], label: str | None) -> bool:
    """Whether rows are for an embedding model that somebody has, and not to train a classifier on it."""
    if not table.rows or (table.passages and columns.first(_RELEVANT, table.columns)):
        return True
    texts = tuple(text) or _texts(table)
    if len(texts) > 1 and not label and _searches(table, texts):
        return True
    label = label or columns.guess_label(table, texts, ())
    scores = label is not None and columns.task_by_label(table, texts, label, ())[0] == columns.task_for("scores")
    return label is None or (len(texts) == 2 and scores)


def _in_a_corpus(table: Table, passages: Path, text: Sequence[str], folder: Path) -> Found:
    """Queries whose relevant passages are named by ids of a file."""
    query = tuple(text) or tuple(filter(None, [columns.first(_QUERIES, table.columns)])) or _texts(table)[:1]
    ids = columns.first(_RELEVANT, table.columns)
    if not query or ids is None:
        what = "queries" if not query else f"ids of passages in {passages.name}"
        raise _no_column(table, what, "call them 'query' and 'relevant'")
    rows = [cells for _, cells in islice(read_rows(passages), 100)]
    there = list(dict.fromkeys(str(name) for row in rows for name in row))
    key, body = columns.first(_IDS, there), columns.first(("text", *_PASSAGES, "content", "contents"), there)
    if key is None or body is None:
        what = f"no column of the passages looks like {'ids' if key is None else 'texts'}"
        raise bad_input("E303", what, place=Place.of(passages), help="call them 'id' and 'text'")
    named = {"id": key, "text": body, "relevant": ids}
    corpus = {"data_files": relative(passages, folder), **{k: v for k, v in named.items() if k != v}}
    return Found(query[:1], None, f"'{ids}' names passages of {passages.name}", corpus)


def _no_column(table: Table, what: str, how: str) -> Exception:
    shown = ", ".join(table.columns[:40])
    return bad_input("E303", f"no column looks like {what}", place=table.place, help=f"{how}; columns: {shown}")


def _texts(table: Table) -> tuple[str, ...]:
    """The columns of a pair, or of a text."""
    return _pair(table) or columns.guess_text(table, None)


def _pair(table: Table) -> tuple[str, ...]:
    """The columns of a query, of a passage and, if there is one, of a passage that is not relevant."""
    texts = [n for n in table.columns if columns.kind_of(columns.values(table, n)) == "text"]
    two = columns.first(_QUERIES, texts), columns.first(_PASSAGES, texts)
    return tuple(filter(None, (*two, columns.first(_NEGATIVES, texts)))) if all(two) else ()


def _is_search(text: Sequence[str]) -> bool:
    return text[0].casefold() in _QUERIES and text[1].casefold() in _PASSAGES


def _searches(table: Table, text: Sequence[str]) -> bool:
    """Whether the names say query and passage, and a query has one passage, or a third column has wrong ones."""
    return len(text) > 1 and _is_search(text) and not _rows_a_value(table, text[0])


def _rows_a_value(table: Table, column: str) -> bool:
    """Whether a value of the column has several rows."""
    found = columns.values(table, column)
    return len(found) >= _SEVERAL * max(len(columns.distinct(found)), 1)


def _score(table: Table, text: Sequence[str]) -> str | None:
    """The column with the similarity of two texts: numbers, by its name."""
    return columns.first((*columns.LABELS, *_RELEVANCE), [n for n in _numbers(table) if n not in text])


def _numbers(table: Table) -> list[str]:
    return [n for n in table.columns if columns.kind_of(columns.values(table, n)) == "number"]
