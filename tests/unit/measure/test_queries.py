"""Models are compared on the same tokens: what their tokenizers make of the rows decides, not what their files say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import classification
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from edgeopt.data import Split
from edgeopt.measure.queries import queries_of, same_queries
from edgeopt.support.errors import InputError
from edgeopt.tasks.encode import Features, first_other, tokens_digest

WORDS = ["a", "b", "c", "<s>", "</s>"]
ROWS = Split("validation", (("a",), ("b A",), ("a b",)), (0, 1, 0))


def folder(path: Path, words: list[str] = WORDS, **parts: Any) -> Path:
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="c"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("</s>", words.index("</s>")), ("<s>", words.index("<s>")))
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    path.mkdir()
    tokenizer.save(str(path / "tokenizer.json"))
    return path


OTHER: dict[str, tuple[dict[str, Any], int]] = {
    "normalizer": ({"normalizer": normalizers.Lowercase()}, 2),
    "pre-tokenizer": ({"pre_tokenizer": pre_tokenizers.Digits()}, 2),
    "post-processor": ({"post_processor": processors.BertProcessing(("<s>", 3), ("</s>", 4))}, 1),
    "vocabulary": ({"words": ["a", "c", "b", "<s>", "</s>"]}, 2),
}


@pytest.mark.parametrize("part", list(OTHER))
def test_another_part_of_a_tokenizer_is_seen_in_the_rows(part: str, tmp_path: Path) -> None:
    parts, row = OTHER[part]
    baseline, other = folder(tmp_path / "baseline"), folder(tmp_path / "other", **parts)
    task = classification()
    with pytest.raises(InputError) as error:
        same_queries(task, ROWS, baseline, {"candidate": other}, "a mend")
    (issue,) = error.value.issues
    told = (
        "the candidate's tokenizer makes other tokens of the rows than the baseline's, first of row "
        f"{row} of validation"
    )
    assert (issue.code, issue.help) == ("E208", "a mend") and told in issue.message
    assert tokens_digest(queries_of(task, ROWS, baseline).ids) != tokens_digest(queries_of(task, ROWS, other).ids)


def test_what_makes_no_difference_to_the_rows_is_none(tmp_path: Path) -> None:
    """Another vocabulary too, as far as the rows have its words."""
    baseline, other = folder(tmp_path / "baseline"), folder(tmp_path / "other", [*WORDS, "z"])
    (other / "tokenizer.json").write_text(json.dumps(json.loads((other / "tokenizer.json").read_text()), indent=7))
    found = same_queries(classification(), ROWS, baseline, {"candidate": other}, "")
    assert [q["input_ids"] for q in found.ids] == [[3, 0, 4], [3, 1, 2, 4], [3, 0, 1, 4]]


def test_the_row_of_the_first_other_window() -> None:
    def of(*rows: tuple[int, int]) -> Features:
        return Features([{"input_ids": [token]} for _, token in rows], [row for row, _ in rows])

    one = of((0, 5), (0, 6), (1, 7))
    assert first_other(one, one) is None
    assert first_other(one, of((0, 5), (0, 6), (1, 8))) == 1
    assert first_other(one, of((0, 5), (0, 6))) == first_other(of((0, 5), (0, 6)), one) == 1
    assert first_other(one, of((0, 5), (1, 7))) == 0
