"""A tokenizer trained on text by the tokenizers library; the same text gives the same bytes.

WordPiece's trainer there numbers the characters inside words in the order of a hash table, which differs from process
to process, and breaks ties by these numbers. So it is given all characters in an order of ours, as if they were special
tokens, and the tokenizer is made of the vocabulary alone. Its Unigram trainer adds up in such an order, too, where
nothing can be given: it is not offered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Algorithm = Literal["wordpiece", "bpe"]
#: Special tokens in the order of their numbers, by transformers' names of them.
_BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_ROBERTA = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
#: Characters that WordPiece knows at most, as in BERT; a word with another one is unknown.
_CHARACTERS = 1000
#: How often a token must occur.
_LEAST = 2


def trained(
    texts: Callable[[], Iterable[str]], algorithm: Algorithm, vocab: int, *, lowercase: bool, roberta: bool
) -> Tokenizer:
    """A tokenizer of at most `vocab` tokens. texts: gives the text, more than once.

    roberta: whether its special tokens are those of RoBERTa's family, which numbers positions behind the padding token.
    """
    names = _ROBERTA if roberta else _BERT
    make = _wordpiece if algorithm == "wordpiece" else _bpe
    tokenizer = make(texts, vocab, names, lowercase=lowercase)
    tokenizer.post_processor = _around(tokenizer, names, roberta=roberta)
    return tokenizer


def _wordpiece(texts: Callable[[], Iterable[str]], vocab: int, names: dict[str, str], *, lowercase: bool) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token=names["unk"]))
    tokenizer.normalizer = normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts():
        counts.update(normalizer.normalize_str(text))
    often = sorted(counts, key=lambda c: (-counts[c], c))[:_CHARACTERS]
    characters = sorted(c for c in often if not c.isspace())
    first = [*names.values(), *characters, *(f"##{c}" for c in characters)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab,
        min_frequency=_LEAST,
        special_tokens=first,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    made = Tokenizer(models.WordPiece(tokenizer.get_vocab(), unk_token=names["unk"]))
    made.normalizer, made.pre_tokenizer, made.decoder = normalizer, tokenizer.pre_tokenizer, decoders.WordPiece()
    made.add_special_tokens(list(names.values()))
    return made


def _bpe(texts: Callable[[], Iterable[str]], vocab: int, names: dict[str, str], *, lowercase: bool) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    lower = [normalizers.Lowercase(), normalizers.NFD(), normalizers.StripAccents()] if lowercase else []
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), *lower])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        min_frequency=_LEAST,
        special_tokens=list(names.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer


def _around(tokenizer: Tokenizer, names: dict[str, str], *, roberta: bool) -> Any:
    """What puts special tokens around a text, and around two."""
    from tokenizers import processors

    cls, sep = names["cls"], names["sep"]
    pair = f"{cls} $A {sep} {sep} $B {sep}" if roberta else f"{cls} $A {sep} $B:1 {sep}:1"
    numbers = [(token, tokenizer.token_to_id(token)) for token in (cls, sep)]
    return processors.TemplateProcessing(single=f"{cls} $A {sep}", pair=pair, special_tokens=numbers)


def config_of(*, roberta: bool) -> dict[str, Any]:
    """A tokenizer_config.json by which transformers takes the tokenizer as it is."""
    names = _ROBERTA if roberta else _BERT
    return {"tokenizer_class": "PreTrainedTokenizerFast", **{f"{key}_token": token for key, token in names.items()}}
