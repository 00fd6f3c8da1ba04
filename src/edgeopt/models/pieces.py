"""A SentencePiece model whose pieces have the tokenizer's own numbers, as DeBERTa's and ALBERT's have.

transformers makes one of it that knows neither the model's table of characters nor its bytes for what is in no piece;
here both are taken over.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.support.errors import Place, bad_input

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Families whose numbers those are, and whether their texts are lowered and lose their accents where nothing is stated.
PLAIN = {"deberta-v2": False, "albert": True}


def convert(path: Path, family: str, stated: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of a model's file, for one of the families. stated: of tokenizer_config.json.

    Raises InputError E311 where that asks for what is not known here.
    """
    from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    if stated.get("split_by_punct"):
        raise bad_input(
            "E311",
            f"tokenizer_config.json asks for split_by_punct, which is not known of {path.name} here",
            place=Place.of(path),
            help="save it with `tokenizer.save_pretrained(folder)`, which writes tokenizer.json",
        )
    read = SentencePieceProcessor(model_file=str(path))
    proto = sentencepiece_model_pb2.ModelProto.FromString(read.serialized_model_proto())
    count = range(read.get_piece_size())
    pieces = [(read.id_to_piece(i), read.get_score(i)) for i in count]
    tokenizer = Tokenizer(models.Unigram(pieces, read.unk_id(), byte_fallback=any(map(read.is_byte, count))))
    steps: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')] if family == "albert" else []
    if not _keeps_accents(family, stated):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if _lowers(family, stated):
        steps.append(normalizers.Lowercase())
    if proto.normalizer_spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap))
    steps += [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    marks = [_token(stated, *each) for each in (("cls", "[CLS]"), ("sep", "[SEP]"), ("mask", "[MASK]"))]
    tokenizer.add_special_tokens(
        [
            *(read.id_to_piece(i) for i in count if read.is_control(i) or read.is_unknown(i)),
            *(AddedToken(mark, special=True) for mark in marks),
        ]
    )
    start, end = marks[:2]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start}:0 $A:0 {end}:0",
        pair=f"{start}:0 $A:0 {end}:0 $B:1 {end}:1",
        special_tokens=[(mark, tokenizer.token_to_id(mark)) for mark in (start, end)],
    )
    return tokenizer


def again(path: Path, family: str, stated: Mapping[str, Any]) -> Callable[[str], list[int]]:
    """A second reading of the model's file: by sentencepiece itself."""
    from sentencepiece import SentencePieceProcessor

    read = SentencePieceProcessor(model_file=str(path))

    def ids(text: str) -> list[int]:
        text = " ".join(text.split())
        if family == "albert":
            text = text.replace("``", '"').replace("''", '"')
        if not _keeps_accents(family, stated):
            text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
        found: list[int] = read.encode(text.lower() if _lowers(family, stated) else text)
        return found

    return ids


def _lowers(family: str, stated: Mapping[str, Any]) -> bool:
    return bool(stated.get("do_lower_case", PLAIN[family]))


def _keeps_accents(family: str, stated: Mapping[str, Any]) -> bool:
    return bool(stated.get("keep_accents", not PLAIN[family]))


def _token(stated: Mapping[str, Any], name: str, default: str) -> str:
    token = stated.get(f"{name}_token", default)
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else default
