"""Makes the tokenizer, as tokenizer.json would have it, of a folder that has it in older files alone.

Those are vocab.txt, or vocab.json with merges.txt, or a SentencePiece model. What comes out is compared, on the rows
that it will read, with another implementation of the same files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.models import pieces
from edgeopt.support import host
from edgeopt.support.errors import InputError, Place, bad_input
from edgeopt.support.installation import install

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WORDS, BPE, MERGES = "vocab.txt", "vocab.json", "merges.txt"
SENTENCEPIECE = ("sentencepiece.bpe.model", "spiece.model", "spm.model")
#: Ids of a text without special tokens.
Reference = Callable[[str], list[int]]
_ELSEWHERE = (
    "save it with the transformers that the model was trained with: "
    "`tokenizer.save_pretrained(folder)` writes tokenizer.json"
)
_DAMAGED = "copy the file again, or save the tokenizer with `tokenizer.save_pretrained(folder)`"


def convert(folder: Path, model_type: str, stated: Mapping[str, Any]) -> tuple[str, Tokenizer]:
    """The name of the older file that a folder has its tokenizer in, and the tokenizer made from it.

    stated: what tokenizer_config.json and special_tokens_map.json say. Raises InputError E311 where there is no such
    file or it is damaged, E206 where the package is absent that reads it.
    """
    try:
        if (folder / WORDS).is_file():
            return WORDS, _word_pieces(folder, model_type, stated)
        if (folder / BPE).is_file() and (folder / MERGES).is_file():
            return BPE, _byte_pairs(folder, stated)
        name = next((n for n in SENTENCEPIECE if (folder / n).is_file()), None)
        if name is not None:
            return name, _sentence_pieces(folder, name, model_type, stated)
    except InputError:
        raise
    except Exception as error:  # tokenizers and transformers raise bare Exception
        raise bad_input(
            "E311",
            f"the tokenizer's files cannot be read: {' '.join(str(error).split())[:200]}",
            place=Place.of(folder),
            help=_DAMAGED,
        ) from None
    raise bad_input(
        "E311", f"model folder {folder} has no tokenizer", help="save it there with `tokenizer.save_pretrained(folder)`"
    )


def check_conversion(
    folder: Path, slow: str, tokenizer: Tokenizer, stated: Mapping[str, Any], rows: Iterable[tuple[str, ...]]
) -> None:
    """Compare, on every text of the rows, the converted tokenizer with a second reading of the files it was made from.

    slow: the name of the older file. Raises InputError E320 with the first row to which the two give other ids.
    """
    reference = {WORDS: _words_again, BPE: _pairs_again}.get(slow, _pieces_again)(folder, stated)
    for number, row in enumerate(rows, 1):
        for text in row:
            made, other = tokenizer.encode(text, add_special_tokens=False).ids, reference(text)
            if made != other:
                what = f"the tokenizer converted from {slow} reads a row differently than {slow} itself"
                raise _differ(what, folder / slow, number, text, ("converted", made), (slow, other), _ELSEWHERE)


def undecided(
    folder: Path, tokenizer: Tokenizer, stated: Mapping[str, Any], rows: Iterable[tuple[str, ...]]
) -> InputError | None:
    """An error E320 where a vocabulary has words with capitals, and whether texts are lowered is not stated.

    transformers then lowers them, and the vocabulary says that the model saw capitals. None where no row's ids differ
    by that.
    """
    if not (folder / WORDS).is_file() or isinstance(stated.get("do_lower_case"), bool):
        return None
    marks = {t.content for t in tokenizer.get_added_tokens_decoder().values()}
    if not any(
        word != word.lower() and word not in marks and not re.fullmatch(r"\[.*\]|<.*>", word)
        for word in tokenizer.get_vocab(with_added_tokens=False)
    ):
        return None
    from tokenizers import Tokenizer

    cased = json.loads(tokenizer.to_str())
    cased["normalizer"] |= {"lowercase": False}
    return first_difference(
        f"{WORDS} has words with capitals, but nothing says whether texts are lowercased",
        folder / WORDS,
        ("lowered", tokenizer),
        ("as they are", Tokenizer.from_str(json.dumps(cased))),
        rows,
        'write {"do_lower_case": false} (or true) into tokenizer_config.json, as the model was trained',
    )


def first_difference(
    what: str,
    path: Path,
    one: tuple[str, Tokenizer],
    other: tuple[str, Tokenizer],
    rows: Iterable[tuple[str, ...]],
    help: str,
) -> InputError | None:
    """An error E320 with the first row to which two tokenizers, each with a name, give other ids."""
    for number, row in enumerate(rows, 1):
        for text in row:
            a, b = one[1].encode(text).ids, other[1].encode(text).ids
            if a != b:
                return _differ(what, path, number, text, (one[0], a), (other[0], b), help)
    return None


def _differ(
    what: str, path: Path, number: int, text: str, one: tuple[str, list[int]], other: tuple[str, list[int]], help: str
) -> InputError:
    at = next(
        (i for i, (a, b) in enumerate(zip(one[1], other[1], strict=False)) if a != b), min(len(one[1]), len(other[1]))
    )

    def around(ids: list[int]) -> str:
        return ("… " if at > 2 else "") + " ".join(map(str, ids[max(at - 2, 0) : at + 4]))

    error = bad_input("E320", f"{what}; row {number} comes out with other ids", place=Place.of(path), help=help)
    issue = error.issues[0]
    shown = text if len(text) <= 100 else text[:99] + "…"
    lines = (shown.replace("\n", " "), f"{one[0]}: {around(one[1])}", f"{other[0]}: {around(other[1])}")
    return InputError(type(issue)(issue.code, issue.message, issue.place, issue.help, lines))


# word pieces: BERT, ELECTRA, DistilBERT, MPNet


def _word_pieces(folder: Path, model_type: str, stated: Mapping[str, Any]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    words, mpnet = _vocabulary(folder), model_type == "mpnet"
    start, end = (
        _named(stated, "cls_token", "<s>" if mpnet else "[CLS]"),
        _named(stated, "sep_token", "</s>" if mpnet else "[SEP]"),
    )
    unknown, pad, mask = (
        _named(stated, f"{n}_token", d)
        for n, d in (
            ("unk", "[UNK]"),
            ("pad", "<pad>" if mpnet else "[PAD]"),
            ("mask", "<mask>" if mpnet else "[MASK]"),
        )
    )
    lacking = next((t for t in (start, end, unknown) if t not in words), None)
    if lacking is not None:
        raise bad_input(
            "E311",
            f"{WORDS} has no {lacking}",
            place=Place.of(folder / WORDS),
            help="name the special tokens in tokenizer_config.json",
        )
    tokenizer = Tokenizer(models.WordPiece(words, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=stated.get("tokenize_chinese_chars") is not False,
        strip_accents=_flag(stated, "strip_accents", None),
        lowercase=bool(_flag(stated, "do_lower_case", True)),
    )
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(prefix="##")
    _add(tokenizer, folder, stated, [start, end, unknown, pad, mask])
    one, two = (end, words[end]), (start, words[start])
    tokenizer.post_processor = processors.RobertaProcessing(one, two) if mpnet else processors.BertProcessing(one, two)
    return tokenizer


def _words_again(folder: Path, stated: Mapping[str, Any]) -> Reference:
    """The second reading of a vocab.txt: by transformers' own tokenizer of BERT's in Python."""
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    words = _vocabulary(folder)
    names = {
        f"{n}_token": t
        for n, options in (
            ("unk", ["[UNK]"]),
            ("sep", ["[SEP]", "</s>"]),
            ("cls", ["[CLS]", "<s>"]),
            ("pad", ["[PAD]", "<pad>"]),
            ("mask", ["[MASK]", "<mask>"]),
        )
        if (t := _named(stated, f"{n}_token", next((o for o in options if o in words), ""))) in words
    }
    slow = BertTokenizerLegacy(
        str(folder / WORDS),
        do_lower_case=_flag(stated, "do_lower_case", True),
        strip_accents=_flag(stated, "strip_accents", None),
        tokenize_chinese_chars=stated.get("tokenize_chinese_chars") is not False,
        **names,
    )
    slow.add_tokens([t for t, n in _added(folder, stated) if n >= len(words)])
    return lambda text: [int(i) for i in slow.encode(text, add_special_tokens=False)]


def _vocabulary(folder: Path) -> dict[str, int]:
    # not splitlines, which knows more line ends than a vocabulary does
    with (folder / WORDS).open(encoding="utf-8") as lines:
        return {line.rstrip("\n"): i for i, line in enumerate(lines)}


# pairs of bytes: RoBERTa


def _byte_pairs(folder: Path, stated: Mapping[str, Any]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    tokenizer = Tokenizer(
        models.BPE.from_file(
            str(folder / BPE), str(folder / MERGES), continuing_subword_prefix="", end_of_word_suffix=""
        )
    )
    spaced = stated.get("add_prefix_space") is True
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=spaced), decoders.ByteLevel()
    start, end = _named(stated, "cls_token", "<s>"), _named(stated, "sep_token", "</s>")
    numbers: dict[str, Any] = {t: tokenizer.token_to_id(t) for t in (start, end)}
    lacking = next((t for t, n in numbers.items() if n is None), None)
    if lacking is not None:
        raise bad_input(
            "E311",
            f"{BPE} has no {lacking}",
            place=Place.of(folder / BPE),
            help="name the special tokens in tokenizer_config.json",
        )
    _add(
        tokenizer,
        folder,
        stated,
        [start, end, *(_named(stated, f"{n}_token", f"<{n}>") for n in ("unk", "pad", "mask"))],
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, numbers[end]), (start, numbers[start]), trim_offsets=True, add_prefix_space=spaced
    )
    return tokenizer


def _pairs_again(folder: Path, stated: Mapping[str, Any]) -> Reference:
    """The second reading of vocab.json and merges.txt, as GPT-2's own code reads them.

    Pieces are found by its pattern, bytes stand as printable characters, and merges are done in their order.
    """
    import regex

    words = json.loads((folder / BPE).read_text(encoding="utf-8"))
    lines = (folder / MERGES).read_text(encoding="utf-8").split("\n")
    ranks = {
        tuple(line.split()): i
        for i, line in enumerate(line for line in lines if line and not line.startswith("#version"))
    }
    pieces = regex.compile(r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in printable} | {
        b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in printable)
    }
    marks = sorted(
        {t for t, _ in _added(folder, stated)} | {_named(stated, f"{n}_token", d) for n, d in _PAIR_MARKS.items()},
        key=len,
        reverse=True,
    )
    split = regex.compile("(" + "|".join(regex.escape(m) for m in marks if m) + ")")
    extra = dict(_added(folder, stated))
    unknown = words.get(_named(stated, "unk_token", "<unk>"))

    @lru_cache(maxsize=100_000)
    def merged(piece: str) -> tuple[str, ...]:
        parts = [letters[b] for b in piece.encode()]
        while len(parts) > 1:
            pair = min(pairwise(parts), key=lambda p: ranks.get(p, len(ranks)))
            if pair not in ranks:
                break
            out, i = [], 0
            while i < len(parts):
                both = tuple(parts[i : i + 2]) == pair
                out.append("".join(pair) if both else parts[i])
                i += 2 if both else 1
            parts = out
        return tuple(parts)

    def ids(text: str) -> list[int]:
        found: list[int] = []
        for part in split.split(text):
            if part in marks:
                found.append(extra.get(part, words.get(part)))
            elif part:
                spaced = " " + part if stated.get("add_prefix_space") is True and not part[0].isspace() else part
                tokens = [t for piece in pieces.findall(spaced) for t in merged(piece)]
                found += [n for t in tokens if (n := words.get(t, unknown)) is not None]
        return found

    return ids


_PAIR_MARKS = {"cls": "<s>", "sep": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}


# SentencePiece: XLM-RoBERTa, CamemBERT; DeBERTa and ALBERT


def _sentence_pieces(folder: Path, name: str, model_type: str, stated: Mapping[str, Any]) -> Tokenizer:
    if host.installed("sentencepiece") is None:
        raise bad_input(
            "E206",
            f"the tokenizer only exists as {name}, and sentencepiece, which can read it, is not installed here",
            place=Place.of(folder / name),
            help=f"{install('sentencepiece')}; or call `tokenizer.save_pretrained(folder)` on a machine that "
            f"has sentencepiece: it writes tokenizer.json, which needs none",
        )
    from edgeopt.support.quiet import quiet_libraries

    quiet_libraries()
    import sentencepiece
    import transformers

    if model_type in pieces.PLAIN:
        tokenizer = pieces.convert(folder / name, model_type, stated)
        _add(tokenizer, folder, stated, [])
        return tokenizer
    # raises for a damaged file, which transformers then takes for tiktoken's
    sentencepiece.SentencePieceProcessor(model_file=str(folder / name))
    made = transformers.CamembertTokenizer if model_type == "camembert" else transformers.XLMRobertaTokenizer
    found: Tokenizer = made.from_pretrained(folder, local_files_only=True).backend_tokenizer
    return found


def _pieces_again(folder: Path, stated: Mapping[str, Any]) -> Reference:
    """The second reading of a SentencePiece model: by sentencepiece itself, with fairseq's numbers where it has those.

    XLM-RoBERTa's are one more than the pieces', CamemBERT's four.
    """
    import sentencepiece

    name = next(n for n in SENTENCEPIECE if (folder / n).is_file())
    family = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if family in pieces.PLAIN:
        return pieces.again(folder / name, family, stated)
    read = sentencepiece.SentencePieceProcessor(model_file=str(folder / name))
    camembert = family == "camembert"
    # pieces below `low` are special in the model, and unknown is number 3 in both
    more, low = (4, 1) if camembert else (1, 3)

    def ids(text: str) -> list[int]:
        # HF splits at whitespace first, which SentencePiece's own normalizer does as well
        return [3 if i == read.unk_id() else i + more if i >= low else {1: 0, 2: 2}[i] for i in read.encode(text)]

    return ids


# what all have


def _named(stated: Mapping[str, Any], key: str, default: str) -> str:
    token = stated.get(key)
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) else default


def _flag(stated: Mapping[str, Any], key: str, default: bool | None) -> bool | None:
    value = stated.get(key, default)
    return value if value in (True, False, None) else default


def _added(folder: Path, stated: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Tokens that were added to the vocabulary, with their numbers in their order."""
    found: dict[str, int] = {}
    listed = stated.get("added_tokens_decoder")
    for number, token in (listed if isinstance(listed, dict) else {}).items():
        content = token.get("content") if isinstance(token, dict) else token
        if isinstance(content, str) and str(number).isdecimal():
            found[content] = int(number)
    path = folder / "added_tokens.json"
    if path.is_file():
        found |= {str(t): int(n) for t, n in json.loads(path.read_text(encoding="utf-8")).items()}
    return sorted(found.items(), key=lambda pair: pair[1])


def _add(tokenizer: Tokenizer, folder: Path, stated: Mapping[str, Any], special: list[str]) -> None:
    from tokenizers import AddedToken

    tokenizer.add_special_tokens([t for t in dict.fromkeys(special) if tokenizer.token_to_id(t) is not None])
    for token, number in _added(folder, stated):
        if token not in special and number >= tokenizer.get_vocab_size(with_added_tokens=False):
            tokenizer.add_tokens([AddedToken(token, normalized=False)])
