"""Texts to token ids, with the tokenizers library alone: the same on a device as in training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeopt.models.truncation import check_side
from edgeopt.support.errors import bad_input
from edgeopt.tasks.columns import short

if TYPE_CHECKING:
    from tokenizers import Encoding

#: Inputs of one query: lists of token numbers, or, for a task with choices, a list of such lists.
Ids = dict[str, list[Any]]
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "decoder_input_ids")
#: What of a query is tokens.
_TOKENS = ("input_ids", "decoder_input_ids")
_WHOLE = (
    "save the tokenizer as the model was trained with: with its word for unknown ones and its special tokens; "
    "or mend the row"
)


@dataclass(frozen=True)
class Features:
    """The queries that a model is asked for the rows of a split.

    ids: inputs of each query, without padding. rows: the number of the row that a query belongs to; a row that is read
    in windows has several. words: for an output a word, where each word's first token stands, -1 for a word that was
    cut. targets: tokens that the model is trained towards, where it writes a text. tasks: of each row the number of its
    task, where there are several.
    """

    ids: list[Ids]
    rows: list[int]
    words: list[list[int]] | None = None
    targets: list[list[int]] | None = None
    tasks: list[int] | None = None


class Encoder:
    """Reads `tokenizer.json` of a folder.

    Raises InputError E311 where it is absent or damaged, E321 where it is to cut texts at their beginning.
    """

    def __init__(self, folder: Path, max_length: int, text: str | None = None) -> None:
        """text: what tokenizer.json is to say, of a folder that has it in another form."""
        from tokenizers import Tokenizer

        self.path = folder / "tokenizer.json"
        try:
            self.tokenizer: Tokenizer = (
                Tokenizer.from_file(str(self.path)) if text is None else Tokenizer.from_str(text)
            )
        except Exception as error:  # the library raises bare Exception
            raise bad_input("E311", f"{self.path} is not a tokenizer: {error}") from None
        check_side(folder, self.tokenizer)
        self.max_length = max_length
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length)
        # no pad token: any id will do, the attention mask hides it
        self.pad_id = next((i for t in ("[PAD]", "<pad>") if (i := self.tokenizer.token_to_id(t)) is not None), 0)

    def cut_to(self, max_length: int) -> Encoder:
        """The encoder that cuts texts at another length."""
        if max_length == self.max_length:
            return self
        return Encoder(self.path.parent, max_length, self.tokenizer.to_str())

    def ids(self, texts: Sequence[tuple[str, ...]]) -> list[Ids]:
        """Inputs of each row of one or two texts, cut to the length, without padding."""
        return [_ids(e) for e in self._encoded([t if len(t) > 1 else t[0] for t in texts])]

    def _encoded(self, texts: Sequence[Any], *, words: bool = False) -> list[Encoding]:
        """What the tokenizer makes of each text, pair of texts or list of words.

        Raises InputError E311 where it fails on one, or makes no tokens of it: no model has an answer to none.
        """
        try:
            found = self.tokenizer.encode_batch(texts, is_pretokenized=words)
        except Exception as error:  # the library raises bare Exception
            raise bad_input("E311", f"{self.path} cannot read the rows' texts: {error}", help=_WHOLE) from None
        if (none := next((text for text, made in zip(texts, found, strict=True) if not made.ids), None)) is not None:
            raise bad_input("E311", f"{self.path} makes no tokens of {short(none)}", help=_WHOLE)
        return found

    def windows(self, texts: Sequence[tuple[str, ...]], stride: int) -> Features:
        """Each row as one query or, where it is too long, as several that overlap by `stride` tokens.

        Of a pair the second text is cut into windows and the first stands before each, unless it leaves too little
        room.
        """
        features = Features([], [])
        for row, pair in enumerate(texts):
            for encoding in self._windows(pair, stride):
                features.ids.append(_ids(encoding))
                features.rows.append(row)
        return features

    def _windows(self, texts: tuple[str, ...], stride: int) -> list[Encoding]:
        special = self.tokenizer.num_special_tokens_to_add(len(texts) > 1)
        room = self.max_length - special
        if len(texts) > 1:
            room -= len(self._whole(texts[0]))
        strategy = "only_second" if len(texts) > 1 and room > stride else "longest_first"
        # two texts of which the first fills the window: there is nothing to slide, both are cut
        self.tokenizer.enable_truncation(self.max_length, stride=stride if room > stride else 0, strategy=strategy)
        try:
            (first,) = self._encoded([texts if len(texts) > 1 else texts[0]])
        finally:
            self.tokenizer.enable_truncation(self.max_length)
        return [first, *first.overflowing] if room > stride else [first]

    def _whole(self, text: str) -> list[int]:
        self.tokenizer.no_truncation()
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def words(self, rows: Sequence[tuple[str, ...]]) -> Features:
        """Rows that are lists of words: one query a row, and where each word's first token stands."""
        encoded = self._encoded([list(words) for words in rows], words=True)
        places = []
        for words, encoding in zip(rows, encoded, strict=True):
            first = [-1] * len(words)
            for token, word in reversed(list(enumerate(encoding.word_ids))):
                if word is not None:
                    first[word] = token
            places.append(first)
        return Features([_ids(e) for e in encoded], list(range(len(rows))), places)

    def choices(self, rows: Sequence[tuple[str, ...]]) -> Features:
        """Rows of a question and its choices: one query a row, each choice paired with the question.

        Choices are padded to the row's longest.
        """
        ids = []
        for question, *choices in rows:
            padded = self.pad(self.ids([(question, choice) for choice in choices]))
            ids.append({name: values.tolist() for name, values in padded.items()})
        return Features(ids, list(range(len(rows))))

    def summaries(self, rows: Sequence[tuple[str, ...]], max_length: int) -> Features:
        """Rows of a document and its summary: one query a row, with the summary's tokens from the start token on.

        The model is trained towards the same tokens without the start and with the end. Summaries are cut to
        `max_length`, both special tokens counted.
        """
        _ = self.ends
        ids = self.ids([(document,) for document, _ in rows])
        self.tokenizer.enable_truncation(max_length)
        try:
            encoded = self._encoded([summary for _, summary in rows])
        finally:
            self.tokenizer.enable_truncation(self.max_length)
        for each, summary in zip(ids, encoded, strict=True):
            each["decoder_input_ids"] = summary.ids[:-1]
        return Features(ids, list(range(len(rows))), targets=[summary.ids[1:] for summary in encoded])

    @property
    def ends(self) -> tuple[int, int]:
        """The tokens that a text starts and ends with. Raises InputError E311 where the tokenizer does not put both."""
        ids = self.tokenizer.encode("").ids
        if len(ids) != 2:
            raise bad_input(
                "E311",
                f"the tokenizer puts {len(ids)} special tokens around a text, and a summary needs a start and an end",
            )
        return ids[0], ids[1]

    def pad(self, rows: Sequence[Ids]) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
        """Arrays of shape (rows, longest row) or (rows, choices, longest row), padded on the right."""
        fill = {"input_ids": self.pad_id, "attention_mask": 0, "token_type_ids": 0, "decoder_input_ids": self.pad_id}
        names = [name for name in INPUTS if name in rows[0]]
        width = {name: max(length(r, name) for r in rows) for name in names}
        return {
            name: np.array([_padded(r[name], width[name], fill[name]) for r in rows], dtype=np.int64) for name in names
        }


def first_other(one: Features, other: Features) -> int | None:
    """The first row, by its number, of which two tokenizers make other tokens; None where they make the same of all."""
    nothing: Ids = {}
    both = enumerate(zip_longest(one.ids, other.ids, fillvalue=nothing))
    at = next((i for i, (a, b) in both if any(a.get(name) != b.get(name) for name in _TOKENS)), None)
    return None if at is None else [*one.rows[at:], *other.rows[at:]][0]


def tokens_digest(queries: Sequence[Ids]) -> str:
    """SHA-256 of the tokens of all queries."""
    found = [[query.get(name) for name in _TOKENS] for query in queries]
    return hashlib.sha256(json.dumps(found, separators=(",", ":")).encode()).hexdigest()


def length(ids: Ids, name: str = "input_ids") -> int:
    """How many tokens a query has, or its longest choice where it has choices."""
    values = ids[name]
    return len(values[0]) if isinstance(values[0], list) else len(values)


def _padded(values: list[Any], width: int, fill: int) -> list[Any]:
    if values and isinstance(values[0], list):
        return [_padded(v, width, fill) for v in values]
    return [*values, *[fill] * (width - len(values))]


def _ids(encoding: Encoding) -> Ids:
    return {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask, "token_type_ids": encoding.type_ids}
