"""Training through transformers' Trainer: resumable to the bit, selecting on rows held out of train."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.results.figures import GRADIENT_CURVE, Told
from edgeopt.spec.recipe import BATCH, Training
from edgeopt.step.transform import TrainedAlong
from edgeopt.support import host
from edgeopt.training.batches import fitted, fitting
from edgeopt.training.feed import Feed, task_feed
from edgeopt.training.held import held
from edgeopt.training.objective import ROW, attached

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

    from edgeopt.step.transform import StepContext
    from edgeopt.support.progress import Bar
    from edgeopt.training.accounting import Clock
    from edgeopt.training.objective import Objective

#: Seconds between checkpoints: what a crash can cost.
CHECKPOINT_SECONDS = 30.0
#: Points of a curve at most, and what transformers logs of an evaluation that is no metric.
_MOST_POINTS, _NO_METRIC = 200, ("_runtime", "_per_second", "_time")


def train(
    model: PreTrainedModel,
    folder: Path,
    params: Training,
    context: StepContext,
    *,
    keep_zeros: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    optimizer: str | None = None,
    objective: Objective | None = None,
    feed: Feed | None = None,
) -> dict[str, Any]:
    """Train the parameters that require a gradient, in place. keep_zeros: pruned weights stay zero.

    folder: where tokenizer.json is. callbacks: transformers', called before ours, so that what they save is in a
    checkpoint before it counts as whole. optimizer: transformers' name of one, where not its default. objective: what
    is trained for instead of the labels. feed: what it is trained on, in place of the task's rows. Returns figures:
    seconds, examples a second, steps, parameters, memory. Raises StepError E407 when the loss is not a number, and
    BatchTooLarge where a smaller batch may be tried.
    """
    if params.seed is not None:  # of a training below the step's own keys, such as `recover`, it is another
        context = replace(context, seed=params.seed)
    params, checkpoints = fitted(params, context), context.work / "checkpoints"
    with fitting(params, context, checkpoints), held(model, params):
        return _train(model, folder, params, context, checkpoints, keep_zeros, callbacks, optimizer, objective, feed)


def _train(
    model: PreTrainedModel,
    folder: Path,
    params: Training,
    context: StepContext,
    checkpoints: Path,
    keep_zeros: bool,
    callbacks: Sequence[TrainerCallback],
    optimizer: str | None,
    objective: Objective | None,
    feed: Feed | None,
) -> dict[str, Any]:
    import torch

    from edgeopt.training.accounting import Clock, count, forget_peaks, peaks
    from edgeopt.training.callbacks import COMPLETE

    torch.set_num_threads(host.cpus())
    if host.is_busy():
        context.progress.say(
            f"other programs keep this machine busy: {host.cpus()} threads wait for each other; "
            "EDGEOPT_THREADS=1 may be quicker"
        )
    if feed is None:
        found = task_feed(model, folder, params, context)
        feed = found.feed
        if objective is None and params.distillation is not None and params.distillation.asks:
            from edgeopt.training.distill_by_task import distilled_by_task
            from edgeopt.training.distill_objective import distilled

            make = distilled_by_task if found.task.several else distilled
            objective = make(model, params, context, found.task, found.pool, feed.rows, feed.loss)
        if objective is None and feed.loss is not None and params.of_pairs and params.of_pairs.mini_batch_size:
            from edgeopt.training.gradient_cache import Cached

            objective = Cached(feed.loss, params.of_pairs.mini_batch_size)
    clock = Clock()
    forget_peaks()
    masks = frozen_zeros(model) if keep_zeros else {}
    with context.progress.bar("train", 1) as bar, attached(model, objective):
        trainer = _trainer(
            model, params, context, feed, checkpoints, bar, masks, [clock, *callbacks], optimizer, clock, objective
        )
        resume = _last_complete(checkpoints, COMPLETE)
        started = time.monotonic()
        result = trainer.train(resume_from_checkpoint=resume)
        seconds = time.monotonic() - started
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # else it would compute in bfloat16 from now on
    if context.helps:
        raise TrainedAlong
    _finite(model)
    return {
        "optimizer_steps": trainer.state.global_step,
        "train_seconds": round(seconds, 3),
        "examples_per_second": round(result.metrics.get("train_samples_per_second", 0.0), 1),
        "train_loss": round(float(result.training_loss), 5),
        "curves": {**curves(trainer.state.log_history), **(objective.curves() if objective else {})},
        **clock.figures(),
        **peaks(),
        **count(model),
        **feed.figures(trainer.state.epoch),
        "precision": "bf16" if params.precision == "bf16" else "fp32",
        **_best(trainer, feed),
        **(objective.figures() if objective else {}),
    }


def _trainer(
    model: PreTrainedModel,
    params: Training,
    context: StepContext,
    feed: Feed,
    checkpoints: Path,
    bar: Bar,
    masks: dict[torch.Tensor, torch.Tensor],
    more: Sequence[TrainerCallback],
    optimizer: str | None,
    clock: Clock,
    objective: Objective | None,
) -> Trainer:
    from transformers import PrinterCallback, ProgressCallback

    from edgeopt.training.callbacks import Checkpoints, FollowEpoch, KeepZeros, ShowProgress, Stepped, StopEarly
    from edgeopt.training.sampler import sampler_of
    from edgeopt.training.trainer import OurTrainer

    args = _arguments(params, context, checkpoints, feed, optimizer)
    batch = params.batch * max(1, args.world_size)
    sampler = sampler_of(feed.lengths, batch, args.seed, feed.mixture)
    callbacks: list[TrainerCallback] = [
        *more,
        FollowEpoch([sampler, *feed.follows]),
        ShowProgress(bar, batch * params.accumulation),
        Checkpoints(CHECKPOINT_SECONDS),
    ]
    if masks:
        callbacks.append(KeepZeros(masks))
    if params.early_stopping:
        callbacks.append(StopEarly(params.early_stopping.patience))
    if objective is not None:
        callbacks.append(Stepped(objective))
    trainer = OurTrainer(
        params,
        sampler,
        clock,
        feed.loss,
        objective,
        model=model,
        args=args,
        data_collator=feed.collate,
        train_dataset=[{**row, ROW: i} for i, row in enumerate(feed.rows)]
        if objective is not None and objective.numbered
        else feed.rows,
        eval_dataset=feed.selection or None,
        compute_metrics=feed.metrics,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def _arguments(
    params: Training, context: StepContext, checkpoints: Path, feed: Feed, optimizer: str | None
) -> TrainingArguments:
    from transformers import TrainingArguments

    from edgeopt.training.mixture import Turns

    selects, by_loss = bool(feed.selection), feed.metrics is None
    every = "epoch" if params.eval_steps is None else "steps"
    found = params.batch_size == "auto"  # what fits in training is not known to fit more often in evaluation
    return TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=params.epochs,
        max_steps=params.max_steps or -1,
        learning_rate=params.learning_rate,
        per_device_train_batch_size=params.batch,
        per_device_eval_batch_size=params.batch if found or by_loss else max(BATCH, params.batch),
        prediction_loss_only=by_loss,
        gradient_accumulation_steps=params.accumulation,
        **_checkpointing(params.gradient_checkpointing, TrainingArguments),
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(params.schedule, params.schedule),
        warmup_steps=params.warmup_ratio,
        weight_decay=params.weight_decay,
        bf16=params.precision == "bf16",
        use_cpu=not host.has_cuda(),
        ddp_backend="gloo" if context.processes > 1 and not host.has_cuda() else None,
        ddp_find_unused_parameters=isinstance(feed.mixture, Turns),  # a batch of one task leaves the others' heads out
        seed=context.seed,
        eval_strategy=every if selects else "no",
        save_strategy=every if selects else "no",
        eval_steps=params.eval_steps,
        save_steps=params.eval_steps or TrainingArguments.save_steps,
        load_best_model_at_end=selects,
        metric_for_best_model=feed.metric if selects else None,
        greater_is_better=not by_loss if selects else None,
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


def curves(history: Sequence[Mapping[str, float]]) -> dict[str, list[tuple[int, float]]]:
    """What transformers logged while it trained, by optimizer step.

    That is the loss, the gradients' norm, and the metrics of rows that are only looked at. What is no number is left
    out. Of a long training every so many points are kept, and the last.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for entry in history:
        for name, value in entry.items():
            told = name in ("loss", GRADIENT_CURVE) or (name.startswith("eval_") and not name.endswith(_NO_METRIC))
            if told and math.isfinite(value):
                found.setdefault(name, []).append((int(entry["step"]), round(float(value), 5)))
    every = {name: -(-len(points) // _MOST_POINTS) for name, points in found.items()}
    return {name: points[:: -every[name]][::-1] for name, points in found.items()}


def _checkpointing(wanted: bool, arguments: type[Any]) -> dict[str, Any]:
    """Recomputing activations, by the name that this transformers has for it: the newer one where it is known."""
    known = {each.name for each in fields(arguments)}
    name = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    return {name: wanted, f"{name}_kwargs": {"use_reentrant": False} if wanted else None}


def _last_complete(checkpoints: Path, marker: str) -> str | None:
    """The newest checkpoint that was written to its end; half-written ones are removed."""
    found: list[tuple[int, Path]] = []
    for folder in checkpoints.glob("checkpoint-*"):
        if (folder / marker).exists():
            found.append((int(folder.name.rpartition("-")[2]), folder))
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return str(max(found)[1]) if found else None


def frozen_zeros(model: nn.Module) -> dict[torch.Tensor, torch.Tensor]:
    """Masks of the prunable weights that hold zeros: {parameter: 0/1 mask}."""
    from edgeopt.models.parts import prunable

    return {m.weight: (m.weight != 0).to(m.weight.dtype) for _, m in prunable(model) if bool((m.weight == 0).any())}


def _finite(model: nn.Module) -> None:
    import torch

    from edgeopt.support.errors import step_failed

    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not bool(torch.isfinite(parameter).all()):
            raise step_failed(
                "E407",
                f"training diverged: {name} holds values that are not numbers",
                help="lower learning_rate, raise warmup_ratio, or set precision: fp32",
            )


def _best(trainer: Trainer, feed: Feed) -> Told:
    if not trainer.state.best_global_step:
        return {}
    value = round(float(trainer.state.best_metric), 5)
    return {"selection": {"metric": feed.metric, "value": value, "step": trainer.state.best_global_step}}
