"""Mutated model folders: refused with a reason, by `validate` or by the step that reads them, or usable.

Never a traceback.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from helpers import Result, edgeopt, tiny_recipe, tiny_task

from fuzz.mutate import Mutator, assert_sound, numbers, restored

CONFIG, WEIGHTS, TOKENIZER, STATED = "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"


@pytest.fixture(scope="module")
def sound(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of two named classes, with what folders may hold besides."""
    from transformers import AutoModelForSequenceClassification

    folder = tmp_path_factory.mktemp("fuzz") / "sound"
    names = {0: "bad", 1: "good"}
    AutoModelForSequenceClassification.from_pretrained(
        tiny_model, id2label=names, label2id={v: k for k, v in names.items()}
    ).save_pretrained(folder)
    for name in (TOKENIZER, STATED):
        (folder / name).write_bytes((tiny_model / name).read_bytes())
    return folder


def header(mutator: Mutator, path: Path) -> None:
    """Change the table of a safetensors file, and make the length before it fit in most cases."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    head = mutator.json(data[8 : 8 + length])
    path.write_bytes(
        (struct.pack("<Q", len(head)) if mutator.rng.random() < 7 / 8 else data[:8]) + head + data[8 + length :]
    )


def another(mutator: Mutator, folder: Path) -> None:
    """Put in a file that a folder may have besides."""
    odd = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "/etc", "x": mutator.odd()}, ensure_ascii=True)
    name, content = mutator.rng.choice(
        (
            ("adapter_config.json", odd),
            ("added_tokens.json", json.dumps({"<new>": mutator.odd(), "[CLS]": 2})),
            (
                "special_tokens_map.json",
                json.dumps({"cls_token": mutator.odd(), "pad_token": {"content": mutator.odd()}}),
            ),
            ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\ngood\nBad\n"),
            ("vocab.json", json.dumps({"<s>": 0, "a": mutator.odd()})),
            ("merges.txt", "#version: 0.2\na b c\n"),
            ("sentencepiece.bpe.model", str(mutator.odd())[:100]),
            ("model.safetensors.index.json", json.dumps({"weight_map": {"a": mutator.odd()}})),
        )
    )
    (folder / name).write_bytes(content.encode("utf-8", "surrogatepass"))
    if mutator.rng.random() < 2 / 3:
        (folder / mutator.rng.choice((TOKENIZER, CONFIG, WEIGHTS, TOKENIZER))).unlink()


def mutate(mutator: Mutator, folder: Path) -> None:
    change: Callable[[], object] = mutator.rng.choice(
        (
            *(
                lambda name=name: mutator.file(folder / name)
                for name in (CONFIG, CONFIG, CONFIG, TOKENIZER, TOKENIZER, STATED, WEIGHTS)
            ),
            lambda: header(mutator, folder / WEIGHTS),
            lambda: header(mutator, folder / WEIGHTS),
            lambda: another(mutator, folder),
        )
    )
    change()


def read(recipe: Path) -> Result:
    """The step that reads a model, without what a run does around it; and the model's answer to a row."""
    import torch

    from edgeopt.measure.parity import sample_rows, torch_logits
    from edgeopt.models.load import load_model
    from edgeopt.plan import check
    from edgeopt.recipe.load import load_recipe
    from edgeopt.step.transform import StepContext
    from edgeopt.store.store import State
    from edgeopt.support.errors import EdgeoptError
    from edgeopt.support.progress import Progress
    from edgeopt.tasks import task_of
    from edgeopt.transforms.load import Load

    loaded = load_recipe(recipe)
    try:
        plan = check(loaded)
        assert plan.data is not None and plan.source.folder is not None
        with TemporaryDirectory() as name, redirect_stderr(io.StringIO()):
            output = Path(name)
            context = StepContext(loaded.head.task, plan.data, output, output, 0, Progress(show=False))
            Load().apply(
                State(plan.source.folder, {"digest": "", "facts": [], "figures": {}, "files": {}}),
                Load.Params(),
                context,
            )
            task = task_of(loaded.head.task, plan.data.label_names)
            torch_logits(load_model(output), sample_rows(plan.data.report, output, task, 4))
    except EdgeoptError as error:
        return Result(int(error.exit_code), "", str(error))
    assert torch.is_grad_enabled()
    return Result(0, "", "")


@pytest.mark.slow  # 500 folders, each read by transformers where validate lets it pass: minutes
def test_model_folders(sound: Path, tiny_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    recipe = tiny_recipe(
        tmp_path,
        model={"id": str(folder)},
        task=tiny_task(tiny_data),
        steps=[{"id": "int8", "use": "quantize.dynamic"}],
        baseline=None,
    )

    def case(number: int) -> Result:
        mutate(Mutator(number), restored(sound, folder))
        done = edgeopt("validate", recipe)
        return done if done.code else read(recipe)

    assert_sound(numbers(500), case, codes={0, 2})
