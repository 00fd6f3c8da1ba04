"""Several tasks that learn from teachers: each batch from its own task's, whether that knows the one task or all."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from contract.cutting import cut_at
from contract.test_several_training import SHORT, applied, state_of, tasks, weights
from helpers import tiny_recipe
from torch.nn import functional as F

from edgeopt.data import load_data
from edgeopt.models.load import takes
from edgeopt.plan import make_plan
from edgeopt.plan.cost import costs
from edgeopt.recipe.load import load_recipe
from edgeopt.run.findings.notes import layer_notes
from edgeopt.spec.recipe import OneTask, SeveralTasks, TrainParams
from edgeopt.store.store import Store
from edgeopt.support.errors import InputError
from edgeopt.support.progress import Progress
from edgeopt.tasks import task_of
from edgeopt.tasks.encode import Encoder
from edgeopt.training.objective import attached
from edgeopt.training.rows import TrainRows


def alone(folder: Path, bare: Path, outputs: int) -> Path:
    """A model of one task alone, as transformers has it, whose weights are like no other's."""
    from transformers import AutoModelForSequenceClassification

    shutil.copytree(bare, folder)
    torch.manual_seed(outputs)
    model = AutoModelForSequenceClassification.from_pretrained(bare, num_labels=outputs, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def teachers(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("teachers")
    return {name: alone(folder / name, tiny_model, n) for name, n in (("mood", 2), ("both", 2), ("alike", 1))}


def look(model: Any, encoder: Any, texts: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """(logits, the last layer's states of the real tokens) of rows whose texts are one sequence each."""
    feed = {name: torch.from_numpy(values) for name, values in encoder.pad(encoder.ids(texts)).items()}
    found = model.eval()(**feed, output_hidden_states=True)
    return found.logits, found.hidden_states[-1][feed["attention_mask"].bool()]


def test_the_loss_of_a_batch_is_that_of_its_own_tasks_teacher(
    tiny_model: Path, tiny_data: Path, teachers: dict[str, Path], tmp_path: Path
) -> None:
    """Against the formulas: T²·KL or squared distance to the teacher alone, its last layer, and the labels."""
    from transformers import AutoModelForSequenceClassification

    from edgeopt.training.distill_by_task import distilled_by_task

    given_tasks = tasks(tiny_data)
    given_tasks["mood"]["weight"] = 3.0
    several = SeveralTasks.of({name: OneTask.model_validate(part) for name, part in given_tasks.items()})
    data = load_data(several, tiny_data)
    rows = data.report.take([i + 32 * number for number in range(3) for i in range(6)], "report")
    task: Any = task_of(several, data.label_names)
    model, encoder = task.load(tiny_model)[0], Encoder(tiny_model, 16)
    spec = {"teacher": {name: str(folder) for name, folder in teachers.items()}, "temperature": 3.0, "match": [1, 1]}
    params = TrainParams.model_validate(
        {**SHORT, "distill": {**spec, "losses": {"labels": 0.5, "logits": 2.0, "hidden": 0.25}}}
    )
    states = {f"{folder} of {name}": SimpleNamespace(folder=folder, digest=name) for name, folder in teachers.items()}
    given, _ = task.training_rows(encoder, rows, takes(model))
    pool = TrainRows(rows, (6, 6, 6), ("alike", "both", "mood"), (0, 0, 0), apart=True)
    context: Any = SimpleNamespace(states=states, answers=tmp_path, seed=0, progress=Progress(show=False))
    loss = task.training_loss(params, None, rows.labels)
    objective = distilled_by_task(model, params, context, task, pool, given, loss)
    assert objective is not None
    scores = [label for number, label in rows.labels if number == 0]
    low, span = min(scores), max(scores) - min(scores)
    for number, (name, weight) in enumerate((("alike", 1.0), ("both", 1.0), ("mood", 3.0))):
        own = range(6 * number, 6 * number + 6)
        batch = task.collator(encoder)([given[i] for i in own])
        labels, texts = torch.tensor([rows.labels[i][1] for i in own]), [rows.texts[i][1:] for i in own]
        teacher = AutoModelForSequenceClassification.from_pretrained(teachers[name], dtype=torch.float32)
        with torch.no_grad():
            wanted, theirs = look(teacher, encoder, texts)
            student = model(**{k: v for k, v in batch.items() if k != "labels"}).logits[:, 1:]
            if name == "alike":
                by_labels = F.mse_loss(student[:, 0], (labels.float() - low) / span)
                by_teacher = F.mse_loss(student[:, 0], (wanted[:, 0] - low) / span)
            else:
                by_labels = F.cross_entropy(student[:, :2], labels)
                told = F.log_softmax(student[:, :2] / 3.0, -1)
                by_teacher = 9.0 * F.kl_div(told, F.softmax(wanted / 3.0, -1), reduction="batchmean")
            expected = weight * (0.5 * by_labels + 2.0 * by_teacher)
            if name == "mood":  # of the others the student reads each text by itself
                feed = {k: v for k, v in batch.items() if k not in ("labels", "tasks")}
                layers = model.bert(**feed, output_hidden_states=True).hidden_states[1:]
                real = batch["attention_mask"].bool()
                distances = [F.mse_loss(each[real], theirs) for each in layers]
                expected = expected + weight * 0.25 * torch.stack(distances).mean()
            with attached(model, objective):
                found = objective.loss(model, {**batch, "row": torch.tensor([*own])}, 0, 1)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4, msg=name)


def test_a_distillation_that_was_cut_goes_on_to_the_same_bytes(
    tiny_model: Path,
    tiny_data: Path,
    teachers: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a teacher for each task, of which one knows all tasks and is followed layer by layer."""
    by_task = {**{name: str(folder) for name, folder in teachers.items()}, "alike": "baseline"}
    losses = {"labels": 0.5, "logits": 1.0, "hidden": 1.0}
    turns = {"method": "annealed", "steps_per_epoch": 5}
    step = {"use": "distill", "teacher": by_task, "losses": losses, **SHORT}
    steps = [{**step, "max_steps": 10, "sampling": turns, "keep_best": True, "student": {"last": 1}}]
    whole = applied(tmp_path, tiny_model, tiny_data, steps, tmp_path / "whole")
    with cut_at(monkeypatch, 7, of=10):
        applied(tmp_path, tiny_model, tiny_data, steps, tmp_path / "cut")
    resumed = applied(tmp_path, tiny_model, tiny_data, steps, tmp_path / "cut")
    before, after = (weights(state_of(found, "distill")) for found in (whole, resumed))
    assert all(np.array_equal(before[name], after[name]) for name in before)
    (figures,) = (d.state.figures for d in whole.chains["candidate"] if d.step.id == "distill")
    assert figures["teacher"]["cached_bytes"] > 0
    assert figures["answers_alone"] == ["both"]
    (note,) = (note for d in whole.chains["candidate"] for note in layer_notes(d))
    assert note.startswith("Step 'distill' followed the answers of the teachers of both, and not their layers")


def planned(folder: Path, model: Path, data: Path, step: dict[str, Any]) -> Any:
    whole = {"model": {"id": str(model)}, "task": None, "tasks": tasks(data), "baseline": {"finetune": {**SHORT}}}
    return make_plan(load_recipe(tiny_recipe(folder, **whole, steps=[step])), Store(folder / "store"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"alike": None}, "names no teacher of alike"),
        ({"moods": "mood"}, "there is no task 'moods'"),
        ({"mood": "alike"}, "has 1 outputs, and the task 2"),
        ({"mood": "bare"}, "has no trained head"),
        ({"mood": "nothing"}, "there is no step and no folder 'nothing'"),
        ({"unlabelled": True}, "does not say of which task the rows are"),
        ({"losses": {"logits": 0.0, "hidden": 1.0}}, "leaves nothing to learn for alike, both"),
    ],
)
def test_teachers_that_do_not_fit_are_refused_at_plan_time(
    change: dict[str, Any],
    said: str,
    tiny_model: Path,
    tiny_data: Path,
    teachers: dict[str, Path],
    tmp_path: Path,
) -> None:
    known = {**{name: str(folder) for name, folder in teachers.items()}, "bare": str(tiny_model)}
    step: dict[str, Any] = {"use": "distill", **SHORT}
    given = {name: known[name] for name in ("mood", "both", "alike")}
    for key, value in change.items():
        if key == "losses":
            step["losses"] = value
        elif key == "unlabelled":
            step["unlabelled"] = {"dataset": {"path": str(tiny_data)}, "text": "text"}
        elif value is None:
            given.pop(key)
        else:
            given[key] = known.get(value, value)
    with pytest.raises(InputError) as caught:
        planned(tmp_path, tiny_model, tiny_data, {**step, "teacher": given})
    (issue,) = caught.value.issues
    assert said in issue.message
    assert issue.help
    if said == "has no trained head":
        assert issue.help.startswith("give one that was fine-tuned for mood alone")


def test_each_teacher_is_counted_on_the_rows_of_its_task(
    tiny_model: Path, tiny_data: Path, teachers: dict[str, Path], tmp_path: Path
) -> None:
    step = {"use": "distill", **SHORT, "max_steps": 3}
    by_task, by_all = (
        planned(tmp_path, tiny_model, tiny_data, {**step, "teacher": teacher})
        for teacher in ({name: str(folder) for name, folder in teachers.items()}, "baseline")
    )
    each, together = (
        [p.before for p in costs(plan, Store(tmp_path / "store")).trainings[1].passes if p.part == "teacher"]
        for plan in (by_task, by_all)
    )
    assert len(each) == 3
    assert len(together) == 1
    assert sum(filter(None, each)) == pytest.approx(together[0])


def test_one_task_has_no_teachers_by_task(tiny_model: Path, tmp_path: Path) -> None:
    step = {"use": "distill", "teacher": {"mood": "baseline"}, **SHORT}
    recipe = tiny_recipe(tmp_path, model={"id": str(tiny_model)}, baseline={"finetune": {**SHORT}}, steps=[step])
    with pytest.raises(InputError, match="a teacher for each of several tasks, and there is one"):
        load_recipe(recipe)
