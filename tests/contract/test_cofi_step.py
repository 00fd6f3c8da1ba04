"""prune.cofi as a step: interrupted anywhere it gives the same bytes; every kind of task and model; what it tells."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from contract.cutting import cut_at
from contract.kinds import Kind
from e2e.running import recipe_for
from helpers import edgeopt

from edgeopt.models.load import load_model
from edgeopt.models.slicing import structure_of
from edgeopt.step import registry
from edgeopt.store.facts import Fact
from edgeopt.store.store import State
from edgeopt.support.errors import InputError
from edgeopt.testing.build import build, step
from edgeopt.training import loop
from edgeopt.training.callbacks import ShowProgress
from edgeopt.transforms.prune import cofi_training

SHORT = {"max_steps": 4, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}
TUNE = ("finetune", SHORT)
COFI = ("prune.cofi", {**SHORT, "max_steps": 12, "sparsity": 0.6, "recover": SHORT})


def run(model: Path, data: Path, store: Path, *uses: tuple[str, dict[str, Any]], **task: Any) -> list[State]:
    steps = [step(registry.get(use), params, f"s{i}") for i, (use, params) in enumerate(uses)]
    executed = build(steps, model=model, data=data, store=store, **task)
    assert executed.lowered("candidate").figures["parity"]["max_abs_diff"] < 1e-4
    done = {d.step.id: d.state for d in executed.chains["candidate"]}
    return [done[s.id] for s in steps]


def test_interrupted_in_each_training_it_gives_the_same_bytes(
    tiny_model: Path, tiny_data: Path, store: Path, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut within the masks' training, at the start of the recovery, and within that."""
    whole = run(tiny_model, tiny_data, store, TUNE, COFI)[1]
    other = Path(shutil.copytree(begun, tmp_path / "other"))
    build([step(registry.get("finetune"), SHORT, "s0")], model=tiny_model, data=tiny_data, store=other)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    seen: list[tuple[int, int]] = []
    usual = ShowProgress.on_step_end

    def breaking(at: tuple[int, int]) -> Any:
        def end(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
            usual(self, args, state, control, **more)
            seen.append((state.max_steps, state.global_step))
            if seen[-1] == at:
                raise KeyboardInterrupt

        return end

    for at in ((12, 7), (4, 1), (4, 3)):
        with monkeypatch.context() as patched:
            patched.setattr(ShowProgress, "on_step_end", breaking(at))
            with pytest.raises(KeyboardInterrupt):
                run(tiny_model, tiny_data, other, TUNE, COFI)
    again = run(tiny_model, tiny_data, other, TUNE, COFI)[1]
    assert seen[:8] == [*((12, i) for i in range(1, 8)), (12, 7)], (
        "what the last checkpoint lacked was trained again, and no more"
    )
    assert again.digest == whole.digest
    assert again.figures["asked_sparsity"] == whole.figures["asked_sparsity"]
    assert again.figures["optimizer_steps"] == whole.figures["optimizer_steps"] == 16


def test_another_teacher_and_other_layers(tiny_model: Path, tiny_electra: Path, tiny_data: Path, store: Path) -> None:
    """The step before named as its teacher is the default; a deeper teacher, a wider one, layers that stay matched."""

    def cut(**keys: Any) -> State:
        few = ("prune.cofi", {**COFI[1], "max_steps": 4, "recover": {**SHORT, "max_steps": 2}, **keys})
        return run(tiny_model, tiny_data, store, TUNE, ("prune.layers", {"keep": [1]}), few)[2]

    usual, named, whole = cut(), cut(teacher="s1"), cut(teacher="s0")
    assert usual.digest == named.digest and usual.key != named.key
    assert "references" not in usual.manifest["parts"]
    assert whole.manifest["parts"]["references"]["teacher"] != named.manifest["parts"]["references"]["teacher"]
    assert whole.digest != named.digest
    with pytest.raises(InputError, match="'match' names 2 layers of the teacher, and the student has 1"):
        cut(teacher="s0", match=[0, 1])
    tuned = run(tiny_electra, tiny_data, store, TUNE)[0]
    assert cut(teacher=str(tuned.folder), match=[0]).digest not in (usual.digest, whole.digest)


@pytest.mark.parametrize("family", ["bert", "electra"])
def test_what_is_left_is_what_the_figures_say(
    family: str, tiny_model: Path, tiny_electra: Path, tiny_data: Path, store: Path
) -> None:
    once = (
        "prune.cofi",
        {
            **COFI[1],
            "recover": None,
            "gradient_accumulation": 2,
            "gradient_checkpointing": True,
            "layerwise_lr_decay": 0.9,
        },
    )
    twice = ("prune.cofi", {**COFI[1], "sparsity": 0.8, "mask_learning_rate": 0.5})
    model = tiny_model if family == "bert" else tiny_electra
    states = run(model, tiny_data, store, TUNE, once, twice)
    for state, target in zip(states[1:], (0.6, 0.8), strict=True):
        structure = structure_of(load_model(state.folder))
        asked, shape = state.figures["asked_sparsity"], state.figures["structure"]
        assert (asked["asked"], asked["got"]) == (target, pytest.approx(shape["sparsity"], abs=1e-4))
        assert asked["got"] == pytest.approx(1 - structure.weights / structure.dense.structure.weights, abs=1e-4)
        assert asked["reached"] == (abs(asked["got"] - target) <= 0.01)
        assert Fact.UNEVEN in state.facts
        assert state.figures["parameters"] == sum(p.numel() for p in load_model(state.folder).parameters())
    assert states[1].figures["optimizer_steps"] == 12
    assert states[2].figures["trainable_parameters"] == states[2].figures["parameters"]
    with pytest.raises(InputError) as caught:
        run(model, tiny_data, store, TUNE, once, twice, ("prune.cofi", COFI[1]))
    assert "gone before the step, and it is to reach 0.6" in caught.value.issues[0].message


def test_the_best_checkpoint_is_one_that_has_reached_the_sparsity(
    tiny_model: Path, tiny_data: Path, store: Path
) -> None:
    keys = {**COFI[1], "keep_best": True, "eval_steps": 2, "sparsity_warmup": 0.5, "recover": None}
    cut = run(tiny_model, tiny_data, store, TUNE, ("prune.cofi", keys))[1]
    assert cut.figures["selection"]["step"] >= 6
    assert cut.figures["asked_sparsity"]["reached"]
    assert [step for step, _ in cut.figures["curves"]["sparsity"]] == list(range(1, 13))


def test_interrupted_behind_its_last_step_it_still_knows_the_whole_ramp(
    tiny_model: Path, tiny_data: Path, store: Path, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best checkpoint, which is an earlier one, is all that is read then: it does not know what came behind it."""
    keys = {**COFI[1], "keep_best": True, "eval_steps": 3, "sparsity_warmup": 0.5, "recover": None}
    steps = (TUNE, ("prune.cofi", keys))
    whole = run(tiny_model, tiny_data, store, *steps)[1]
    other = Path(shutil.copytree(begun, tmp_path / "other"))
    with cut_at(monkeypatch, 12, of=12):
        run(tiny_model, tiny_data, other, *steps)
    again = run(tiny_model, tiny_data, other, *steps)[1]
    assert again.digest == whole.digest
    assert again.figures["curves"] == whole.figures["curves"]
    assert len(again.figures["curves"]["sparsity"]) == 12


def test_a_recovery_may_learn_from_labels_and_from_another_teacher(
    tiny_model: Path, tiny_data: Path, store: Path
) -> None:
    def recovered(**keys: Any) -> State:
        few = {**COFI[1], "max_steps": 4, "recover": {**SHORT, "max_steps": 2, **keys}}
        return run(tiny_model, tiny_data, store, TUNE, ("prune.cofi", few))[1]

    own, labels = recovered(), recovered(distill={"losses": {"labels": 1, "logits": 0}})
    assert recovered(seed=5).digest != own.digest, "a seed of its own counts"
    other = recovered(distill={"teacher": "s0", "losses": {"logits": 1, "attention": 0}})
    assert len({own.digest, labels.digest, other.digest}) == 3
    assert own.figures["structure"] == labels.figures["structure"] == other.figures["structure"]


def test_every_kind_of_task(kind: Kind, tiny_model: Path, store: Path) -> None:
    states = run(tiny_model, kind.data, store, TUNE, ("prune.cofi", {**COFI[1], "max_steps": 4}), task=kind.task)
    assert states[1].figures["asked_sparsity"]["got"] > 0.4
    assert states[1].figures["train_loss"] >= 0


def test_the_report_says_that_a_sparsity_was_not_reached(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    """Neurons in blocks that are too coarse for the sparsity."""
    steps = [
        {"id": "tune", "use": TUNE[0], **SHORT},
        {"id": "coarse", "use": COFI[0], **COFI[1], "multiple": 32, "max_steps": 2, "recover": None},
    ]
    recipe = recipe_for(tmp_path, tiny_model, tiny_data, steps=steps)
    done = edgeopt("apply", recipe, "--out", tmp_path / "run", "--store", tmp_path / "store")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    found = {s["id"]: s["figures"]["asked_sparsity"] for s in report["steps"] if "asked_sparsity" in s["figures"]}
    assert not found["coarse"]["reached"]
    assert any("'coarse' was asked for a sparsity of 0.6 and reached" in note for note in report["notes"])
    assert "sparsity requested and reached" in (tmp_path / "run" / "report.md").read_text()
    assert "Sparsity in coarse" in (tmp_path / "run" / "report.html").read_text()


def test_more_than_its_masks_can_learn_is_told(
    tiny_model: Path, tiny_data: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In long trainings a closed gate still opens in 5 of 100 draws, so that heads and neurons come to .95 at most."""
    monkeypatch.setattr(cofi_training, "_LONG", 1)
    keys = {**COFI[1], "sparsity": 0.98, "masks": ["heads", "neurons"], "max_steps": 2, "recover": None}
    asked = run(tiny_model, tiny_data, store, TUNE, ("prune.cofi", keys))[1].figures["asked_sparsity"]
    assert asked["learned"] == pytest.approx(0.9525, abs=2e-3)
