"""Distillation against definitions: torch's own KL, plain loops, hand-computed numbers, the model's own weights."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES, inputs, logits, tiny
from torch.nn import functional as F

from edgeopt.models.anatomy import anatomy
from edgeopt.models.narrow import narrower
from edgeopt.models.slicing import cut, keep_layers, structure_of
from edgeopt.spec.recipe import Distillation
from edgeopt.support.errors import InputError
from edgeopt.support.progress import Progress
from edgeopt.training.distill_objective import Distilled
from edgeopt.training.distill_terms import (
    cosine_loss,
    evenly,
    flat,
    logits_loss,
    mean_logits,
    padded,
    real_tokens,
    recorded,
    relation,
    relation_loss,
)
from edgeopt.training.matching import Matching
from edgeopt.training.objective import attached
from edgeopt.training.teacher import Teacher
from edgeopt.training.teacher_answers import Answers, name_of
from edgeopt.transforms.distill import Student


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_the_kl_is_torchs(temperature: float) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(7, 4), torch.randn(7, 4)
    found = logits_loss(student, teacher, torch.zeros(7), temperature, scores=False)
    by_torch = (
        torch.nn.KLDivLoss(reduction="batchmean")(
            F.log_softmax(student / temperature, -1), F.softmax(teacher / temperature, -1)
        )
        * temperature**2
    )
    torch.testing.assert_close(found, by_torch)


def test_the_mean_of_several_teachers() -> None:
    torch.manual_seed(0)
    answers = [torch.randn(5, 3) for _ in range(3)]
    mean = torch.stack([F.softmax(a / 2, -1) for a in answers]).mean(0)
    torch.testing.assert_close(F.softmax(mean_logits(answers, 2.0, scores=False) / 2, -1), mean)
    torch.testing.assert_close(mean_logits(answers, 2.0, scores=True), torch.stack(answers).mean(0))
    assert mean_logits(answers[:1], 2.0, scores=False) is answers[0]


def test_relations_are_those_of_a_plain_loop() -> None:
    """MiniLM's: softmax over the real tokens of value·valueᵀ/√d, head by head; KL(teacher, student), averaged."""
    torch.manual_seed(0)
    real = torch.tensor([[True] * 4, [True, True, False, False]])
    student, teacher, heads = torch.randn(2, 4, 6), torch.randn(2, 4, 12), 2
    total, count = 0.0, 0
    for text in range(2):
        tokens = [i for i in range(4) if real[text, i]]
        for head in range(heads):
            for i in tokens:
                both = []
                for states in (teacher, student):
                    d = states.shape[-1] // heads
                    vectors = [states[text, j, head * d : (head + 1) * d].tolist() for j in tokens]
                    own = states[text, i, head * d : (head + 1) * d].tolist()
                    scores = [math.exp(sum(a * b for a, b in zip(own, v, strict=True)) / math.sqrt(d)) for v in vectors]
                    both.append([s / sum(scores) for s in scores])
                total += sum(p * math.log(p / q) for p, q in zip(*both, strict=True))
                count += 1
    found = relation_loss(relation(student, student, real, heads), relation(teacher, teacher, real, heads), real)
    assert float(found) == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
def test_the_relation_of_query_and_key_is_the_attention(family: str) -> None:
    model = tiny(family)
    model.set_attn_implementation("eager")
    with torch.no_grad(), recorded(model, "query") as queries, recorded(model, "key") as keys:
        attentions = model(**inputs(), output_attentions=True).attentions
    real = real_tokens(inputs()["attention_mask"])
    for query, key, attention in zip(queries, keys, attentions, strict=True):
        torch.testing.assert_close(relation(query, key, real, 4).exp()[0], attention[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            relation(query, key, real, 4).exp()[1, :, :6], attention[1, :, :6], atol=1e-5, rtol=1e-4
        )


def test_cosine_by_hand() -> None:
    assert float(
        cosine_loss(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 2.0], [6.0, 8.0]]))
    ) == pytest.approx(0.5)


def test_flat_and_back_without_padding_and_virtual_tokens() -> None:
    states, real = torch.randn(2, 5, 3), torch.tensor([[True, True, True], [True, False, False]])
    found = flat(states, real)
    torch.testing.assert_close(found, torch.cat([states[0, 2:], states[1, 2:3]]))
    torch.testing.assert_close(padded(found, real)[0], states[0, 2:])
    assert not padded(found, real)[1, 1:].any()


@pytest.mark.parametrize(
    ("count", "parts", "expected"),
    [(12, 6, [1, 3, 5, 7, 9, 11]), (6, 3, [1, 3, 5]), (12, 3, [3, 7, 11]), (5, 2, [2, 4]), (3, 3, [0, 1, 2])],
)
def test_evenly(count: int, parts: int, expected: list[int]) -> None:
    assert evenly(count, parts) == expected


@pytest.mark.parametrize(
    ("keys", "count", "expected"),
    [
        ({"layers": "alternate"}, 12, [1, 3, 5, 7, 9, 11]),
        ({"layers": "alternate"}, 5, [0, 2, 4]),
        ({"layers": [4, 0]}, 6, [0, 4]),
        ({"first": 2}, 6, [0, 1]),
        ({"last": 2}, 6, [4, 5]),
        ({}, 3, [0, 1, 2]),
    ],
)
def test_the_students_layers(keys: dict[str, Any], count: int, expected: list[int]) -> None:
    assert Student(**keys).numbers(count) == expected


def test_a_subset_has_the_teachers_weights() -> None:
    model = tiny("bert")
    short = copy.deepcopy(model)
    keep_layers(short, Student(layers=[0, 2]).numbers(3))
    for ours, theirs in ((0, 0), (1, 2)):
        for (name, a), (_, b) in zip(
            short.bert.encoder.layer[ours].named_parameters(),
            model.bert.encoder.layer[theirs].named_parameters(),
            strict=True,
        ):
            assert torch.equal(a, b), name
    assert torch.equal(short.classifier.weight, model.classifier.weight)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_narrower_student_keeps_the_largest(family: str) -> None:
    """What is made small on purpose goes; and as many of each kind stay as was asked for."""
    model = tiny(family)
    names = anatomy(model.config.model_type)
    layer = model.get_submodule(names.layers)[1]
    with torch.no_grad():
        for matrix in layer.get_submodule(names.ffn_in).weight.chunk(2 if names.gated else 1):
            matrix[7:12] *= 1e-3
        layer.get_submodule(names.projections[1]).weight[:, 7:12] *= 1e-3
    kept = narrower(model, hidden=12, heads=2, neurons=15)
    assert kept.layers[1].neurons == [*range(7), *range(12, 20)]
    assert kept.hidden is not None and len(kept.hidden) == 12
    cut(model, kept)
    shape = structure_of(model)
    assert (shape.hidden, {x.head_count for x in shape.layers}, {x.neuron_count for x in shape.layers}) == (
        12,
        {2},
        {15},
    )
    assert torch.isfinite(logits(model)).all()
    assert narrower(model, hidden=3, by="first").hidden == [0, 1, 2]
    with pytest.raises(ValueError, match="layer 0 has 2 heads, fewer than 3"):
        narrower(model, heads=3)


def given(**spec: Any) -> Distillation:
    """A distillation, of which the weights of the losses are given beside the other keys."""
    others = {k: spec.pop(k) for k in ("match", "relation_heads") if k in spec}
    return Distillation.model_validate({"losses": spec, **others})


def matching(student: Any, teacher: Any, **spec: Any) -> Matching:
    return Matching(given(**spec), structure_of(student), structure_of(teacher))


def shorter(model: Any, *layers: int) -> Any:
    found = copy.deepcopy(model)
    keep_layers(found, layers)
    return found


def test_which_layers_match() -> None:
    model = tiny("bert")
    assert matching(shorter(model, 1), model, hidden=1).pairs == [(0, 2)]
    assert matching(shorter(model, 0, 2), model, hidden=1).pairs == [(0, 1), (1, 2)]
    assert matching(model, shorter(model, 0, 2), hidden=1).pairs == [(1, 0), (2, 1)], (
        "a deeper student learns at as many layers as there are"
    )
    assert matching(shorter(model, 0, 2), model, hidden=1, match=[0, 2]).pairs == [(0, 0), (1, 2)]
    assert matching(model, model, values=1, attention=1).items() == {
        f"{kind}-{i}": 24 for kind in ("key", "query") for i in range(3)
    } | {"value-2": 24}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"hidden": 1, "match": [0]}, "names 1 layers of the teacher, and the student has 2"),
        ({"hidden": 1, "match": [0, 3]}, "has no layer 3"),
        ({"attention": 1}, "layer 0 of the student has 2 heads, and layer 1 of the teacher 4"),
        (
            {"values": 1, "relation_heads": 5},
            "5 does not divide the width of the attention, 12 of the student and 24 of the teacher",
        ),
    ],
)
def test_layers_that_do_not_match(spec: dict[str, Any], words: str) -> None:
    model = tiny("bert")
    student = shorter(model, 0, 1)
    cut(student, narrower(student, heads=2))
    with pytest.raises(InputError, match=words) as caught:
        matching(student, model, **spec)
    assert caught.value.issues[0].code == "E208"
    assert matching(student, model, attention=1, values=1, relation_heads=3).heads(0, 1) == 3


ALL = {"logits": 1.0, "hidden": 1.0, "cosine": 1.0, "attention": 1.0, "values": 1.0}
ROWS: list[dict[str, Any]] = [
    {"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in ([7, 8, 9, 10], [11, 12], [13], [14, 15, 16])
]


def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    width = max(len(r["input_ids"]) for r in rows)
    return {
        k: torch.tensor([[*r[k], *[0] * (width - len(r[k]))] for r in rows]) for k in ("input_ids", "attention_mask")
    }


def answers(model: Any, folder: Path | None, items: dict[str, int]) -> Answers:
    found = Answers(
        lambda: Teacher(copy.deepcopy(model), scores=False, bf16=False),
        ROWS,
        collate,
        items,
        a_token=False,
        folder=folder,
        progress=Progress(show=False),
    )
    found.prepare()
    return found


def objective(student: Any, teacher: Any, folder: Path | None = None, **spec: Any) -> Distilled:
    wanted = given(**spec)
    found = Matching(wanted, structure_of(student), structure_of(teacher)) if wanted.losses.layered else None
    items = {"logits": 2, **(found.items() if found else {})}
    return Distilled(wanted, [answers(teacher, folder, items)], found, scores=False, seed=0, label_loss=None)


def loss(student: Any, distilled: Distilled, rows: list[int]) -> torch.Tensor:
    batch = {**collate([ROWS[i] for i in rows]), "labels": torch.tensor([0] * len(rows)), "row": torch.tensor(rows)}
    with attached(student, distilled):
        return distilled.loss(student, batch, 0, 1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("match", ["uniform", "dynamic"])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(family: str, match: str) -> None:
    model = tiny(family)
    found = loss(model, objective(copy.deepcopy(model), model, **ALL, match=match), [0, 3, 1])
    assert found.item() == pytest.approx(0, abs=2e-5)


@pytest.mark.parametrize("match", ["uniform", "dynamic"])
def test_kept_answers_give_the_same_loss(match: str, tmp_path: Path) -> None:
    teacher = tiny("bert")
    student = shorter(teacher, 0, 2)
    cut(student, narrower(student, hidden=16))
    live, kept = (objective(student, teacher, folder, **ALL, labels=0.5, match=match) for folder in (None, tmp_path))
    a, b = loss(student, live, [3, 0, 2]), loss(student, kept, [3, 0, 2])
    assert (
        kept.figures()["teacher"]["cached_bytes"]
        == kept.answers[0].bytes
        == sum(f.stat().st_size - 128 for f in tmp_path.glob("*.npy"))
    )
    assert a.item() == pytest.approx(b.item(), rel=1e-5)
    a.backward()
    assert isinstance(live.transform, torch.nn.Linear)
    assert all(p.grad is not None and bool(p.grad.any()) for p in live.transform.parameters())


@pytest.mark.parametrize("match", ["uniform", "dynamic"])
def test_the_loss_is_the_weighted_sum_of_its_terms(match: str) -> None:
    teacher = tiny("bert")
    student = shorter(teacher, 0, 2)
    matched = {"hidden": 1e-9, "match": match}  # what is matched by hidden states needs them
    alone = {
        name: loss(student, objective(student, teacher, **{"logits": 0.0, **matched, name: 1.0}), [3, 0, 2]).item()
        for name in ("labels", *ALL)
    }
    weights = {"labels": 0.5, "logits": 0.3, "hidden": 0.7, "cosine": 2.0, "attention": 1.5, "values": 0.2}
    together = loss(student, objective(student, teacher, **weights, match=match), [3, 0, 2]).item()
    assert all(value > 1e-6 for value in alone.values())
    assert together == pytest.approx(sum(weights[name] * alone[name] for name in alone), rel=1e-4)


def test_answers_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, items = tiny("bert"), {"logits": 2, "hidden-1": 24}
    asked: list[int] = []
    usual = Teacher.look

    def breaking(self: Teacher, batch: dict[str, Any], kinds: Any = ()) -> Any:
        asked.append(len(batch["input_ids"]))
        if len(asked) == 2:
            raise KeyboardInterrupt
        return usual(self, batch, kinds)

    monkeypatch.setattr("edgeopt.training.teacher_answers._BATCH", 2)
    monkeypatch.setattr(Teacher, "look", breaking)
    with pytest.raises(KeyboardInterrupt):
        answers(model, tmp_path, items)
    assert not list(tmp_path.glob("*.npy"))
    found = answers(model, tmp_path, items)
    assert asked == [2, 2, 2, 2]
    answers(model, tmp_path, items)
    assert asked == [2, 2, 2, 2], "what is there is not asked for again"
    with torch.no_grad(), recorded(model) as layers:
        expected = model(**collate([ROWS[3]])).logits
    told = found.of([3, 2], torch.device("cpu"))
    np.testing.assert_allclose(told["logits"][:1], expected, atol=1e-5)
    np.testing.assert_allclose(told["hidden-1"][:3], layers[1][0], atol=1e-4)
    assert told["hidden-1"].shape == (4, 24)
    answers(model, tmp_path, {**items, "value-0": 24})
    assert asked == [2] * 6, "and of something more, only that"


def test_where_answers_are_kept_depends_on_teacher_rows_and_precision() -> None:
    names = {
        name_of("a", ROWS, "fp32"),
        name_of("b", ROWS, "fp32"),
        name_of("a", ROWS[:3], "fp32"),
        name_of("a", ROWS, "bf16"),
    }
    assert len(names) == 4
    assert name_of("a", [{**r, "labels": 1} for r in ROWS], "fp32") in names
