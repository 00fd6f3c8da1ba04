"""Keys of a training by what they promise: what stays, what is dropped out, when it is looked, rows at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from e2e.running import recipe_for
from e2e.test_kill import digest
from e2e.test_training import context_for
from helpers import edgeopt

from edgeopt.models.load import load_model
from edgeopt.models.parts import embeddings_of, head_of, is_inside
from edgeopt.spec.recipe import TrainParams
from edgeopt.training import loop, train
from edgeopt.training.held import dropouts
from edgeopt.training.trainer import OurTrainer

SHORT = {"max_steps": 3, "batch_size": 8, "learning_rate": 1e-2, "warmup_ratio": 0.0, "precision": "fp32"}


def trained(classifier: Path, data: Path, work: Path, **params: Any) -> tuple[Any, dict[str, Any]]:
    model = load_model(classifier)
    return model, train(model, classifier, TrainParams.model_validate({**SHORT, **params}), context_for(data, work))


@pytest.mark.parametrize("freeze", ["none", "embeddings", "encoder"])
def test_what_is_frozen_stays_and_the_rest_learns(
    classifier: Path, tiny_data: Path, tmp_path: Path, freeze: str
) -> None:
    model, figures = trained(classifier, tiny_data, tmp_path, freeze=freeze)
    before, head, tables = load_model(classifier).state_dict(), head_of(model), embeddings_of(model)
    stays = {
        "none": lambda name: False,
        "embeddings": lambda name: is_inside(name, tables),
        "encoder": lambda name: not is_inside(name, head),
    }[freeze]
    changed = {name: not torch.equal(p, before[name]) for name, p in model.named_parameters()}
    # the second token type occurs in no row, and keys' biases cancel in the softmax
    assert changed == {name: not stays(name) for name in changed}
    count = sum(p.numel() for name, p in model.named_parameters() if not stays(name))
    assert figures["trainable_parameters"] == count
    assert all(p.requires_grad for p in model.parameters()), "as it was, for whoever trains it next"


def test_dropout_is_that_of_the_training_alone(
    classifier: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[float] = set()
    whole = OurTrainer.training_step

    def look(self: OurTrainer, model: Any, *args: Any, **options: Any) -> Any:
        seen.update(dropouts(model).values())
        return whole(self, model, *args, **options)

    monkeypatch.setattr(OurTrainer, "training_step", look)
    before = load_model(classifier)
    model, _ = trained(classifier, tiny_data, tmp_path / "some", dropout=0.37)
    assert seen == {0.37}
    assert list(dropouts(model).values()) == list(dropouts(before).values())
    probabilities = {k: v for k, v in before.config.to_dict().items() if "dropout" in k}
    assert probabilities.items() <= model.config.to_dict().items()
    seen.clear()
    trained(classifier, tiny_data, tmp_path / "own")
    assert seen == {0.1}


def evaluated(figures: dict[str, Any]) -> list[int]:
    return [step for step, _ in figures["curves"]["eval_accuracy"]]


def test_it_is_looked_every_so_many_steps_and_at_the_end(classifier: Path, tiny_data: Path, tmp_path: Path) -> None:
    _, figures = trained(classifier, tiny_data, tmp_path, max_steps=11, eval_steps=4, keep_best=True)
    assert evaluated(figures) == [4, 8, 11]
    values = dict(figures["curves"]["eval_accuracy"])
    assert figures["selection"]["value"] == max(values.values())
    assert figures["selection"]["step"] == min(s for s, v in values.items() if v == max(values.values()))


def test_patience_counts_what_eval_steps_looks_at(classifier: Path, tiny_data: Path, tmp_path: Path) -> None:
    _, figures = trained(
        classifier,
        tiny_data,
        tmp_path,
        max_steps=40,
        learning_rate=1e-9,
        eval_steps=3,
        early_stopping={"patience": 2},
    )
    assert evaluated(figures) == [3, 6, 9]
    assert figures["optimizer_steps"] == 9


def too_large(limit: int, monkeypatch: pytest.MonkeyPatch, *, at: int = 0) -> list[int]:
    """Let memory run out where a batch has more rows, from optimizer step `at` on; the rows of batches that it had."""
    sizes: list[int] = []
    whole = OurTrainer.training_step

    def step(self: OurTrainer, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
        rows = len(inputs["input_ids"])
        if rows > limit and self.state.global_step >= at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        sizes.append(rows)
        return whole(self, model, inputs, *args, **options)

    monkeypatch.setattr(OurTrainer, "training_step", step)
    return sizes


def applied(folder: Path, model: Path, data: Path, *more: str, **training: Any) -> Any:
    """A run of one step with that training, whose baseline is short."""
    folder.mkdir(exist_ok=True)
    steps = [{"id": "ft", "use": "finetune", "seed": 7, **SHORT, "max_steps": 8, **training}]
    baseline = {"finetune": {"max_steps": 2, "batch_size": 4}}
    recipe = recipe_for(folder, model, data, steps=steps, baseline=baseline)
    return edgeopt("apply", recipe, "--out", folder / "run", "--store", folder / "store", *more)


def test_auto_finds_a_batch_and_is_then_the_training_that_names_it(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out in the middle, when there are checkpoints: nothing of that attempt may be left in the result."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    named = applied(tmp_path / "named", tiny_model, tiny_data, batch_size=8, gradient_accumulation=4)
    assert named.code == 0, named.err
    with monkeypatch.context() as patched:
        sizes = too_large(8, patched, at=3)
        done = applied(tmp_path / "auto", tiny_model, tiny_data, batch_size="auto")
    assert done.code == 0, done.err
    assert "begins again with 16" in done.err and "begins again with 8" in done.err
    assert [sizes.count(n) for n in (32, 16)] == [3, 6]
    assert digest(tmp_path / "auto") == digest(tmp_path / "named")
    report = json.loads((tmp_path / "auto" / "run" / "report.json").read_text())
    step = next(s for s in report["steps"] if s["id"] == "ft")
    assert step["figures"]["batches"] == {".": 8}
    lock = tmp_path / "auto" / "run" / "recipe.lock"
    assert json.loads(lock.read_text())["steps"]["candidate.ft"]["batches"] == {".": 8}
    assert "rows of a batch" in (tmp_path / "auto" / "run" / "report.md").read_text()
    # a run with that lock begins with the batch that was found, where memory would take more
    again = applied(tmp_path / "again", tiny_model, tiny_data, "--locked", "--lock", str(lock), batch_size="auto")
    assert again.code == 0, again.err
    assert "begins again" not in again.err
    assert digest(tmp_path / "again") == digest(tmp_path / "auto")


def test_auto_ends_with_one_row(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_large(0, monkeypatch, at=0)
    # its baseline names its batch: there the error is the same and says what to lower
    done = applied(tmp_path / "named", tiny_model, tiny_data)
    assert done.code == 3 and "error[E406]" in done.err and "lower batch_size" in done.err
    steps = [{"id": "ft", "use": "finetune", **SHORT, "batch_size": "auto"}]
    recipe = recipe_for(
        tmp_path, tiny_model, tiny_data, steps=steps, baseline={"finetune": {**SHORT, "batch_size": "auto"}}
    )
    done = edgeopt("apply", recipe, "--out", tmp_path / "run", "--store", tmp_path / "store")
    assert done.code == 3
    assert "error[E406]" in done.err and "one row" in done.err


def test_several_processes_are_told_before_anything_is_computed(
    tiny_model: Path, tiny_data: Path, tmp_path: Path
) -> None:
    from edgeopt.plan.fit import check_runnable
    from edgeopt.recipe.load import load_recipe
    from edgeopt.support.errors import InputError

    steps = [{"id": "p", "use": "prune.magnitude", "amount": 0.3, "recover": {"batch_size": "auto"}}]
    recipe = load_recipe(recipe_for(tmp_path, tiny_model, tiny_data, steps=steps))
    check_runnable(recipe, 1)
    with pytest.raises(InputError, match="cannot be found by 2 processes") as error:
        check_runnable(recipe, 2)
    assert error.value.issues[0].place is not None and error.value.issues[0].place.line is not None


STOPS = {"eval_steps": 3, "early_stopping": {"patience": 2}, "learning_rate": 1e-9, "max_steps": 24}
#: slow: parts of what another one of them cuts.
CUT = [
    ({"eval_steps": 3, "keep_best": True, "freeze": "embeddings", "dropout": 0.3}, 7),
    pytest.param({"eval_steps": 3, "keep_best": True}, 8, marks=pytest.mark.slow),
    # the first evaluation is the best: it stops at 9. Cut behind one that was no better, and at the last step
    pytest.param(STOPS, 7, marks=pytest.mark.slow),
    (STOPS, 9),
    ({"batch_size": "auto", "freeze": "encoder"}, 5),
]


@pytest.mark.parametrize(("keys", "at"), CUT, ids=lambda value: str(value)[:40])
def test_cut_in_the_middle_it_goes_on_to_the_same_bytes(
    tiny_model: Path,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keys: dict[str, Any],
    at: int,
) -> None:
    from edgeopt.training.callbacks import Checkpoints

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    sizes = too_large(16, monkeypatch)
    whole = applied(tmp_path / "whole", tiny_model, tiny_data, **keys)
    assert whole.code == 0, whole.err
    saves, steps = Checkpoints.on_save, len(sizes)

    def cut(self: Checkpoints, args: Any, state: Any, control: Any, **more: Any) -> None:
        saves(self, args, state, control, **more)
        if args.max_steps > 2 and state.global_step == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "on_save", cut)
        sizes.clear()
        assert applied(tmp_path / "cut", tiny_model, tiny_data, **keys).code == 130
    done = applied(tmp_path / "cut", tiny_model, tiny_data, **keys)
    assert done.code == 0, done.err
    assert len(sizes) == steps, "no batch twice and none left out"
    assert digest(tmp_path / "cut") == digest(tmp_path / "whole")
