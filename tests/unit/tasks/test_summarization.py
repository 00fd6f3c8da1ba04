"""Summaries: tokens, greedy writing and ROUGE, each against transformers, rouge-score or a case worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import WORDS

from edgeopt.measure.latency_worker import feeds_of
from edgeopt.spec.recipe import TaskSpec
from edgeopt.support.errors import InputError, Place
from edgeopt.tasks import Task, greedy, task_of
from edgeopt.tasks.encode import Encoder

HERE = Place("rows.jsonl", 3)


def make(**keys: Any) -> Task:
    return task_of(
        TaskSpec.model_validate(
            {"type": "summarization", "dataset": {"path": "x"}, "text": "document", "label": "summary", **keys}
        )
    )


def test_the_decoder_is_given_the_summary_and_trained_towards_what_follows(tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer, encoder = AutoTokenizer.from_pretrained(tiny_model), Encoder(tiny_model, 10)
    rows = [(" ".join(WORDS[:n]), " ".join(WORDS[20 : 20 + m])) for n, m in ((3, 2), (30, 1), (5, 30))]
    task = make(max_target_length=8)
    features = task.encode(encoder, rows)
    for (document, summary), ids, target in zip(rows, features.ids, task.targets(features, []), strict=True):
        whole = tokenizer(summary, truncation=True, max_length=8)["input_ids"]
        assert ids["input_ids"] == tokenizer(document, truncation=True, max_length=10)["input_ids"]
        assert (ids["decoder_input_ids"], target) == (whole[:-1], whole[1:])
    assert encoder.ends == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    padded = encoder.pad(features.ids)
    assert {name: values.shape for name, values in padded.items()} == {
        "input_ids": (3, 10),
        "attention_mask": (3, 10),
        "token_type_ids": (3, 10),
        "decoder_input_ids": (3, 7),
    }
    labels = task.label_batch(task.targets(features, []), 10)
    assert labels.shape == (3, 7) and (labels != -100).sum(1).tolist() == [3, 2, 7]


def test_transformers_would_shift_the_labels_to_the_same_inputs(tiny_model: Path) -> None:
    import torch
    from transformers.models.encoder_decoder.modeling_encoder_decoder import shift_tokens_right

    encoder, task = Encoder(tiny_model, 10), make()
    features = task.encode(encoder, [("good0", "good1 good2"), ("good0", "bad1 bad2 bad3")])
    labels = task.label_batch(task.targets(features, []), 3)
    shifted = shift_tokens_right(torch.from_numpy(labels), encoder.pad_id, encoder.ends[0]).numpy()
    given = encoder.pad(features.ids)["decoder_input_ids"]
    real = np.arange(given.shape[1]) < [[len(i["decoder_input_ids"])] for i in features.ids]
    np.testing.assert_array_equal(given[real], shifted[real])


def test_writing_stops_at_the_end_or_the_length() -> None:
    document = {"input_ids": np.array([[7, 8]])}
    seen = []

    def run(feed: dict[str, Any]) -> Any:
        """The next token is one more than the last."""
        assert feed["input_ids"] is document["input_ids"]
        seen.append(feed["decoder_input_ids"].tolist())
        return np.eye(12)[feed["decoder_input_ids"] + 1]

    assert greedy.write(run, document, start=1, end=5, max_length=20) == [2, 3, 4]
    assert seen == [[[1]], [[1, 2]], [[1, 2, 3]], [[1, 2, 3, 4]]]
    assert greedy.write(run, document, start=1, end=9, max_length=4) == [2, 3, 4]


def test_rouge_is_the_mean_of_the_rows_and_its_bounds_are_paired() -> None:
    task = make()
    labels = task.stack_labels(["the cat sat", "dogs run fast", "a b"])
    base, candidate = task.stack(["the cat sat", "a dog runs", ""]), task.stack(["the cat", "a dog runs", ""])
    # by hand: F1 of words, stemmed where longer than three letters: "dogs" is "dog", "runs" is "run"
    assert task.measure("rouge1", labels, base) == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert task.measure("rouge1", labels, candidate) == pytest.approx((0.8 + 2 / 3 + 0) / 3)
    assert task.measure("rouge2", labels, candidate) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    found = task.difference("rouge1", labels, base, candidate, 0.95)
    assert found.value == pytest.approx(-0.2 / 3)
    # no resample shows what rows do that nobody has seen: Tango's bound where none of three differs is z² / (3 + z²)
    unseen = 1.6448536**2 / (3 + 1.6448536**2)
    assert found.low == pytest.approx(found.value - unseen) and found.high == pytest.approx(found.value + unseen)
    same = task.difference("rouge1", labels, base, base, 0.95)
    assert same.low < same.value == 0 < same.high, "three rows that agree do not show that all do"
    assert task.bounds("rouge1", labels, base, 0.95).value == task.measure("rouge1", labels, base)
    assert task.flips(base, candidate) == (1, 3)


def test_texts_come_back_from_plain_data() -> None:
    task = make()
    texts = task.stack(["one", "", "drei – 3"])
    assert task.stack([task.plain_output(t, t) for t in texts]).tolist() == texts.tolist()


def test_the_decoder_keeps_its_length_while_latency_is_measured() -> None:
    rows = [
        {"input_ids": [1, 2, 3], "decoder_input_ids": [1, 5]},
        {"input_ids": [1, 2], "decoder_input_ids": [1, 6, 7, 8]},
    ]
    assert [{n: v.shape for n, v in f.items()} for f in feeds_of(rows, 8, 1)] == [
        {"input_ids": (1, 8), "decoder_input_ids": (1, 2)},
        {"input_ids": (1, 8), "decoder_input_ids": (1, 4)},
    ]
    assert {n: v.shape for n, v in feeds_of(rows, "task", 2)[0].items()} == {
        "input_ids": (2, 3),
        "decoder_input_ids": (2, 4),
    }


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"document": "a", "summary": " "}, "column 'summary' is empty"),
        ({"document": "a", "summary": 3}, "column 'summary' is not text"),
        ({"document": None, "summary": "a"}, "column 'document' is empty"),
        ({"document": "a"}, "no column 'summary'"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_at_its_place(row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        make().read(row, HERE)
    assert error.value.issues[0].place == HERE


def test_an_empty_document_is_read() -> None:
    assert make().read({"document": "", "summary": "s"}, HERE) == (("", "s"), "s", HERE)


def test_the_length_of_a_summary_belongs_to_the_key() -> None:
    assert make().key() == {"max_length": 128, "max_target_length": 64}
    assert make(max_target_length=9).key()["max_target_length"] == 9
