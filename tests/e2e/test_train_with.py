"""Training on several datasets: which rows come in, what they never touch, what of them is in keys, lock and report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from e2e.running import recipe_for
from helpers import edgeopt, tiny_task, write_rows

from edgeopt.data import TaskData, load_data
from edgeopt.data.extra import with_extra
from edgeopt.plan import load_rows, make_plan
from edgeopt.recipe.load import load_recipe
from edgeopt.spec.recipe import TaskSpec, TrainParams
from edgeopt.store.store import Store
from edgeopt.support.errors import InputError, Place
from edgeopt.training.rows import gather_rows

TRAINING = {"epochs": 3, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def loaded(task: dict[str, Any]) -> TaskData:
    spec = TaskSpec.model_validate(task)
    return with_extra(load_data(spec, Path()), spec, Path(), lambda path: Place(".".join(map(str, path))))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Ten rows of train and two of validation, of the classes bad and good."""
    (tmp_path / "own").mkdir()
    write(tmp_path / "own" / "train.jsonl", [{"text": f"row {i}", "label": ["bad", "good"][i % 2]} for i in range(10)])
    write(
        tmp_path / "own" / "validation.jsonl",
        [{"text": "A fine film, really!", "label": "good"}, {"text": "...", "label": "bad"}],
    )
    return tmp_path / "own"


def source(path: str, **more: Any) -> dict[str, Any]:
    return {"dataset": {"data_files": {"train": path}, **more.pop("dataset", {})}, **more}


def test_rows_of_the_report_split_are_left_out(own: Path, tmp_path: Path) -> None:
    """Case, spaces and punctuation do not make another text; a text of punctuation alone stands for itself."""
    texts = ["a FINE film , really", "a fine film", "row 3", "...", "?", "A fine film - really?!"]
    path = write(tmp_path / "more.jsonl", [{"text": t, "label": "bad"} for t in texts])
    (extra,) = loaded(tiny_task(own, train_with=[source(path)])).extra
    assert [t for (t,) in extra.rows.texts] == ["a fine film", "row 3", "?"]
    assert (extra.left_out, extra.source) == (3, "more.jsonl")
    (few,) = loaded(tiny_task(own, train_with=[source(path, dataset={"max_rows": {"train": 2}})])).extra
    assert (len(few.rows), few.left_out) == (2, 3)


@pytest.mark.parametrize(
    ("labels", "given", "expected"),
    [
        (None, ["good", "bad", "bad"], [1, 0, 0]),
        (["good", "bad"], [0, 1, "1"], [1, 0, 0]),
        (["bad", "bad", "good"], [0, 1, 2.0], [0, 0, 1]),
    ],
)
def test_classes_are_the_tasks(
    own: Path, tmp_path: Path, labels: list[str] | None, given: list[Any], expected: list[int]
) -> None:
    path = write(tmp_path / "more.jsonl", [{"review": f"new {i}", "stars": label} for i, label in enumerate(given)])
    (extra,) = loaded(tiny_task(own, train_with=[source(path, text="review", label="stars", labels=labels)])).extra
    assert extra.rows.labels == tuple(expected)


def test_a_class_number_wins_over_a_class_named_so(own: Path, tmp_path: Path) -> None:
    """The task's classes are 0 and 1; the other dataset has them the other way round."""
    for split in ("train", "validation"):
        write(own / f"{split}.jsonl", [{"text": f"{split} {i}", "label": i % 2} for i in range(4)])
    path = write(tmp_path / "more.jsonl", [{"text": f"new {i}", "label": i % 2} for i in range(4)])
    (extra,) = loaded(tiny_task(own, train_with=[source(path, labels=["1", "0"])])).extra
    assert extra.rows.labels == (1, 0, 1, 0)


def test_a_class_that_the_task_has_not(own: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "more.jsonl", [{"text": "x", "label": 2}])
    with pytest.raises(
        InputError,
        match=r"'goood' is no class of the task\n  --> task.train_with.0.labels\n  help: did you mean 'good'",
    ):
        loaded(tiny_task(own, train_with=[source(path, labels=["bad", "goood"])]))
    with pytest.raises(InputError, match="the label '2' is not one of bad, good"):
        loaded(tiny_task(own, train_with=[source(path, labels=["bad", "good"])]))


def test_scores_of_a_regression(tiny_data: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "more.jsonl", [{"a": "x", "b": "y", "score": 1.5}])
    task = tiny_task(
        tiny_data,
        type="text-regression",
        text=["text", "pair"],
        label="score",
        train_with=[source(path, text=["a", "b"])],
    )
    (extra,) = loaded(task).extra
    assert (extra.rows.texts, extra.rows.labels) == ((("x", "y"),), (1.5,))


def test_only_training_sees_the_rows(own: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "more.jsonl", [{"text": f"new {i}", "label": "bad"} for i in range(5)])
    alone, both = loaded(tiny_task(own)), loaded(tiny_task(own, train_with=[source(path)]))
    assert both.carve(0.3) == alone.carve(0.3)
    assert both.calibration(100, 0.1, 1) == alone.calibration(100, 0.1, 1)
    assert both.report == alone.report
    rows, selection = gather_rows(both, TrainParams(), 0.3)
    assert selection is None
    assert rows.sizes == (10, 5)
    assert rows.rows.texts == alone.train.texts + both.extra[0].rows.texts


def test_rows_held_out_for_selection_are_left_out_of_the_others_too(own: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "more.jsonl", [{"text": f"Row {i}.", "label": "bad"} for i in range(12)])
    data = loaded(tiny_task(own, train_with=[source(path)]))
    rows, selection = gather_rows(data, TrainParams(keep_best=True), 0.3)
    assert selection is not None
    held = {t.rpartition(" ")[2] for (t,) in selection.texts}
    assert len(held) == 4
    assert not held & {t.rstrip(".").rpartition(" ")[2] for (t,) in rows.rows.texts}
    assert (rows.sizes, rows.left_out) == ((6, 8), (0, 4))


@pytest.fixture
def recipe(tmp_path: Path, tiny_model: Path, tiny_data: Path) -> Path:
    """256 rows and 30 of another dataset, 10 of which validation has too."""
    write_rows(tmp_path / "more", train=20, validation=1)
    with (tmp_path / "more" / "train.jsonl").open("a") as file:
        file.writelines((tiny_data / "validation.jsonl").read_text().splitlines(keepends=True)[:10])
    task = tiny_task(tiny_data, max_length=32, train_with=[{"dataset": {"path": "more"}}])
    steps = [
        {
            "id": "ft",
            "use": "finetune",
            **TRAINING,
            "sampling": {"method": "annealed", "steps_per_epoch": 4},
            "class_weights": "balanced",
        },
        {"id": "int8", "use": "quantize.static", "calibration": {"samples": 8}},
    ]
    return recipe_for(
        tmp_path, tiny_model, tiny_data, task=task, steps=steps, baseline={"finetune": {**TRAINING, "max_steps": 3}}
    )


def test_a_run_says_what_it_trained_on(recipe: Path, tmp_path: Path) -> None:
    """276 rows, 32 an epoch, α = 1, .6, .2: of the 20 rows 2.32, 5.68 and 12.00."""
    done = edgeopt("apply", recipe, "--out", tmp_path / "run", "--store", tmp_path / "store")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    figures = next(s["figures"] for s in report["steps"] if (s["chain"], s["id"]) == ("candidate", "ft"))
    own, more = figures["sources"]
    assert (own["rows"], own["left_out"], own["drawn"]) == (256, 0, [30, 26, 20])
    assert (more["source"], more["rows"], more["left_out"], more["drawn"]) == ("more", 20, 10, [2, 6, 12])
    assert figures["train_rows"] == 276
    assert figures["class_weights"] == {"0": 1.0, "1": 1.0}
    assert figures["optimizer_steps"] == 12
    assert (
        "Trained with 20 rows of more as well; 10 more are in validation too and were left out. Nothing is measured "
        "on them." in report["notes"]
    )
    assert len((tmp_path / "run" / "predictions.jsonl").read_text().splitlines()) == 96
    made = make_plan(load_recipe(recipe), Store(tmp_path / "store"))
    data = load_rows(made.recipe, made.source)
    lock = json.loads((tmp_path / "run" / "recipe.lock").read_text())
    assert lock["data"] == {
        "train": data.train.fingerprint,
        "report": data.report.fingerprint,
        "train_with.0": data.extra[0].rows.fingerprint,
    }
    with (tmp_path / "more" / "train.jsonl").open("a") as file:
        file.write(json.dumps({"text": "word1 word2", "label": 0}) + "\n")
    locked = edgeopt("apply", recipe, "--out", tmp_path / "run", "--store", tmp_path / "store", "--locked")
    assert locked.code == 2
    assert "data.train_with.0" in locked.err
    plan = edgeopt("plan", recipe, "--store", tmp_path / "store")
    assert "data: 256 train + 21 of more (10 that validation has too left out) and 96 validation rows" in plan.out
    (ft,) = (line for line in plan.out.splitlines() if line.startswith("candidate.ft"))
    assert "stale" in ft
    assert "the rows of task.train_with changed" in ft


def test_only_steps_that_train_have_the_rows_in_their_key(recipe: Path, tmp_path: Path) -> None:
    def parts() -> dict[str, Any]:
        from edgeopt.plan import key_parts

        plan = make_plan(load_recipe(recipe), Store(tmp_path / "store"))
        assert plan.data is not None
        return {s.id: key_parts(s, "input", plan, plan.data.key("train")) for s in plan.chains["candidate"]}

    before = parts()
    rows = [json.loads(line) for line in (tmp_path / "more" / "train.jsonl").read_text().splitlines()]
    (tmp_path / "more" / "train.jsonl").unlink()
    as_csv = "text,label\n" + "".join(f"{r['text']},{r['label']}\n" for r in rows)
    (tmp_path / "more" / "train.csv").write_text(as_csv)
    assert parts() == before
    (tmp_path / "more" / "train.csv").write_text(as_csv + "word1 word2,1\n")
    after = parts()
    assert {name for name in before if after[name] != before[name]} == {"ft"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`datasets.load_dataset` answers with rows whose classes are named, the other way round than the task's."""
    import datasets

    calls: list[str] = []
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["good", "bad"])}
    )

    def load(path: str, name: str | None, revision: str | None = None) -> datasets.DatasetDict:
        calls.append(path)
        rows = {"sentence": ["from the hub", "as well", "a fine film really"], "label": [0, 1, 0]}
        hidden = {"sentence": [""], "label": [-1]}
        return datasets.DatasetDict(
            train=datasets.Dataset.from_dict(rows, features=features),
            test=datasets.Dataset.from_dict(hidden, features=features),
        )

    monkeypatch.setattr(datasets, "load_dataset", load)
    return calls


def test_a_dataset_of_the_hub(hub: list[str], own: Path, tmp_path: Path, tiny_model: Path) -> None:
    """A plan reads no more than what is local, not the hub's rows, and keeps what the last run found."""
    more = write(tmp_path / "more.jsonl", [{"text": "local", "label": "bad"}])
    task = tiny_task(own, train_with=[{"dataset": {"path": "someone/reviews"}, "text": "sentence"}, source(more)])
    recipe, store = (
        recipe_for(tmp_path, tiny_model, own, task=task, steps=[{"use": "finetune"}]),
        Store(tmp_path / "store"),
    )
    plan = make_plan(load_recipe(recipe), store)
    assert plan.data is None
    assert {s.why for s in plan.steps} == {"the dataset is not downloaded yet"}
    assert (
        "on the hub, not checked; there is no folder of that name here"
        in edgeopt("plan", recipe, "--store", tmp_path / "store").out
    )
    assert hub == []
    data = load_rows(plan.recipe, plan.source)
    assert hub == ["someone/reviews"]
    assert [(e.source, e.rows.labels, e.left_out) for e in data.extra] == [
        ("someone/reviews", (1, 0), 1),
        ("more.jsonl", (0,), 0),
    ]

    from edgeopt.plan import data_key, hub_data_name

    store.prepare()
    store.remember_source(hub_data_name(plan.recipe), data.key("train"))
    assert data_key(plan, store) == data.key("train")
    write(tmp_path / "more.jsonl", [{"text": "other", "label": "bad"}])
    assert data_key(plan, store) is None, "what was found before is not of these rows"
    (tmp_path / "more.jsonl").unlink()
    with pytest.raises(InputError, match=r"E301[\s\S]*more.jsonl does not exist\n  --> .*recipe.yaml:\d+"):
        make_plan(plan.recipe, store)


def test_texts_without_labels_of_the_hub(hub: list[str], own: Path, tmp_path: Path, tiny_model: Path) -> None:
    unlabelled = {"dataset": {"path": "someone/reviews"}, "text": "sentence"}
    steps = [{"use": "finetune"}, {"use": "distill", "unlabelled": unlabelled}]
    recipe = load_recipe(recipe_for(tmp_path, tiny_model, own, task=tiny_task(own), steps=steps))
    plan = make_plan(recipe, Store(tmp_path / "store"))
    assert plan.data is None
    assert hub == []
    (found,) = load_rows(recipe, plan.source).unlabelled.values()
    assert (found.source, found.rows.texts, found.rows.labels, found.left_out) == (
        "someone/reviews",
        (("from the hub",), ("as well",)),
        (0, 0),
        1,
    )
