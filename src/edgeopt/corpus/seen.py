"""Rows of a split whose texts are documents of a corpus: a model that was trained on it has read them."""

from __future__ import annotations

from pathlib import Path

from edgeopt.corpus.shards import there
from edgeopt.corpus.tokens import text_hash
from edgeopt.tasks.split import Split


def rows_seen(folder: Path, rows: Split) -> int | None:
    """How many rows have texts that a corpus in tokens has, but for case, spaces and punctuation.

    Each of a row's texts is a document, or all of them together are one. None where the folder is not there any more.
    """
    made = there(folder)
    if made is None:
        return None
    asked = [({text_hash(text) for text in texts}, text_hash("".join(texts))) for texts in rows.texts]
    seen = made.seen({number for each, joined in asked for number in (*each, joined)})
    return sum(each <= seen or joined in seen for each, joined in asked)
