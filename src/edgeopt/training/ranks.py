"""AdaLoRA's reallocation of ranks, after every optimizer step, and across interruptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

if TYPE_CHECKING:
    from peft import PeftModel

_SMOOTHED = ("ipt", "exp_avg_ipt", "exp_avg_unc")
_TENSORS, _RANKS = "ranks.safetensors", "ranks.json"


class AllocateRanks(TrainerCallback):  # type: ignore[misc]
    """Calls peft's `update_and_allocate` where peft's documentation asks for it.

    That is after the step, before the gradients are cleared. The pattern of ranks is kept out of the adapter's config:
    with it, peft cuts the matrices when an adapter is saved, to nothing where a layer lost all its ranks, and the
    optimizer's state of a checkpoint would no longer fit. What is masked is zero in the saved matrices all the same.
    The smoothed importances go into the checkpoint, so that a resumed training takes the same decisions.
    """

    def __init__(self, model: PeftModel, tinit: float, tfinal: float) -> None:
        self.tuner = model.base_model
        self.config = model.active_peft_config
        self.tinit, self.tfinal = tinit, tfinal
        self.pattern: dict[str, Any] | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        total = state.max_steps
        self.config.total_step = total
        self.config.tinit = min(int(self.tinit * total), total - 1)
        self.config.tfinal = min(int(self.tfinal * total), total - 1 - self.config.tinit)
        if state.global_step:
            self._read(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.config.rank_pattern = self.pattern
        self.tuner.update_and_allocate(state.global_step + 1)  # the Trainer counts the step afterwards
        self.pattern, self.config.rank_pattern = self.config.rank_pattern, None

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        from safetensors.torch import save_file

        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        allocator = self.tuner.rankallocator
        save_file(
            {f"{kind} {name}": t.contiguous() for kind in _SMOOTHED for name, t in getattr(allocator, kind).items()},
            folder / _TENSORS,
        )
        (folder / _RANKS).write_text(json.dumps(self.pattern), encoding="utf-8")

    def _read(self, folder: Path) -> None:
        from safetensors.torch import load_file

        for key, tensor in load_file(folder / _TENSORS).items():
            kind, _, name = key.partition(" ")
            getattr(self.tuner.rankallocator, kind)[name] = tensor
        self.pattern = json.loads((folder / _RANKS).read_text(encoding="utf-8"))
