"""distill as a step and as a key of any training: what learns from whom, and what is in the key.

Answers that were kept change nothing.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract.kinds import Kind
from safetensors.numpy import load_file

from edgeopt.models.load import load_model
from edgeopt.models.slicing import structure_of
from edgeopt.run.execute import Executed
from edgeopt.step import registry
from edgeopt.store.facts import Fact
from edgeopt.store.store import State
from edgeopt.support.errors import InputError, StepError
from edgeopt.testing.build import build, step
from edgeopt.training import loop
from edgeopt.training.callbacks import ShowProgress

SHORT = {"max_steps": 4, "batch_size": 8, "learning_rate": 1e-3, "precision": "fp32"}
TUNE = ("tune", "finetune", SHORT)
Use = tuple[str, str, dict[str, Any]]


def execute(model: Path, data: Path, store: Path, *uses: Use, **task: Any) -> Executed:
    return build(
        [step(registry.get(use), params, id) for id, use, params in uses], model=model, data=data, store=store, **task
    )


def states(executed: Executed) -> dict[str, State]:
    return {d.step.id: d.state for d in executed.chains["candidate"]}


def weights(state: State) -> dict[str, Any]:
    return dict(load_file(state.folder / "model.safetensors"))


def distill(id: str = "small", **keys: Any) -> Use:
    return (id, "distill", {**SHORT, "student": {"last": 1}, **keys})


def test_what_the_key_has_of_a_teacher(tiny_model: Path, tiny_data: Path, store: Path) -> None:
    """The key has the teacher's state, however it is named; its name makes no difference to a training without one."""
    other = ("tune", "finetune", {**SHORT, "learning_rate": 2e-3})
    one = states(execute(tiny_model, tiny_data, store, TUNE, distill(teacher="tune")))["small"]
    renamed = states(
        execute(tiny_model, tiny_data, store, ("first", "finetune", SHORT), distill("second", teacher="first"))
    )["second"]
    assert one.key == renamed.key
    alike = states(execute(tiny_model, tiny_data, store, TUNE, distill(teacher=["tune"])))["small"]
    assert alike.key != one.key
    assert alike.digest == one.digest
    # the same input and another teacher: the baseline was trained with other keys
    baseline = execute(tiny_model, tiny_data, store, TUNE, distill(teacher="baseline"))
    small = states(baseline)["small"]
    assert small.manifest["parts"]["input"] == one.manifest["parts"]["input"]
    assert small.manifest["parts"]["references"] == {"teacher": baseline.torch_state("baseline").digest}
    assert small.key != one.key
    assert small.digest != one.digest
    assert "references" not in states(baseline)["tune"].manifest["parts"]
    assert "distill" not in states(baseline)["tune"].manifest["parts"]["params"]
    changed = execute(tiny_model, tiny_data, store, other, ("again", "finetune", SHORT), distill(teacher="tune"))
    assert states(changed)["small"].key not in (one.key, small.key)


def test_kept_answers_and_interruptions_change_nothing(
    tiny_model: Path, tiny_data: Path, store: Path, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Computed anew for every batch, the teacher gives the same training; cut short and resumed, the same bytes."""
    losses = {"labels": 0.5, "hidden": 1.0, "cosine": 0.5, "attention": 1.0, "values": 1.0}
    terms = {"teacher": "tune", "losses": losses}
    kept = states(execute(tiny_model, tiny_data, store, TUNE, distill(**terms)))["small"]
    live = states(execute(tiny_model, tiny_data, store, TUNE, distill(**terms, cache_gb=0.0)))["small"]
    assert kept.figures["teacher"]["cached_bytes"] > 0
    assert live.figures["teacher"]["cached_bytes"] == 0
    for name, values in weights(kept).items():
        np.testing.assert_allclose(values, weights(live)[name], atol=2e-5, err_msg=name)
    other = Path(shutil.copytree(begun, tmp_path / "other"))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    usual = ShowProgress.on_step_end

    def breaking(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        usual(self, args, state, control, **more)
        if state.global_step == 2 and (other / "answers").exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ShowProgress, "on_step_end", breaking)
        with pytest.raises(KeyboardInterrupt):
            execute(tiny_model, tiny_data, other, TUNE, distill(**terms))
    assert states(execute(tiny_model, tiny_data, other, TUNE, distill(**terms)))["small"].digest == kept.digest


def test_any_training_takes_a_teacher_and_students_come_in_every_form(
    tiny_model: Path, tiny_data: Path, store: Path
) -> None:
    """Distill while an adapter trains, after pruning, in a recovery; narrow a model; then quantize the last."""
    taught = {"teacher": "tune", "match": "dynamic"}
    block = {**taught, "losses": {"hidden": 1.0, "values": 1.0}}
    done = execute(
        tiny_model,
        tiny_data,
        store,
        TUNE,
        ("lora", "adapter.lora", {**SHORT, "r": 2, "distill": block}),
        ("merge", "merge", {}),
        ("cut", "prune.fisher", {"sparsity": 0.3, "multiple": 1}),
        ("recover", "distill", {**SHORT, **taught, "losses": {"attention": 1.0, "hidden": 1.0}, "relation_heads": 1}),
        (
            "zeros",
            "prune.magnitude",
            {
                "amount": 0.3,
                "recover": {**SHORT, "distill": {"teacher": ["baseline", "merge"], "losses": {"labels": 1.0}}},
            },
        ),
        ("narrow", "distill", {**SHORT, "student": {"hidden": 16, "neurons": 8, "keep": "first"}, **block}),
        ("int8", "quantize.dynamic", {}),
    )
    found = states(done)
    assert Fact.UNEVEN in found["recover"].facts
    assert found["zeros"].figures["sparsity"] == pytest.approx(0.3, abs=0.01)
    structure = structure_of(load_model(found["narrow"].folder))
    assert (structure.hidden, max(x.neuron_count for x in structure.layers)) == (16, 8)
    assert all(f"edgeopt_objective.{name}" not in weights(found["narrow"]) for name in ("weight", "bias"))
    assert done.lowered("candidate").figures["parity"]["max_abs_diff"] < 1e-4
    assert Fact.INT8 in found["int8"].facts


@pytest.mark.parametrize("use", ["adapter.prompt", "adapter.prefix"])
def test_virtual_tokens_learn_from_layers(use: str, tiny_model: Path, tiny_data: Path, store: Path) -> None:
    """The tokens that stand before a text's own have no counterpart in the teacher."""
    adapt = {
        **SHORT,
        "virtual_tokens": 4,
        "learning_rate": 1e-2,
        "distill": {"teacher": "tune", "losses": {"hidden": 1.0, "attention": 1.0, "values": 1.0}},
    }
    found = states(execute(tiny_model, tiny_data, store, TUNE, ("adapt", use, adapt)))["adapt"]
    assert 0 < found.figures["train_loss"] < 10


def test_heads_that_were_cut_are_uneven_and_labels_need_no_teacher(
    tiny_model: Path, tiny_data: Path, begun: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(begun, tmp_path / "store"))
    alone = {"losses": {"labels": 1.0, "logits": 0.0}}
    done = states(
        execute(
            tiny_model,
            tiny_data,
            store,
            TUNE,
            ("few", "distill", {**SHORT, "student": {"heads": 1}, **alone}),
            ("short", "prune.layers", {"keep": [1]}),
            ("tuned", "finetune", SHORT),
            distill(**alone),
        )
    )
    assert Fact.UNEVEN in done["few"].facts
    assert "references" not in done["few"].manifest["parts"]
    assert not (store / "answers").exists()
    again = states(
        execute(
            tiny_model,
            tiny_data,
            store,
            TUNE,
            ("short", "prune.layers", {"keep": [1]}),
            ("tuned", "finetune", SHORT),
        )
    )
    same = states(execute(tiny_model, tiny_data, store, TUNE, distill(**alone)))
    assert same["small"].files["model.safetensors"] == again["tuned"].files["model.safetensors"], (
        "hard labels alone: what fine-tuning the subset gives"
    )


def test_checkpoints_teach_and_learn(
    tiny_model: Path, tiny_electra: Path, tiny_data: Path, store: Path, tmp_path: Path
) -> None:
    """Checkpoints teach by logits and by layers, and are students.

    A tuned ELECTRA, whose tokenizer numbers the words otherwise, teaches a BERT by its logits; one with the same tokens
    by its layers; a checkpoint is a student that replaces a pruned model.
    """
    tuned = states(execute(tiny_electra, tiny_data, store, ("tune", "finetune", {**SHORT, "max_steps": 2})))[
        "tune"
    ].folder
    teacher = shutil.copytree(tuned, tmp_path / "teacher")
    small = distill(teacher=str(teacher), losses={"hidden": 1.0, "attention": 1.0})
    layers = states(execute(tiny_model, tiny_data, store, TUNE, small))["small"]
    assert layers.figures["teacher"]["cached_bytes"] > 0
    path = teacher / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["good1"], vocabulary["word1"] = vocabulary["word1"], vocabulary["good1"]
    path.write_text(json.dumps(tokenizer))
    logits = states(execute(tiny_model, tiny_data, store, TUNE, distill(teacher=str(teacher))))["small"]
    assert logits.figures["teacher"]["cached_bytes"] > 0
    (teacher / "config.json").write_text(
        json.dumps({**json.loads((teacher / "config.json").read_text()), "id2label": {"0": "1", "1": "0"}})
    )
    with pytest.raises(InputError, match="classes in another order"):
        execute(tiny_model, tiny_data, store, TUNE, distill(teacher=str(teacher)))
    replaced = (
        "other",
        "distill",
        {**SHORT, "student": {"model": str(tiny_electra)}, "teacher": "tune", "losses": {"cosine": 1.0}},
    )
    done = states(execute(tiny_model, tiny_data, store, TUNE, ("zeros", "prune.magnitude", {"amount": 0.3}), replaced))[
        "other"
    ]
    assert json.loads((done.folder / "config.json").read_text())["model_type"] == "electra"
    assert Fact.SPARSE not in done.facts


def test_layers_that_do_not_match_are_an_error_of_the_step(tiny_model: Path, tiny_data: Path, store: Path) -> None:
    with pytest.raises(
        (InputError, StepError), match="'match' names 2 layers of the teacher, and the student has 1"
    ) as caught:
        execute(
            tiny_model,
            tiny_data,
            store,
            TUNE,
            ("short", "prune.layers", {"keep": [0]}),
            ("small", "distill", {**SHORT, "teacher": "tune", "losses": {"hidden": 1.0}, "match": [0, 1]}),
        )
    assert caught.value.issues[0].code == "E208"


def test_every_kind_of_task(kind: Kind, tiny_model: Path, store: Path) -> None:
    terms = {"teacher": ["tune"], "losses": {"labels": 0.5, "hidden": 1.0, "values": 1.0, "attention": 1.0}}
    small, live = (
        states(execute(tiny_model, kind.data, store, TUNE, distill(**terms, cache_gb=gb), task=kind.task))["small"]
        for gb in (1.0, 0.0)
    )
    for name, values in weights(small).items():
        np.testing.assert_allclose(values, weights(live)[name], atol=5e-5, err_msg=name)
