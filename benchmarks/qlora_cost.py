"""What a frozen 4-bit base saves and costs: full fine-tuning, LoRA, and QLoRA with and without double quantization.

Memory: bytes of the base's parameters and buffers by type, counted; and the largest resident memory of a fresh process
that loads the model and takes three training steps. Time: one training step of each in turn, in random order within a
round, all in one process on the same batch of full length, in the precision that `auto` means here.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import arguments, save, spread
from edgeopt.support import host

SUBJECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "full": ("finetune", {}),
    "lora": ("adapter.lora", {"r": 16, "target_modules": "all-linear"}),
    "qlora": ("adapter.qlora", {"r": 16, "target_modules": "all-linear", "double_quant": False}),
    "qlora, double quantization": ("adapter.qlora", {"r": 16, "target_modules": "all-linear", "double_quant": True}),
}
#: BERT-base and MPNet-base alike
BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "vocab_size": 30522,
}


def main() -> None:
    parser = arguments(__doc__ or "", repeats=20)
    parser.add_argument("--base-size", action="store_true", help="a BERT-base with random weights instead of --model")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=128, help="tokens of every row")
    parser.add_argument("--name", default="qlora_cost", help="of the file in results/")
    parser.add_argument(
        "--memory-of", choices=SUBJECTS, help="measure this subject's memory and print it (what the benchmark starts)"
    )
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(memory(options.memory_of, options.model, options.batch, options.length)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = classifier(None if options.base_size else options.model, Path(scratch))
        held = {name: fresh_process(name, folder, options) for name in SUBJECTS}
        seconds = step_seconds(folder, options)
    save(
        options.name,
        {
            "what": f"step: forward, backward and AdamW on {options.batch} rows of {options.length} tokens; memory: "
            "bytes, of a process that takes 3 steps",
            "model": "BERT-base, random weights" if options.base_size else options.model.name,
            "precision": host.resolve_precision("auto"),
            "rounds": options.repeats,
            "memory": held,
            "step_ms": {name: spread([1000 * s for s in found]) for name, found in seconds.items()},
            "step_over_lora": {
                name: spread([s / x for s, x in zip(found, seconds["lora"], strict=True)])
                for name, found in seconds.items()
                if name != "lora"
            },
            "frozen_base_over_float": {
                name: round(held[name]["base_bytes"] / held["lora"]["base_bytes"], 3)
                for name in SUBJECTS
                if name.startswith("qlora")
            },
        },
    )


def classifier(model: Path | None, folder: Path) -> Path:
    """The model, or one of BERT-base's shape with random weights, with a head of two classes."""
    from edgeopt.support.quiet import quiet_libraries

    quiet_libraries()
    import torch
    from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    made = (
        BertForSequenceClassification(BertConfig(**BASE))
        if model is None
        else AutoModelForSequenceClassification.from_pretrained(model, dtype="float32")
    )
    made.save_pretrained(folder)
    return folder


def fresh_process(name: str, folder: Path, options: Any) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.qlora_cost",
        "--memory-of",
        name,
        "--model",
        folder,
        "--batch",
        options.batch,
        "--length",
        options.length,
    ]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def adapted(name: str, folder: Path) -> tuple[dict[str, int], Any]:
    """Bytes by type of the base as it is loaded, which for all but `full` is frozen, and the model to be trained."""
    from edgeopt.models.load import load_model
    from edgeopt.step import registry
    from edgeopt.store.store import State

    use, params = SUBJECTS[name]
    if use == "finetune":
        model: Any = load_model(folder)
        model.requires_grad_(True)
        return bytes_by_type(model), model
    method: Any = registry.get(use)
    settings = method.Params.model_validate(params)
    base = method.load(State(folder, {}), settings)
    return bytes_by_type(base), method.attach(base, settings)


def bytes_by_type(model: Any) -> dict[str, int]:
    """Bytes of parameters and buffers by type, and of the scales that bitsandbytes keeps beside a 4-bit matrix."""
    import torch

    found: Counter[str] = Counter()
    for tensor in [*model.parameters(), *model.buffers(), *(t for p in model.parameters() for t in scales(p))]:
        found[str(tensor.dtype).removeprefix("torch.")] += (
            tensor.numel() * torch.empty(0, dtype=tensor.dtype).element_size()
        )
    return dict(found)


def scales(parameter: Any) -> list[Any]:
    state = getattr(parameter, "quant_state", None)
    nested = [state.state2.absmax, state.offset] if state is not None and state.nested else []
    return [] if state is None else [state.absmax, *nested]


def training_step(model: Any, batch: int, length: int) -> Callable[[], None]:
    """One optimizer step on random rows, as the Trainer takes it."""
    import torch

    device = next(model.parameters()).device
    torch.manual_seed(0)
    rows = {
        "input_ids": torch.randint(1000, 2000, (batch, length), device=device),
        "attention_mask": torch.ones(batch, length, dtype=torch.long, device=device),
        "labels": torch.randint(0, 2, (batch,), device=device),
    }
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5)
    low = host.resolve_precision("auto") == "bf16"

    def step() -> None:
        model.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            loss = model(**rows).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def memory(name: str, folder: Path, batch: int, length: int) -> dict[str, Any]:
    """What this process takes: by the libraries alone, and at most while it loads and trains.

    Weights that are read from a file count once they are used, and those that were quantized were read in float32
    first.
    """
    import peft  # noqa: F401
    import torch
    import transformers.trainer  # noqa: F401

    from edgeopt.training.accounting import count, forget_peaks, peaks

    torch.set_num_threads(host.cpus())
    forget_peaks()
    before = peaks()["peak_rss_bytes"]  # nothing was taken since
    by_type, model = adapted(name, folder)
    step = training_step(model, batch, length)
    for _ in range(3):
        step()
    return {
        "base_bytes_by_type": by_type,
        "base_bytes": sum(by_type.values()),
        "trainable_parameters": count(model)["trainable_parameters"],
        "rss_of_libraries_bytes": before,
        **peaks(),
    }


def step_seconds(folder: Path, options: Any) -> dict[str, list[float]]:
    """Seconds of every round's step of each subject; two rounds before them do not count."""
    import torch

    torch.set_num_threads(host.cpus())
    steps = {name: training_step(adapted(name, folder)[1], options.batch, options.length) for name in SUBJECTS}
    seconds: dict[str, list[float]] = {name: [] for name in SUBJECTS}
    shuffled, order = random.Random(0), list(SUBJECTS)
    for turn in range(-2, options.repeats):
        shuffled.shuffle(order)
        for name in order:
            began = time.perf_counter()
            steps[name]()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    main()
