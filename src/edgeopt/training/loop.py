"""Training through transformers' Trainer: resumable to the bit, selecting on rows held out of train."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt import host
from edgeopt.data import Split
from edgeopt.distributed import TrainedAlong
from edgeopt.models.anatomy import anatomy
from edgeopt.recipe.schema import TrainParams
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.encode import Encoder, Features, length

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, Trainer

    from edgeopt.training.accounting import Clock
    from edgeopt.transforms.base import StepContext

#: Seconds between checkpoints: what a crash can cost.
CHECKPOINT_SECONDS = 30.0


def train(model: PreTrainedModel, folder: Path, params: TrainParams, context: StepContext, *, keep_zeros: bool = False,
          callbacks: Sequence[Any] = (), optimizer: str | None = None) -> dict[str, Any]:  # fmt: skip
    """Train the parameters that require a gradient, in place. keep_zeros: pruned weights stay zero.

    folder: where tokenizer.json is. callbacks: transformers', called before ours, so that what they save is in a
    checkpoint before it counts as whole. optimizer: transformers' name of one, where not its default.
    Returns figures: seconds, examples a second, steps, parameters, memory. Raises StepError E407 when the loss is not a number."""
    import torch

    from edgeopt.training.accounting import Clock, count, forget_peaks, peaks
    from edgeopt.training.callbacks import COMPLETE

    torch.set_num_threads(host.cpus())
    if host.is_busy():
        context.progress.say(f"other programs keep this machine busy: {host.cpus()} threads wait for each other; EDGEOPT_THREADS=1 may be quicker")
    data = context.data
    rows, selection = data.carve(context.task.selection) if params.selects else (data.train, None)
    encoder = Encoder(folder, context.task.max_length)
    clock = Clock()
    forget_peaks()
    checkpoints = context.work / "checkpoints"
    masks = frozen_zeros(model) if keep_zeros else {}
    with context.progress.bar("train", 1) as bar:
        trainer = _trainer(model, params, context, rows, selection, encoder, checkpoints, bar, masks, [clock, *callbacks], optimizer, clock)
        resume = _last_complete(checkpoints, COMPLETE)
        started = time.monotonic()
        result = trainer.train(resume_from_checkpoint=resume)
        seconds = time.monotonic() - started
    if context.helps:
        raise TrainedAlong
    _finite(model)
    return {
        "train_rows": len(rows),
        "optimizer_steps": trainer.state.global_step,
        "train_seconds": round(seconds, 3),
        "examples_per_second": round(result.metrics.get("train_samples_per_second", 0.0), 1),
        "train_loss": round(float(result.training_loss), 5),
        **clock.figures(),
        **peaks(),
        **count(model),
        "precision": host.resolve_precision(params.precision),
        **_best(trainer, context),
    }


def _trainer(
    model: PreTrainedModel, params: TrainParams, context: StepContext, rows: Split, selection: Split | None,
    encoder: Encoder, checkpoints: Path, bar: Any, masks: dict[Any, Any], more: Sequence[Any], optimizer: str | None, clock: Clock,
) -> Trainer:  # fmt: skip
    import inspect

    from transformers import EarlyStoppingCallback, Trainer

    from edgeopt.models.load import bare, layer_count
    from edgeopt.training.callbacks import Checkpoints, FollowEpoch, KeepZeros, ShowProgress
    from edgeopt.training.optimizer import parameter_groups
    from edgeopt.training.sampler import LengthGroupedSampler

    accepted = set(inspect.signature(bare(model).forward).parameters)
    task = task_of(context.task, context.data.label_names)
    train_rows, _ = task.training_rows(encoder, rows, accepted)
    held_out = selection or rows.take([], "selection")
    select_rows, select_features = task.training_rows(encoder, held_out, accepted)
    args = _arguments(params, context, checkpoints, selection is not None, optimizer, task)
    batch = params.batch_size * max(1, args.world_size)
    sampler = LengthGroupedSampler([length(r) for r in train_rows], batch, args.seed)
    shape = anatomy(bare(model).config.model_type)

    class GroupedTrainer(Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
            return sampler

        def get_batch_samples(self, *args: Any, **options: Any) -> Any:
            with clock.load():
                return super().get_batch_samples(*args, **options)

        def create_optimizer(self, model: Any = None) -> Any:
            if getattr(self, "optimizer", None) is None and params.layerwise_lr_decay is not None:
                target = self.model if model is None else model
                cls, options = self.get_optimizer_cls_and_kwargs(self.args, target)
                groups = parameter_groups(
                    target, set(self.get_decay_parameter_names(target)), learning_rate=params.learning_rate,
                    weight_decay=params.weight_decay, layer_decay=params.layerwise_lr_decay, anatomy=shape,
                    layers=layer_count(bare(target).config),
                )  # fmt: skip
                self.optimizer = cls(groups, **options)
            return super().create_optimizer(model)

    callbacks: list[Any] = [*more, FollowEpoch(sampler), ShowProgress(bar, batch * params.gradient_accumulation), Checkpoints(CHECKPOINT_SECONDS)]
    if masks:
        callbacks.append(KeepZeros(masks))
    if params.early_stopping:
        callbacks.append(EarlyStoppingCallback(params.early_stopping.patience))
    trainer = GroupedTrainer(
        model=model,
        args=args,
        data_collator=task.collator(encoder),
        train_dataset=train_rows,
        eval_dataset=select_rows or None,
        compute_metrics=None if task.selects_by_loss else _metrics(task, held_out, select_features),
        callbacks=callbacks,
    )
    from transformers import PrinterCallback, ProgressCallback

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def _metrics(task: Task, rows: Split, features: Features) -> Any:
    """The task's metrics of what the model gives for the rows, as Trainer asks for them."""
    return lambda p: task.metrics(task.stack_labels(rows.labels), task.gather(p.predictions, features))


def _arguments(params: TrainParams, context: StepContext, checkpoints: Path, selects: bool, optimizer: str | None, task: Task) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=params.epochs,
        max_steps=params.max_steps or -1,
        learning_rate=params.learning_rate,
        per_device_train_batch_size=params.batch_size,
        per_device_eval_batch_size=params.batch_size if task.selects_by_loss else max(32, params.batch_size),
        prediction_loss_only=task.selects_by_loss,
        gradient_accumulation_steps=params.gradient_accumulation,
        activation_checkpointing=params.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if params.gradient_checkpointing else None,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(params.schedule, params.schedule),
        warmup_steps=params.warmup_ratio,
        weight_decay=params.weight_decay,
        bf16=host.resolve_precision(params.precision) == "bf16",
        use_cpu=not host.has_cuda(),
        ddp_backend="gloo" if context.processes > 1 and not host.has_cuda() else None,
        ddp_find_unused_parameters=False,
        seed=context.seed,
        eval_strategy="epoch" if selects else "no",
        save_strategy="epoch" if selects else "no",
        load_best_model_at_end=selects,
        metric_for_best_model=task.selection_metric if selects else None,
        greater_is_better=not task.selects_by_loss if selects else None,
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=10,
        logging_nan_inf_filter=False,
        report_to=[],
        **({"optim": optimizer} if optimizer else {}),
        disable_tqdm=True,
        dataloader_pin_memory=host.has_cuda(),
        remove_unused_columns=False,
        label_names=["labels"],
    )


def _last_complete(checkpoints: Path, marker: str) -> str | None:
    """The newest checkpoint that was written to its end; half-written ones are removed."""
    found: list[tuple[int, Path]] = []
    for folder in checkpoints.glob("checkpoint-*"):
        if (folder / marker).exists():
            found.append((int(folder.name.rpartition("-")[2]), folder))
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return str(max(found)[1]) if found else None


def frozen_zeros(model: Any) -> dict[torch.Tensor, torch.Tensor]:
    """Masks of the prunable weights that hold zeros: {parameter: 0/1 mask}."""
    from edgeopt.models.load import prunable

    return {m.weight: (m.weight != 0).to(m.weight.dtype) for _, m in prunable(model) if bool((m.weight == 0).any())}


def _finite(model: Any) -> None:
    import torch

    from edgeopt.errors import step_failed

    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not bool(torch.isfinite(parameter).all()):
            raise step_failed(
                "E407", f"training diverged: {name} holds values that are not numbers", help="lower learning_rate, raise warmup_ratio, or set precision: fp32"
            )


def _best(trainer: Any, context: StepContext) -> dict[str, Any]:
    if trainer.state.best_metric is None:
        return {}
    metric, value = task_of(context.task).selection_metric, round(float(trainer.state.best_metric), 5)
    return {"selection": {"metric": metric, "value": value, "step": trainer.state.best_global_step}}
