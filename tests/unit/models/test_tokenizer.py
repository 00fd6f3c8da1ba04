"""A folder's tokenizer.json is what is trained, measured and shipped with, byte for byte.

Older files are compared with a second reading.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

from edgeopt.models import converted
from edgeopt.models.ship_tokenizer import ship_tokenizer
from edgeopt.models.tokenizer import check_size, check_types, disagreement, read_tokenizer
from edgeopt.support.errors import InputError
from edgeopt.tasks.encode import Encoder

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_WORDS = [
    *_SPECIAL,
    *"abcdefghijklmnopqrstuvwxyzABGW",
    *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
    "good",
    "bad",
    "Good",
    "Bad",
    "film",
    "œ",
]
ROWS = [("good film",), ("Good film, bad Word",), ("an œuvre by Bad",)]


def word_piece(normalizer: Any, pair: tuple[str, str] = ("[CLS]", "[SEP]")) -> Any:
    words = {w: i for i, w in enumerate(_WORDS)}
    made = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing((pair[1], words[pair[1]]), (pair[0], words[pair[0]]))
    made.add_special_tokens(_SPECIAL)
    return made


def byte_level(*, spaced: bool) -> Any:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {w: i for i, w in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters, "go", "Ġgo"])}
    made = Tokenizer(models.BPE(words, [("g", "o"), ("Ġ", "go")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=spaced)
    made.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    return made


CASED = normalizers.BertNormalizer(lowercase=False)
LOWERED = normalizers.BertNormalizer(lowercase=True)
OWN = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex("œ"), "oe"), normalizers.Lowercase()])


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def make(tokenizer: Any = None, model_type: str = "bert", **stated: Any) -> Path:
        path = tmp_path / "model"
        path.mkdir()
        (path / "config.json").write_text(json.dumps({"model_type": model_type}))
        if tokenizer is not None:
            (path / "tokenizer.json").write_text(tokenizer.to_str())  # not as anybody's save would indent it
        if stated:
            (path / "tokenizer_config.json").write_text(json.dumps(stated))
        return path

    return make


@pytest.mark.parametrize(
    ("tokenizer", "family", "stated", "renamed"),
    [
        (word_piece(CASED), "bert", {}, True),
        (word_piece(CASED), "bert", {"tokenizer_class": "BertTokenizer"}, True),
        (word_piece(CASED), "bert", {"tokenizer_class": "BertTokenizer", "do_lower_case": False}, False),
        (word_piece(LOWERED), "bert", {"tokenizer_class": "BertTokenizer", "do_lower_case": True}, False),
        (word_piece(OWN), "electra", {"tokenizer_class": "ElectraTokenizer"}, True),
        (word_piece(LOWERED), "roberta", {"tokenizer_class": "RobertaTokenizer"}, True),
        (word_piece(CASED), "mpnet", {}, True),
        (byte_level(spaced=True), "roberta", {}, True),
        (byte_level(spaced=False), "roberta", {"tokenizer_class": "RobertaTokenizer"}, False),
    ],
    ids=[
        "cased",
        "cased-class",
        "cased-stated",
        "lowered",
        "own-normalizers",
        "word-piece-roberta",
        "word-piece-mpnet",
        "spaced",
        "byte-level",
    ],
)
def test_shipped_byte_for_byte(
    tokenizer: Any, family: str, stated: dict[str, Any], renamed: bool, folder: Callable[..., Path], tmp_path: Path
) -> None:
    source, out = folder(tokenizer, family, **stated), tmp_path / "out"
    out.mkdir()
    assert ship_tokenizer(read_tokenizer(source, family), ROWS, out, words=False) is renamed
    assert (out / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    (out / "config.json").write_bytes((source / "config.json").read_bytes())
    theirs = AutoTokenizer.from_pretrained(out, local_files_only=True)
    for (text,) in ROWS:
        assert theirs(text)["input_ids"] == tokenizer.encode(text).ids, text
    assert theirs("good", "bad")["input_ids"] == tokenizer.encode("good", "bad").ids
    assert (theirs.pad_token, theirs.mask_token) == (
        ("[PAD]", "[MASK]") if isinstance(tokenizer.model, models.WordPiece) else ("<pad>", "<mask>")
    )


@pytest.mark.parametrize(
    ("tokenizer", "stated", "words"),
    [
        (
            word_piece(CASED),
            {"do_lower_case": True},
            ["row 2", "do_lower_case is true in tokenizer_config.json", "Good film, bad Word"],
        ),
        (word_piece(LOWERED), {"do_lower_case": False, "strip_accents": None}, ["row 2", "do_lower_case is false"]),
        (byte_level(spaced=False), {"add_prefix_space": True}, ["row 1", "add_prefix_space is true"]),
    ],
)
def test_two_sources_of_truth(
    tokenizer: Any, stated: dict[str, Any], words: list[str], folder: Callable[..., Path]
) -> None:
    found = read_tokenizer(folder(tokenizer, **stated), "bert")
    error = disagreement(found, ROWS)
    assert error is not None
    assert error.issues[0].code == "E320"
    assert not [w for w in words if w not in str(error)], str(error)
    theirs, ours = (line.partition(": ")[2] for line in reversed(error.issues[0].context[1:]))
    assert theirs != ours
    # rows that come out the same leave nothing in doubt
    assert disagreement(found, [("?",)] if "row 1" not in words else []) is None


@pytest.mark.parametrize(
    ("normalizer", "lowered"),
    [
        (None, True),
        (normalizers.NFKC(), True),
        (normalizers.Lowercase(), False),
        (normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()]), False),
    ],
)
def test_a_case_that_no_part_of_berts_has(normalizer: Any, lowered: bool, folder: Callable[..., Path]) -> None:
    tokenizer = word_piece(CASED)
    if normalizer is None:
        tokenizer = Tokenizer.from_str(json.dumps({**json.loads(tokenizer.to_str()), "normalizer": None}))
    else:
        tokenizer.normalizer = normalizer
    found = read_tokenizer(folder(tokenizer, do_lower_case=lowered), "bert")
    error = disagreement(found, ROWS)
    assert error is not None and error.issues[0].code == "E320" and "row 2" in str(error), error
    assert disagreement(found, ROWS[:1]) is None
    found.stated["do_lower_case"] = not lowered  # type: ignore[index]
    assert disagreement(found, ROWS) is None


@pytest.mark.parametrize("file", ["tokenizer.json", "tokenizer_config.json"])
def test_texts_that_lose_their_beginning_are_refused(file: str, folder: Callable[..., Path]) -> None:
    """Where the model is read, and where a finished one is measured."""
    tokenizer = word_piece(LOWERED)
    tokenizer.enable_truncation(8, direction="left" if file == "tokenizer.json" else "right")
    path = folder(
        tokenizer, **({"truncation_side": "left"} if file == "tokenizer_config.json" else {"truncation_side": "right"})
    )
    for read in (lambda: read_tokenizer(path, "bert"), lambda: Encoder(path, 8)):
        with pytest.raises(InputError, match="E321") as caught:
            read()
        assert str(caught.value.issues[0].place).endswith(file)


@pytest.mark.parametrize(
    "tokens",
    [{"added_tokens_decoder": {"7": {"content": "<new>"}}}, {"added_tokens_decoder": {"9": {"content": "[PAD]"}}}],
)
def test_added_tokens_with_other_numbers(tokens: dict[str, Any], folder: Callable[..., Path]) -> None:
    path = folder(word_piece(LOWERED), **tokens)
    with pytest.raises(InputError, match=r"E320.*tokenizer_config\.json gives the token"):
        read_tokenizer(path, "bert")


def test_words_without_an_embedding_or_type(folder: Callable[..., Path]) -> None:
    tokenizer = word_piece(LOWERED)
    tokenizer.add_tokens(["<prod>", "<user>"])
    found = read_tokenizer(folder(tokenizer), "bert")
    check_size(found, len(_WORDS) + 2)
    with pytest.raises(InputError, match=r"none for '<prod>', '<user>'(.|\n)*resize_token_embeddings"):
        check_size(found, len(_WORDS))
    check_types(found, 2)
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A", "[CLS] $A $B:2", [("[CLS]", 2)])
    (found.folder / "tokenizer.json").write_text(tokenizer.to_str())
    with pytest.raises(InputError, match="token types up to 2, and the model has 2"):
        check_types(read_tokenizer(found.folder, "bert"), 2)


@pytest.mark.parametrize(
    "damage",
    [
        "{",
        "[]",
        "{}",
        '{"model": null}',
        b"\xff",
        '{"version": "1.0", "model": {"type": "WordPiece", "vocab": {"a": 99999999999999}}}',
    ],
)
def test_damaged(damage: str | bytes, folder: Callable[..., Path]) -> None:
    path = folder()
    (path / "tokenizer.json").write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    with pytest.raises(InputError, match="E311"):
        read_tokenizer(path, "bert")


def test_words_given_one_by_one_get_their_spaces(folder: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    ship_tokenizer(read_tokenizer(folder(byte_level(spaced=False), "roberta"), "roberta"), ROWS, out, words=True)
    shipped = Tokenizer.from_file(str(out / "tokenizer.json"))
    assert shipped.encode(["go", "go"], is_pretokenized=True).tokens == ["<s>", "Ġgo", "Ġgo", "</s>"]


# older files alone


def test_vocabulary_that_does_not_say_whether_it_lowers(folder: Callable[..., Path]) -> None:
    path = folder()
    (path / "vocab.txt").write_text("\n".join(_WORDS) + "\n")
    error = disagreement(read_tokenizer(path, "bert"), ROWS)
    assert error is not None
    assert "row 2" in str(error) and "do_lower_case" in str(error)
    for cased in (True, False):
        (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": not cased}))
        found = read_tokenizer(path, "bert")
        assert disagreement(found, ROWS) is None
        assert found.tokenizer.encode("Good").tokens == ["[CLS]", "Good" if cased else "good", "[SEP]"]
        converted.check_conversion(path, "vocab.txt", found.tokenizer, found.stated, ROWS)


@pytest.mark.parametrize("stated", [{}, {"add_prefix_space": True}])
def test_byte_pairs(stated: dict[str, Any], folder: Callable[..., Path]) -> None:
    path = folder(None, "roberta", **stated)
    byte_level(spaced=False).model.save(str(path))
    found = read_tokenizer(path, "roberta")
    rows = [("go gogo",), (" go\n\n  ünï — 😀 it's 12go</s>go",)]
    converted.check_conversion(path, "vocab.json", found.tokenizer, found.stated, rows)
    assert found.tokenizer.encode("go", "go").ids == byte_level(spaced=bool(stated)).encode("go", "go").ids


def test_conversion_that_reads_otherwise(folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(None, do_lower_case=True)
    (path / "vocab.txt").write_text("\n".join(_WORDS) + "\n")
    found = read_tokenizer(path, "bert")
    monkeypatch.setattr(converted, "_words_again", lambda folder, stated: lambda text: [1])
    with pytest.raises(InputError, match=r"E320(.|\n)*row 1 comes out with other ids"):
        converted.check_conversion(path, "vocab.txt", found.tokenizer, found.stated, ROWS)


def test_sentencepiece_that_is_not_installed(folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(None, "xlm-roberta")
    (path / "sentencepiece.bpe.model").write_bytes(b"")
    monkeypatch.setattr(converted.host, "installed", lambda name: None)
    with pytest.raises(InputError, match=r"E206(.|\n)*pip install '\.\[sentencepiece\]'"):
        read_tokenizer(path, "xlm-roberta")


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("family", ["deberta-v2", "albert"])
def test_pieces_that_have_the_tokenizers_own_numbers(
    family: str, lossless: bool, folder: Callable[..., Path], tmp_path: Path
) -> None:
    """Characters are made plain by the model's own table, and what is in no piece is spelled in bytes, where it is."""
    sentencepiece = pytest.importorskip("sentencepiece")
    path = folder(None, family, do_lower_case=False, mask_token="[MASK]")
    (tmp_path / "text").write_text("\n".join(["good film by bad", "a film", "bad film, no good"] * 20))
    marks = {"pad": "[PAD]", "bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]"}
    numbers: dict[str, Any] = {f"{name}_id": i for i, name in enumerate(marks)}
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"),
        model_prefix=str(tmp_path / "made"),
        vocab_size=300,
        hard_vocab_limit=False,
        byte_fallback=lossless,
        minloglevel=2,
        **numbers,
        **{f"{name}_piece": mark for name, mark in marks.items()},
    )
    (tmp_path / "made.model").rename(path / ("spm.model" if family == "deberta-v2" else "spiece.model"))
    found = read_tokenizer(path, family)
    assert found.slow is not None
    rows = [("good film",), ("  Ｇood   ﬁlm½\n😀 café by 日本 ",), ("",)]
    converted.check_conversion(path, found.slow, found.tokenizer, found.stated, rows)
    pair = found.tokenizer.encode("good", "film")
    assert (pair.tokens[0], pair.tokens[-1]) == ("[CLS]", "[SEP]") and set(pair.type_ids) == {0, 1}
    assert found.tokenizer.token_to_id("[MASK]") == found.tokenizer.get_vocab_size() - 1
    assert (numbers["unk_id"] in found.tokenizer.encode("😀").ids) != lossless
