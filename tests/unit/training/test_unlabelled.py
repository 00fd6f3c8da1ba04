"""Rows without labels in a distillation: the rows, and the loss against one computed by hand over an optimizer step."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from helpers import tiny_task
from torch import nn
from torch.nn import functional as F

from edgeopt.data import TaskData, load_data
from edgeopt.data.extra import with_unlabelled
from edgeopt.spec.recipe import Distillation, Losses, Sampling, TaskSpec, TrainParams, Unlabelled
from edgeopt.support.errors import InputError, Place
from edgeopt.tasks.losses import LabelLoss, SquaredError, WeightedCrossEntropy
from edgeopt.training.distill_objective import Distilled
from edgeopt.training.rows import gather_rows
from edgeopt.training.teacher_answers import Answers

Labeled = 5
#: Rows of two processes' micro-batches, of 5 rows with labels and 4 without: one batch has none of the former.
BATCHES = [[0, 5, 1], [6, 7], [2, 8, 3], [4]]


class Student(nn.Module):
    """Logits that are learned as they are; a batch's input_ids are the numbers of its rows."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, input_ids: torch.Tensor) -> Any:
        return SimpleNamespace(logits=self.logits[input_ids])


def objective(teacher: torch.Tensor, loss: LabelLoss, *, scores: bool = False) -> Distilled:
    told = cast("Answers", SimpleNamespace(of=lambda rows, device: {"logits": teacher[rows]}))
    return Distilled(
        Distillation(losses=Losses(labels=0.5, logits=0.3), temperature=2.0),
        [told],
        None,
        scores=scores,
        seed=0,
        label_loss=loss,
        labeled=Labeled,
    )


def step_loss(
    student: Student, distilled: Distilled, labels: torch.Tensor, batches: list[list[int]]
) -> tuple[float, torch.Tensor]:
    """What the trainer makes of an optimizer step's batches: the mean of their losses; and its gradient."""
    given = [{"input_ids": torch.tensor(rows), "row": torch.tensor(rows), "labels": labels[rows]} for rows in batches]
    weight = distilled.weight(given)
    assert weight is not None
    distilled.mean_weight = weight / len(given)
    student.zero_grad()
    found = torch.stack([distilled.loss(student, batch, 0, 1) for batch in given]).mean()
    found.backward()
    assert student.logits.grad is not None
    return found.item(), student.logits.grad


def by_hand(term: Any, wanted: Any, batches: list[list[int]]) -> Any:
    """The loss on the labels, half of it, and that of the teacher, .3 of it.

    The first is a mean over the rows that have a label; the second, as ever, the mean of batches' means.
    """
    return 0.5 * term + 0.3 * sum(wanted(rows) for rows in batches) / len(batches)


@pytest.mark.parametrize("batches", [BATCHES, [[*range(9)]]])
@pytest.mark.parametrize(("weights", "smoothing"), [(None, 0.0), ([1.0, 5.0, 0.5], 0.0), ([1.0, 5.0, 0.5], 0.2)])
def test_classes(weights: list[float] | None, smoothing: float, batches: list[list[int]]) -> None:
    torch.manual_seed(0)
    logits, teacher, labels = torch.randn(9, 3), torch.randn(9, 3), torch.tensor([0, 1, 2, 1, 0, 0, 0, 0, 0])
    student = Student(logits)
    found, gradient = step_loss(student, objective(teacher, WeightedCrossEntropy(weights, smoothing)), labels, batches)
    free = logits.clone().requires_grad_()
    tensor = None if weights is None else torch.tensor(weights)
    term = F.cross_entropy(free[:Labeled], labels[:Labeled], tensor, label_smoothing=smoothing)

    def kl(rows: list[int]) -> torch.Tensor:
        return 4 * F.kl_div(F.log_softmax(free[rows] / 2, -1), F.softmax(teacher[rows] / 2, -1), reduction="batchmean")

    expected = by_hand(term, kl, batches)
    expected.backward()
    assert found == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(gradient, free.grad)


def test_scores() -> None:
    logits, teacher = torch.tensor([[1.0], [2], [3], [4], [5], [6], [7], [8], [9]]), torch.zeros(9, 1)
    labels = torch.tensor([0.0, 0, 0, 0, 1, 99, 99, 99, 99])
    found, _ = step_loss(Student(logits), objective(teacher, SquaredError(), scores=True), labels, [[*range(9)]])
    assert found == pytest.approx(0.5 * (1 + 4 + 9 + 16 + 16) / 5 + 0.3 * 285 / 9)


def test_words() -> None:
    """Rows with labels count the words that have one; of a row without, the teacher's term sees all words."""
    torch.manual_seed(0)
    logits, teacher = torch.randn(9, 4, 3), torch.randn(9, 4, 3)
    labels = torch.full((9, 4), -100)
    labels[:, 1] = 0
    labels[0, 2] = labels[3, 3] = 2
    batches = [[*range(9)]]
    found, _ = step_loss(Student(logits), objective(teacher, WeightedCrossEntropy(None, 0.0)), labels, batches)
    own, words = [(i, 1) for i in range(Labeled)] + [(0, 2), (3, 3)], [(i, 1) for i in range(9)] + [(0, 2), (3, 3)]
    term = torch.stack([-F.log_softmax(logits[w], -1)[labels[w]] for w in own]).mean()
    kl = torch.stack(
        [
            4
            * (
                F.softmax(teacher[w] / 2, -1) * (F.log_softmax(teacher[w] / 2, -1) - F.log_softmax(logits[w] / 2, -1))
            ).sum()
            for w in words
        ]
    )
    assert found == pytest.approx(float(by_hand(term, lambda _: kl.mean(), batches)), rel=1e-5)


def test_a_step_without_a_label_is_the_teachers_alone() -> None:
    student = Student(torch.tensor([[0.0, 1.0]] * 9))
    found, gradient = step_loss(
        student,
        objective(student.logits.detach(), WeightedCrossEntropy([1.0, 5.0], 0.0)),
        torch.zeros(9, dtype=torch.long),
        [[6], [7]],
    )
    assert found == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(gradient).all()


def loaded(task: dict[str, Any], *paths: Path, **more: Any) -> tuple[TaskData, list[Unlabelled]]:
    spec = TaskSpec.model_validate(task)
    sources = [Unlabelled.model_validate({"dataset": {"data_files": {"train": str(path)}, **more}}) for path in paths]
    named = [(("steps", 0, "unlabelled"), s) for s in sources]
    return with_unlabelled(
        load_data(spec, Path()), spec, named, Path(), lambda path: Place(".".join(map(str, path)))
    ), sources


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    write(tmp_path / "own" / "train.jsonl", [{"text": f"row {i}", "label": ["bad", "good"][i % 2]} for i in range(10)])
    write(
        tmp_path / "own" / "validation.jsonl",
        [{"text": "A fine film, really!", "label": "good"}, {"text": "...", "label": "bad"}],
    )
    return tmp_path / "own"


def test_the_rows_and_what_is_left_out(own: Path, tmp_path: Path) -> None:
    """A label is not read; what is reported on or held out is left out; a dataset named twice is read once."""
    texts = [*(f"Row {i}." for i in range(12)), "a fine film really"]
    path = write(tmp_path / "more.jsonl", [{"text": t, "label": [3, None]} for t in texts])
    data, (source, _) = loaded(tiny_task(own), path, path)
    (extra,) = data.unlabelled.values()
    assert (len(extra.rows), extra.left_out) == (12, 1)
    params = TrainParams(distill=Distillation(unlabelled=source))
    rows, _ = gather_rows(data, params, 0.3)
    assert (rows.sizes, rows.left_out, rows.labeled, rows.unlabelled) == ((10, 12), (0, 1), 10, 12)
    assert gather_rows(data, TrainParams(distill=Distillation()), 0.3)[0].sizes == (10,), (
        "another training does not see them"
    )
    rows, selection = gather_rows(data, params.model_copy(update={"keep_best": True}), 0.3)
    assert selection is not None
    assert (rows.sizes, rows.left_out, rows.labeled) == ((6, 8), (0, 5), 6)
    mixture = rows.mixture(params.model_copy(update={"sampling": Sampling(method="uniform")}), 2, 0)
    assert mixture is not None
    assert mixture.counts(0) == [7, 7]
    in_queries = rows.in_queries([0, 0, *range(14), 13])
    assert (in_queries.sizes, in_queries.labeled, in_queries.unlabelled) == ((8, 9), 8, 8)
    held = write(tmp_path / "held.jsonl", [{"text": t} for (t,) in selection.texts])
    data, (source,) = loaded(tiny_task(own), held)
    with pytest.raises(InputError, match=r"E305[\s\S]*are held out of train for selection"):
        gather_rows(data, TrainParams(keep_best=True, distill=Distillation(unlabelled=source)), 0.3)


def test_the_key_is_that_of_the_texts(own: Path, tmp_path: Path) -> None:
    rows = [{"text": f"new {i}"} for i in range(4)]
    plain, _ = loaded(tiny_task(own), write(tmp_path / "a.jsonl", rows))
    labeled, _ = loaded(
        tiny_task(own), write(tmp_path / "b.jsonl", [{**row, "label": i} for i, row in enumerate(rows)])
    )
    other, _ = loaded(tiny_task(own), write(tmp_path / "c.jsonl", [*rows, {"text": "one more"}]))
    few, _ = loaded(tiny_task(own), tmp_path / "a.jsonl", max_rows={"train": 2})
    keys = [list(cast("dict[str, str]", d.key("train")["unlabelled"]).values()) for d in (plain, labeled, other, few)]
    assert keys[0] == keys[1]
    assert len({key for (key,) in keys}) == 3
    assert "unlabelled" not in load_data(TaskSpec.model_validate(tiny_task(own)), Path()).key("train")


@pytest.mark.parametrize(
    ("task", "rows", "texts", "labels"),
    [
        ({"type": "text-regression", "text": ["text", "pair"]}, {"text": "x", "pair": "y"}, ("x", "y"), 0),
        ({"type": "token-classification"}, {"text": ["x", "y"]}, ("x", "y"), (0, 0)),
        (
            {"type": "multiple-choice", "choices": "choices"},
            {"text": "x", "choices": {"text": ["a", "b"]}},
            ("x", "a", "b"),
            0,
        ),
        ({"type": "multiple-choice", "choices": ["a", "b"]}, {"text": "x", "a": "1", "b": "2"}, ("x", "1", "2"), 0),
    ],
)
def test_every_kind_of_task_reads_texts(
    task: dict[str, Any], rows: dict[str, Any], texts: tuple[str, ...], labels: Any, tmp_path: Path
) -> None:
    label = {"text-regression": 1.5, "token-classification": ["O", "B-X"], "multiple-choice": 1}[task["type"]]
    mine = {
        k: [f"own-{x}" for x in v] if isinstance(v, list) else v if isinstance(v, dict) else f"own-{v}"
        for k, v in rows.items()
    }
    (tmp_path / "own").mkdir()
    for split, extra in (("train", 0), ("validation", 1)):
        varied = {
            **mine,
            "text": [*mine["text"], "z"][:2] if isinstance(mine["text"], list) else f"{mine['text']} {extra}",
        }
        write(tmp_path / "own" / f"{split}.jsonl", [{**varied, "label": label}])
    data, _ = loaded({**tiny_task(tmp_path / "own"), **task}, write(tmp_path / "more.jsonl", [rows]))
    (extra_rows,) = (e.rows for e in data.unlabelled.values())
    assert (extra_rows.texts, extra_rows.labels) == ((texts,), (labels,))
    if "choices" in rows:
        with pytest.raises(InputError, match="the row has 3 choices"):
            loaded(
                {**tiny_task(tmp_path / "own"), **task},
                write(tmp_path / "more.jsonl", [{**rows, "choices": ["a", "b", "c"]}]),
            )
