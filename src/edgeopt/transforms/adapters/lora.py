"""LoRA through peft (Hu et al. 2021), with rsLoRA and DoRA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from edgeopt.contract import Contract, Fact, facts
from edgeopt.errors import step_failed
from edgeopt.models.anatomy import anatomy
from edgeopt.recipe.schema import TaskSpec, TrainedStepParams
from edgeopt.store import State
from edgeopt.transforms.base import Figures, StepContext, Transform


class LoraParams(TrainedStepParams):
    """peft's words; the head is trained besides the adapter."""

    r: int = Field(16, ge=1, le=1024, description="rank")
    alpha: float = Field(32, gt=0, description="scale: alpha / r, with rsLoRA alpha / √r")
    dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: Literal["attention", "all-linear"] | list[str] = Field(
        "attention", description="attention: query, key and value; all-linear: every linear of the encoder; or names"
    )
    bias: Literal["none", "all", "lora_only"] = "none"
    use_rslora: bool = False
    use_dora: bool = False
    learning_rate: float = Field(3e-4, gt=0, lt=1)


class Lora(Transform[LoraParams]):
    """Low-rank updates beside frozen weights; the state holds base and adapter in peft's layout."""

    name = "adapter.lora"
    summary = "low-rank adapter and head, the base frozen"
    Params = LoraParams
    contract = Contract(requires=facts(Fact.TORCH), forbids=facts(Fact.ADAPTER, Fact.SPARSE),
                        adds=facts(Fact.ADAPTER, Fact.TRAINED_HEAD), data="train", needs=("peft",))
    training = ""

    def check(self, params: LoraParams, task: TaskSpec) -> list[tuple[tuple[str, ...], str, str]]:
        if params.target_modules == []:
            return [(("target_modules",), "target_modules is empty: nothing would be adapted", 'use "attention" or "all-linear"')]
        return []

    def apply(self, state: State, params: LoraParams, context: StepContext) -> None:
        from edgeopt.models.load import ADAPTER, copy_base, load_model
        from edgeopt.training import train

        model = attach(load_model(state.folder), params, context.seed)
        context.figures.update(train(model, state.folder, params, context))
        copy_base(state.folder, context.output)
        folder = context.output / ADAPTER
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        # peft writes where the base was: a path of this machine, which means nothing elsewhere
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = ""
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")

    def observe(self, before: State, after: Path, params: LoraParams) -> Figures:
        from safetensors import safe_open

        from edgeopt.models.load import ADAPTER

        path = after / ADAPTER / "adapter_model.safetensors"
        with safe_open(path, "numpy") as weights:
            norms = [float(abs(weights.get_tensor(k)).max()) for k in weights.keys() if "lora_B" in k]  # noqa: SIM118
        if not norms or max(norms) == 0.0:
            raise step_failed("E402", "training left the adapter at zero", help="raise epochs, max_steps or learning_rate")
        return {"adapter_bytes": path.stat().st_size}


def attach(model: Any, params: LoraParams, seed: int) -> Any:
    """The model under peft with a fresh adapter, its matrices drawn from the seed."""
    import torch
    from peft import LoraConfig, TaskType, get_peft_model

    shape = anatomy(model.config.model_type)
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=params.r, lora_alpha=params.alpha, lora_dropout=params.dropout, bias=params.bias,
        target_modules=_targets(model, params), modules_to_save=list(shape.head), use_rslora=params.use_rslora, use_dora=params.use_dora,
    )  # fmt: skip
    torch.manual_seed(seed)
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        linears = sorted({n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)})
        raise step_failed("E408", f"target_modules does not fit the model: {error}", help=f"linear layers: {', '.join(linears)}") from None


def _targets(model: Any, params: LoraParams) -> list[str]:
    """Full names of the encoder's linears for the two words, so that the head is never adapted."""
    from edgeopt.models.load import prunable

    if isinstance(params.target_modules, list):
        return params.target_modules
    names = [name for name, _ in prunable(model)]
    if params.target_modules == "attention":
        names = [n for n in names if n.endswith(anatomy(model.config.model_type).attention)]
    return names
