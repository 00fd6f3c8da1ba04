"""Several tasks as one: whose rows are whose, and that nothing is ever decided by another task's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import accuracy_score

from edgeopt.gates.decide import decide
from edgeopt.gates.evidence import Evidence
from edgeopt.results.model import Subject
from edgeopt.spec.recipe import GateSpec, OneTask, SeveralTasks
from edgeopt.step import registry
from edgeopt.support.errors import InputError, Place
from edgeopt.tasks import task_of
from edgeopt.tasks.several import Several

NAMES = ["mood.0", "mood.1", "topic.a", "topic.b", "topic.c"]
RNG = np.random.default_rng(0)


def one(type: str = "text-classification", **keys: Any) -> dict[str, Any]:
    return {"type": type, "dataset": {"path": "."}, "text": "text", **keys}


def several() -> Several:
    parts = {
        "topic": one(text=["a", "b"], head="bi-encoder", metrics=["accuracy"]),
        "mood": one(),
        "close": one("text-regression", text=["a", "b"], label="score", head="cosine"),
    }
    made = task_of(SeveralTasks.of({name: OneTask.model_validate(part) for name, part in parts.items()}), NAMES)
    assert isinstance(made, Several)
    return made


def rows(right: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """200 rows of each task, shuffled: labels, and outputs of which such a share is right."""
    labels, outputs = [], []
    for number, (name, classes) in enumerate([("close", 0), ("mood", 2), ("topic", 3)]):
        for i in range(200):
            label = RNG.random() if not classes else int(RNG.integers(classes))
            hit = i < 200 * right[name]
            answer = [label if hit else RNG.random()]
            if classes:
                answer = list(np.eye(classes)[label if hit else (label + 1) % classes] + 0.1 * RNG.random(classes))
            labels.append((number, label))
            outputs.append([number, *answer, *[0.0] * (3 - len(answer))])
    order = RNG.permutation(len(labels))
    return np.array(labels, dtype=float)[order], np.array(outputs)[order]


def subject(task: Several, labels: np.ndarray, outputs: np.ndarray) -> Subject:
    figures = {"artifact": "x", "size_bytes": 1, "parameters": 1, "nonzero": 1, "precision": "fp32"}
    return Subject(**figures, metrics=task.metrics(labels, outputs))


def evidence(task: Several, base: dict[str, float], candidate: dict[str, float]) -> Evidence:
    labels, before = rows(base)
    after = before.copy()
    for number, name in enumerate(("close", "mood", "topic")):
        own = np.flatnonzero(labels[:, 0] == number)
        worse = own[: round(len(own) * (base[name] - candidate[name]))]
        after[worse, 1:] = -after[worse, 1:]
    return Evidence(
        task, labels, before, after, subject(task, labels, before), subject(task, labels, after), latency=[]
    )


def test_the_order_of_keys_means_nothing() -> None:
    assert [head.name for head in several().task_heads] == ["close", "mood", "topic"]
    assert [head.outputs for head in several().task_heads] == [1, 2, 3]


def test_metrics_are_of_each_tasks_own_rows() -> None:
    made = several()
    labels, outputs = rows({"close": 0.5, "mood": 0.9, "topic": 0.6})
    for name, number, classes in (("mood", 1, 2), ("topic", 2, 3)):
        own = labels[:, 0] == number
        expected = accuracy_score(labels[own, 1], outputs[own, 1 : 1 + classes].argmax(1))
        assert made.measure(f"{name}.accuracy", labels, outputs) == pytest.approx(expected)
    scores = made.selection_scores(labels, outputs)
    first = [scores[name] for name in ("close.pearson", "mood.accuracy", "topic.accuracy")]
    assert made.selection_metric == "mean" and scores["mean"] == pytest.approx(np.mean(first))


def test_a_gate_sees_the_rows_of_its_task_alone() -> None:
    """Mood lost nothing and topic a tenth: each gate says so, whatever the other task's rows are."""
    made = several()
    found = evidence(made, {"close": 1, "mood": 0.8, "topic": 0.9}, {"close": 1, "mood": 0.8, "topic": 0.7})
    verdicts = {}
    for name in ("mood", "topic"):
        gate = decide(GateSpec(metric="accuracy", task=name, max_drop=0.05), found)
        assert gate.metric == f"{name}.accuracy" and "on 200 rows" in gate.reason
        verdicts[name] = gate.verdict
        own = found.of(name)
        assert gate.value == pytest.approx(own.baseline.metrics["accuracy"] - own.candidate.metrics["accuracy"])
    assert verdicts == {"mood": "pass", "topic": "fail"}


def test_rows_of_another_task_change_no_verdict() -> None:
    made = several()
    found = evidence(made, {"close": 1, "mood": 0.8, "topic": 0.9}, {"close": 1, "mood": 0.8, "topic": 0.9})
    spec = GateSpec(metric="accuracy", task="mood", max_drop=0.05)
    before = decide(spec, found)
    others = found.labels[:, 0] != 1
    found.candidate_logits[others, 1:] = RNG.normal(size=(others.sum(), 3))
    found.known.clear()
    assert decide(spec, found) == before


@pytest.mark.parametrize("side", ["baseline_logits", "candidate_logits"])
def test_outputs_of_other_rows_than_the_labels_decide_nothing(side: str) -> None:
    """Rows that were shuffled, or one that claims to be another task's, are no evidence at all."""
    made = several()
    everything = {"close": 1.0, "mood": 1.0, "topic": 1.0}
    found = evidence(made, everything, everything)
    outputs = getattr(found, side)
    outputs[0, 0] = (outputs[0, 0] + 1) % 3
    with pytest.raises(ValueError, match="other tasks' rows"):
        decide(GateSpec(metric="accuracy", task="mood", max_drop=0.05), found)
    assert not made.sound(found.labels, outputs).all()


def test_what_is_written_is_read_back_whose_it_is() -> None:
    made = several()
    labels, outputs = rows({"close": 0.5, "mood": 0.9, "topic": 0.6})
    plain = [made.plain_label(label) for label in labels]
    answers = [made.plain_output(*each) for each in zip(outputs, plain, strict=True)]
    assert all(made.fits(*each) for each in zip(plain, answers, strict=True))
    assert np.array_equal(made.stack_labels(plain), labels) and np.allclose(made.stack(answers), outputs)


@pytest.mark.parametrize(
    ("label", "output"),
    [
        ({"mood": 1}, {"topic": [1.0, 2.0, 3.0]}),
        ({"mood": 2}, {"mood": [1.0, 2.0]}),
        ({"mood": 1}, {"mood": [1.0, 2.0, 3.0]}),
        ({"mood": 0.5}, {"mood": [1.0, 2.0]}),
        ({"other": 1}, {"other": [1.0, 2.0]}),
        ({"mood": 1, "topic": 1}, {"mood": [1.0, 2.0]}),
        ({}, {}),
    ],
)
def test_what_is_no_row_of_one_task_does_not_fit(label: Any, output: Any) -> None:
    assert not several().fits(label, output)


def test_rows_are_read_by_their_task() -> None:
    made, at = several(), Place("rows", 1)
    assert made.read_query({"task": "topic", "a": "x", "b": "y"}, at) == ("topic", "x", "y")
    assert made.read_query(["mood", "x"], at) == ("mood", "x")
    assert made.queries([("topic", "x", "y"), ("mood", "z")]) == [("x",), ("y",), ("z",)]
    for wrong in ("x", {"a": "x"}, ["moods", "x"], {"task": ["mood"], "text": "x"}, ["topic", "x"]):
        with pytest.raises(InputError, match="E30"):
            made.read_query(wrong, at)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"type": "token-classification"}, "cannot share an encoder"),
        ({"head": "cosine", "text": ["a", "b"]}, "its heads: pair, bi-encoder"),
        ({"head": "bi-encoder"}, "compares two texts"),
        ({"slices": ["source"]}, "'slices' does not work with several tasks"),
        ({"long_text": "window"}, "'long_text' does not work"),
        ({"train_with": [{"dataset": {"path": "x"}}]}, "'train_with' does not work"),
        ({"weight": 0}, "greater than 0"),
        ({"type": "pretrain.mlm", "corpus": {"data_files": "x.txt"}}, "no task yet"),
    ],
)
def test_keys_that_do_not_fit(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        OneTask.model_validate(one(**keys))
    assert said in str(caught.value) or said in str(getattr(caught.value.errors()[0]["ctx"].get("error"), "help", ""))


@pytest.mark.parametrize("use", ["prune.cofi", "adapter.prompt", "adapter.prefix"])
def test_what_does_not_work_says_what_does(use: str) -> None:
    """One error, and none of the steps that it advises is refused in its turn."""
    refused = ("prune.cofi", "adapter.prompt", "adapter.prefix")
    transform = registry.get(use)
    keys = {"sparsity": 0.5} if use == "prune.cofi" else {}
    ((_, message, help),) = transform.check(transform.Params.model_validate(keys), several().spec)
    assert "does not work for several tasks" in message
    assert help.startswith("use ") and not any(name in help for name in refused)


def test_int8_is_judged_by_the_task_that_loses_most() -> None:
    made = several()
    found = evidence(made, {"close": 1, "mood": 0.8, "topic": 0.9}, {"close": 1, "mood": 0.8, "topic": 0.7})
    worst = made.first_difference(found.labels, found.baseline_logits, found.candidate_logits, 0.95)
    topic = made.difference("topic.accuracy", found.labels, found.baseline_logits, found.candidate_logits, 0.95)
    assert worst.value == pytest.approx(topic.value) and worst.low == pytest.approx(topic.low)
