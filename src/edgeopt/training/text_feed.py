"""Rows of a corpus as what a training is fed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgeopt.corpus.rows import CorpusRows, Frame, frame_of
from edgeopt.corpus.shards import Shards, shards
from edgeopt.models.source import CONFIG
from edgeopt.models.tokenizer import mask_token, read_tokenizer
from edgeopt.training.feed import Feed
from edgeopt.training.masking import MaskedBatches, Masking, follows_a_word

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from edgeopt.spec.corpus import CorpusSpec
    from edgeopt.step.transform import StepContext

#: Held-out rows that are looked at: enough to tell a loss to some hundredths.
_LOOKED_AT = 256


class Shares(Protocol):
    """What becomes of a token that is guessed."""

    @property
    def mask(self) -> float: ...
    @property
    def random(self) -> float: ...


class OnText(Protocol):
    """The parameters of a training on plain text, as far as its rows depend on them."""

    @property
    def corpus(self) -> CorpusSpec: ...
    @property
    def max_length(self) -> int: ...


@dataclass(frozen=True)
class TextFeed:
    """Rows of a corpus for a training. batches: makes batches of them. held_out: rows that are only looked at.

    address: of the corpus in tokens.
    """

    feed: Feed
    batches: MaskedBatches
    held_out: Sequence[dict[str, Any]]
    address: str

    def with_batches(self, batches: MaskedBatches) -> TextFeed:
        """A feed of these rows, in batches that something else makes."""
        return replace(self, feed=replace(self.feed, collate=batches, follows=(batches,)), batches=batches)


def text_feed(
    folder: Path, params: OnText, share: float, shares: Shares, context: StepContext, *, whole_word: bool = False
) -> TextFeed:
    """The rows of the step's corpus, with a share of their tokens hidden. folder: where tokenizer.json is.

    Raises InputError E311 where the tokenizer has no mask token, and as `shards` does.
    """
    assert context.corpus is not None
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    found = read_tokenizer(folder, str(config.get("model_type")))
    tokenizer = found.tokenizer
    frame = frame_of(tokenizer)
    root = context.corpora or context.work / "corpora"
    made = shards(context.corpus, found.text, frame.behind, root, context.progress)
    parts = {
        part: CorpusRows(made.stream(part), frame, params.max_length, pack=params.corpus.pack)
        for part in ("train", "held")
    }
    train, held = parts["train"], parts["held"]
    masking = Masking(
        share,
        shares.mask,
        shares.random,
        mask_token(found),
        tokenizer.get_vocab_size(),
        special_tokens(tokenizer, frame),
        context.seed,
        follows_a_word(tokenizer) if whole_word else None,
    )
    batches = MaskedBatches(masking, padding(tokenizer))
    told = {**_told(made, train, held), "name": context.corpus.name}

    def figures(epochs: float) -> Mapping[str, Any]:
        return {"train_rows": len(train), "corpus": {**told, "tokens_seen": round(epochs * train.stream.tokens)}}

    feed = Feed(train, train.lengths, batches, figures, follows=(batches,))
    chosen = np.linspace(0, len(held) - 1, min(_LOOKED_AT, len(held))).round().astype(int).tolist()
    return TextFeed(feed, batches, [held[i] for i in chosen], made.folder.name)


def _told(made: Shards, train: CorpusRows, held: CorpusRows) -> dict[str, Any]:
    """What a report says of the text."""
    return {
        "documents": train.stream.documents,
        "tokens": train.stream.tokens,
        "rows": len(train),
        "held_out_documents": held.stream.documents,
        "held_out_tokens": held.stream.tokens,
        "characters": made.characters,
        "bytes": made.bytes,
        "seconds": made.seconds,
        "address": made.folder.name,
    }


def special_tokens(tokenizer: Tokenizer, frame: Frame) -> frozenset[int]:
    """Tokens that stand for no text."""
    added = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    return frozenset(added | {*frame.before, *frame.behind, padding(tokenizer)})


def padding(tokenizer: Tokenizer) -> int:
    """The padding token; where there is none any will do, as the attention mask hides it."""
    return next((n for t in ("[PAD]", "<pad>") if (n := tokenizer.token_to_id(t)) is not None), 0)
