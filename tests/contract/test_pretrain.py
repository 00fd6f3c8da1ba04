"""Pre-training on plain text: what it keeps, what tasks share, and the same bytes however often it is cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from contract.cutting import cut_at
from safetensors.numpy import load_file
from transformers import AutoModelForMaskedLM

from edgeopt.run.execute import Executed
from edgeopt.step import registry
from edgeopt.store.facts import Fact
from edgeopt.store.store import State
from edgeopt.support.errors import InputError, StepError
from edgeopt.testing.build import build, step, steps_towards
from edgeopt.training import probe as probing

PARAMS = {
    "max_steps": 6,
    "batch_size": 4,
    "gradient_accumulation": 2,
    "learning_rate": 1e-2,
    "precision": "fp32",
    "max_length": 16,
}
TASK = steps_towards(frozenset({Fact.TRAINED_HEAD}))


def pretrained(executed: Executed) -> State:
    return next(d.state for d in executed.chains["candidate"] if d.step.use == "pretrain.mlm")


def run(model: Path, data: Path, store: Path, *before: Any, **keys: Any) -> Executed:
    params = {**PARAMS, "corpus": {"path": str(data)}, **keys.pop("params", {})}
    mlm = step(registry.get("pretrain.mlm"), params, "mlm")
    return build([*before, mlm, *TASK], model=model, data=data, store=store, **keys)


@pytest.fixture(scope="module")
def whole(tiny_model: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Executed:
    return run(tiny_model, tiny_data, tmp_path_factory.mktemp("whole"))


def test_it_stands_before_the_head_of_the_task_and_goes_on_from_its_own(
    whole: Executed, tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    steps = [done.step for done in whole.chains["candidate"]]
    assert [s.use for s in steps] == ["pretrain.mlm", "load", "finetune", "lower.onnx"]
    made = pretrained(whole)
    assert made.facts == {Fact.TORCH}
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_model, made.folder))
    assert all((after[f"bert.{name}"] == before[name]).all() for name in before if name.startswith("pooler"))
    assert not (after["bert.embeddings.word_embeddings.weight"] == before["embeddings.word_embeddings.weight"]).all()
    assert made.figures["words_head"] == "new"
    _, info = AutoModelForMaskedLM.from_pretrained(made.folder, output_loading_info=True)
    assert not info["missing_keys"]
    again = run(made.folder, tiny_data, tmp_path, params={"max_steps": 1})
    assert pretrained(again).figures["words_head"] == "the checkpoint's"
    first, _ = (pretrained(each).figures["curves"]["eval_held_out_loss"] for each in (again, whole))
    assert first[0][1] == whole_end(whole)


def whole_end(whole: Executed) -> float:
    return float(pretrained(whole).figures["curves"]["eval_held_out_loss"][-1][1])


def test_its_figures_say_what_was_read(whole: Executed, tiny_data: Path) -> None:
    figures = pretrained(whole).figures
    text, curves = figures["corpus"], figures["curves"]
    assert (text["documents"], text["held_out_documents"]) == (64, 32)
    assert text["tokens_seen"] == pytest.approx(6 * 8 * 16, rel=0.4)
    assert [at for at, _ in curves["eval_held_out_loss"]] == [0, 1, 2, 3, 4, 5, 6]
    assert curves["eval_held_out_loss"][-1][1] < curves["eval_held_out_loss"][0][1]
    assert 0 <= curves["eval_held_out_accuracy"][-1][1] <= 1


def test_a_recipe_of_another_task_has_the_same_pre_training(whole: Executed, tiny_model: Path, tiny_data: Path) -> None:
    store = pretrained(whole).folder.parents[1]
    other = run(tiny_model, tiny_data, store, task={"type": "text-regression"}, label="score")
    assert [done.step.use for done in other.chains["candidate"] if done.cached] == ["pretrain.mlm"]


def test_behind_another_step_the_model_is_loaded_again(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    cut = step(registry.get("prune.layers"), {"keep": [1]}, "cut")
    done = run(tiny_model, tiny_data, tmp_path, cut, params={"max_steps": 1}).chains["candidate"]
    assert [d.step.id for d in done] == ["load", "cut", "mlm", "load-2", "before-0", "onnx"]
    assert json.loads((done[3].state.folder / "config.json").read_text())["edgeopt_structure"]["layers"]


@pytest.mark.parametrize("cut", [1, 4])
def test_resumed_it_gives_the_same_bytes(
    cut: int, whole: Executed, tiny_model: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cut_at(monkeypatch, cut, of=PARAMS["max_steps"]):
        run(tiny_model, tiny_data, tmp_path)
    resumed = pretrained(run(tiny_model, tiny_data, tmp_path))
    assert resumed.files == pretrained(whole).files
    assert resumed.figures["curves"] == pretrained(whole).figures["curves"]


def test_a_model_that_lost_dimensions_is_refused(
    whole: Executed, tiny_data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    narrow = step(
        registry.get("distill"),
        {"max_steps": 1, "student": {"hidden": 16}, "losses": {"labels": 1, "logits": 0}},
        "narrow",
    )
    with pytest.raises(InputError, match="16 of its 32 hidden dimensions"):
        run(tiny_model, tiny_data, tmp_path, narrow, params={"max_steps": 1})


def test_a_probe_leaves_the_weights_as_they_are_and_is_not_made_twice(
    whole: Executed, tiny_model: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = {"every": 4, "max_steps": 2, "batch_size": 8, "learning_rate": 1e-3}
    looked: list[int] = []
    value = probing._value

    def fails_at_the_second(training: Any, begun: Path, *more: Any) -> float:
        looked.append(int(begun.parent.name))
        if len(looked) == 2:
            raise RuntimeError("cut")
        return value(training, begun, *more)

    monkeypatch.setattr(probing, "_value", fails_at_the_second)
    with pytest.raises(StepError, match="cut"):
        run(tiny_model, tiny_data, tmp_path, params={"probe": probe})
    done = run(tiny_model, tiny_data, tmp_path, params={"probe": probe})
    made = pretrained(done)
    assert looked == [0, 4, 4, 6]
    assert made.files == pretrained(whole).files
    found = made.figures["curves"].pop("probe")
    assert [at for at, _ in found] == [0, 4, 6] and all(0 <= score <= 1 for _, score in found)
    assert made.figures["curves"] == pretrained(whole).figures["curves"]
    assert made.figures["probe"]["metric"] == "accuracy"
    read = ["data" in next(d.step.parts for d in each.chains["candidate"]) for each in (done, whole)]
    assert read == [True, False], "the curve depends on the task's rows, and without it nothing does"
