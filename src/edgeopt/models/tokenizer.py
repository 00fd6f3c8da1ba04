"""The one place that says which tokenizer a model folder has.

It is the folder's tokenizer.json, or what its older files are converted to. A tokenizer.json is used as it is, byte for
byte, from the first step to what is shipped, and never through a class of transformers, which rebuilds it from the
class's defaults. What the folder states besides (tokenizer_config.json,
added_tokens.json, a vocabulary) must say the same; where it does not and a row comes out with other ids, nobody can
know which of them the model was trained with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.models import converted
from edgeopt.models.truncation import check_side
from edgeopt.support.errors import InputError, Place, bad_input

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE, CONFIG_FILE, ADDED, SPECIAL = (
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
)
#: What tokenizer_config.json may state of how text is read, by the part of tokenizer.json and the name it has there.
_STATED = {
    "do_lower_case": ("BertNormalizer", "lowercase"),
    "strip_accents": ("BertNormalizer", "strip_accents"),
    "tokenize_chinese_chars": ("BertNormalizer", "handle_chinese_chars"),
    "add_prefix_space": ("ByteLevel", "add_prefix_space"),
}
#: The special tokens by transformers' names of them.
SPECIALS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FILES = (FILE, CONFIG_FILE, ADDED, SPECIAL, converted.WORDS, converted.BPE, converted.MERGES, *converted.SENTENCEPIECE)
_AGAIN = "save it again with `tokenizer.save_pretrained(folder)`, or copy the file again"
_WHICH = "fix the one that is wrong: the model must read texts as in its training"
#: What a model is given, by the name that tokenizer_config.json has for the list.
INPUTS = "model_input_names"
_SAME = object()
Rows = Iterable[tuple[str, ...]]


@dataclass(frozen=True)
class Found:
    """The tokenizer of a model folder, and what the folder states of it.

    text: what tokenizer.json says, as it lies in the folder or as it was converted. stated: of tokenizer_config.json
    and special_tokens_map.json. slow: the older file it was converted from, None where the folder has a tokenizer.json.
    """

    folder: Path
    tokenizer: Tokenizer
    text: str
    stated: Mapping[str, Any]
    slow: str | None = None


def read_tokenizer(folder: Path, model_type: str) -> Found:
    """The tokenizer of a model folder, read once as long as none of its files changes.

    Raises InputError E311 where there is none or a file of it is damaged, E320 where one numbers a token otherwise,
    E321 where texts are to lose their beginning, E206 where a package is needed to convert it that is not installed.
    """
    files = sorted(p for p in folder.iterdir() if p.name in _FILES and p.is_file())
    return _read(folder, model_type, tuple((p.name, (found := p.stat()).st_size, found.st_mtime_ns) for p in files))


@lru_cache(maxsize=4)
def _read(folder: Path, model_type: str, files: tuple[tuple[str, int, int], ...]) -> Found:
    """The tokenizer of a folder. files: name, size and time of change of each; a changed one is read again."""
    stated = {**_stated(folder / SPECIAL), **_stated(folder / CONFIG_FILE)}
    path = folder / FILE
    if path.is_file():
        found = Found(folder, *_parsed(path), stated)
    else:
        slow, tokenizer = converted.convert(folder, model_type, stated)
        found = Found(folder, tokenizer, tokenizer.to_str(pretty=True), stated, slow)
    check_side(folder, found.tokenizer, stated)
    found.tokenizer.no_padding()
    found.tokenizer.no_truncation()
    _check_added(found)
    return found


def check_size(found: Found, words: int, place: Place | None = None) -> None:
    """Raises InputError E311 where a token has no row in the model's embeddings; words: how many rows they have."""
    beyond = sorted((i, token) for token, i in found.tokenizer.get_vocab(with_added_tokens=True).items() if i >= words)
    if beyond:
        names = ", ".join(repr(token) for _, token in beyond[:3]) + (" and more" if len(beyond) > 3 else "")
        raise bad_input(
            "E311",
            f"the tokenizer's largest token number is {beyond[-1][0]}, "
            f"and the model has embeddings for {words} tokens: none for {names}",
            place=place or Place.of(found.folder / FILE),
            help="the tokenizer belongs to another model; or tokens were added to it: call "
            "`model.resize_token_embeddings(len(tokenizer))`, train, and save both",
        )


def check_types(found: Found, types: int, place: Place | None = None) -> None:
    """Raises InputError E311 where the tokenizer numbers a token type that the model has no row for.

    types: rows of the model's table of token types, two or more (a model of one takes none).
    """
    numbers = {n for e in (found.tokenizer.encode("a"), found.tokenizer.encode("a", "a")) for n in e.type_ids}
    if max(numbers, default=0) >= types:
        raise bad_input(
            "E311",
            f"the tokenizer numbers token types up to {max(numbers)}, and the model has {types}",
            place=place or Place.of(found.folder / FILE),
            help="the tokenizer belongs to another model",
        )


def disagreement(found: Found, rows: Rows) -> InputError | None:
    """The error where a folder states its tokenizer in two ways, shown by the first row that comes out with other ids.

    None where every row is the same.
    """
    if found.slow is not None:
        return converted.undecided(found.folder, found.tokenizer, found.stated, rows)
    changes = {key: found.stated[key] for key, (part, name) in _STATED.items() if _differs(found, key, part, name)}
    recased = _recased(found)
    if not changes and recased is _SAME:
        return None
    from tokenizers import Tokenizer

    changed = json.loads(found.text)
    if recased is not _SAME:
        changed["normalizer"], changes["do_lower_case"] = recased, found.stated["do_lower_case"]
    for key, value in changes.items():
        for part in _parts(changed, _STATED[key][0]):
            part[_STATED[key][1]] = value
    what = ", ".join(f"{key} is {json.dumps(value)} in {CONFIG_FILE}" for key, value in changes.items())
    return converted.first_difference(
        f"{FILE} says otherwise: {what}",
        found.folder / CONFIG_FILE,
        (FILE, found.tokenizer),
        (CONFIG_FILE, Tokenizer.from_str(json.dumps(changed))),
        rows,
        _WHICH,
    )


def untyped(found: Found) -> bool:
    """Whether the folder states that the model is not given token types: all are then of the first."""
    names = found.stated.get(INPUTS)
    return isinstance(names, list) and "input_ids" in names and "token_type_ids" not in names


def as_shipped(found: Found, *, words: bool) -> str:
    """The tokenizer.json of a model's first state.

    words: whether it is given words one by one, and may be told of the spaces between them: a byte-level one would see
    none, and any other is left as it is.
    """
    changed = json.loads(found.text) if words else {}
    parts = [p for p in _parts(changed, "ByteLevel") if not p.get("add_prefix_space", True)]
    for part in parts:
        part["add_prefix_space"] = True
    return json.dumps(changed, ensure_ascii=False) if parts else found.text


def plain_config(found: Found) -> dict[str, Any]:
    """A tokenizer_config.json by which transformers takes tokenizer.json as it is.

    It has the special tokens, and names no class of a family.
    """
    named = {key: _content(found.stated[key]) for key in SPECIALS if isinstance(found.stated.get(key), str | dict)}
    known = {
        "pad_token": ("[PAD]", "<pad>"),
        "unk_token": ("[UNK]", "<unk>"),
        "cls_token": ("[CLS]", "<s>"),
        "sep_token": ("[SEP]", "</s>"),
        "mask_token": ("[MASK]", "<mask>"),
    }
    for key, words in known.items():
        word = next((w for w in words if found.tokenizer.token_to_id(w) is not None), None)
        if word is not None:
            named.setdefault(key, word)
    length = found.stated.get("model_max_length")
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        **({"model_max_length": length} if isinstance(length, int) else {}),
    }


def mask_token(found: Found) -> int:
    """The number of the token that hides others. Raises InputError E311 where there is none."""
    word = plain_config(found).get("mask_token")
    number = found.tokenizer.token_to_id(word) if isinstance(word, str) else None
    if number is None:
        raise bad_input(
            "E311",
            "the tokenizer has no mask token, by which a pre-training hides tokens",
            place=Place.of(found.folder / FILE),
            help="add one, such as [MASK], and save model and tokenizer again",
        )
    return int(number)


def _content(token: object) -> object:
    """The text of a special token, which is that text or an object that holds it."""
    return token.get("content") if isinstance(token, dict) else token


def _parsed(path: Path) -> tuple[Tokenizer, str]:
    from tokenizers import Tokenizer

    try:
        text = path.read_text(encoding="utf-8")
        tokenizer = Tokenizer.from_str(text)
        tokenizer.encode("a")  # a post-processor that names tokens it lacks fails only here
        tokenizer.encode("a", "a")
    except Exception as error:  # the library raises bare Exception
        raise bad_input(
            "E311", f"{FILE} is not a tokenizer: {_short(error)}", place=Place.of(path), help=_AGAIN
        ) from None
    except BaseException as error:  # and a panic of Rust, which is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise bad_input(
            "E311", f"{FILE} is not a tokenizer that can be used: {_short(error)}", place=Place.of(path), help=_AGAIN
        ) from None
    return tokenizer, text


def _stated(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise bad_input("E311", f"{path.name} is damaged: {_short(error)}", place=Place.of(path), help=_AGAIN) from None
    return found


def _check_added(found: Found) -> None:
    """Raises InputError E320 for a token that the files beside number otherwise."""
    listed = found.stated.get("added_tokens_decoder")
    pairs = [
        (CONFIG_FILE, _content(token), int(number))
        for number, token in (listed if isinstance(listed, dict) else {}).items()
        if str(number).isdecimal()
    ]
    pairs += [(ADDED, token, number) for token, number in _stated(found.folder / ADDED).items()]
    for name, token, number in pairs:
        have = found.tokenizer.token_to_id(token) if isinstance(token, str) else None
        if have != number:
            what = "has no such token" if have is None else f"gives it {have}"
            raise bad_input(
                "E320",
                f"{name} gives the token {token!r} the number {number}, and {found.slow or FILE} {what}",
                place=Place.of(found.folder / name),
                help=_WHICH,
            )


def _differs(found: Found, key: str, part: str, name: str) -> bool:
    if key not in found.stated or found.stated[key] not in (True, False, None):
        return False
    where = found.tokenizer.pre_tokenizer if part == "ByteLevel" else found.tokenizer.normalizer
    states = _parts(json.loads(where.__getstate__()), part) if where is not None else []
    return any(state.get(name) != found.stated[key] for state in states)


def _recased(found: Found) -> object:
    """The normalizer with what do_lower_case states, where no part of BERT's has that.

    `_SAME` where it lowers as stated. Tokenizers of pairs and pieces have no such key in transformers, whatever a file
    states.
    """
    stated, kind = found.stated.get("do_lower_case"), type(found.tokenizer.model).__name__
    normalizer = found.tokenizer.normalizer
    state: Any = None if normalizer is None else json.loads(normalizer.__getstate__())
    if (
        not isinstance(stated, bool)
        or kind not in ("WordPiece", "WordLevel")
        or _parts(state, "BertNormalizer")
        or bool(_parts(state, "Lowercase")) == stated
    ):
        return _SAME
    if not stated:
        return _without(state, "Lowercase")
    return {"type": "Sequence", "normalizers": [*([state] if state else []), {"type": "Lowercase"}]}


def _without(state: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """A normalizer's state without its parts of that type; None where nothing is left."""
    if state["type"] == "Sequence":
        return {
            **state,
            "normalizers": [kept for each in state["normalizers"] if (kept := _without(each, kind)) is not None],
        }
    return None if state["type"] == kind else state


def _parts(node: object, kind: str) -> list[dict[str, Any]]:
    """The parts of a tokenizer of that type, wherever they stand in a sequence."""
    if isinstance(node, list):
        return [p for each in node for p in _parts(each, kind)]
    if not isinstance(node, dict):
        return []
    if node.get("type") == kind:
        return [node]
    return [
        p
        for key in ("normalizer", "pre_tokenizer", "normalizers", "pretokenizers")
        for p in _parts(node.get(key), kind)
    ]


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
