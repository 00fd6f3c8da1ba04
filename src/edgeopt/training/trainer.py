"""The Trainer of transformers with batches, loss and rates of ours."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from transformers import Trainer

from edgeopt.models.anatomy import anatomy
from edgeopt.models.parts import bare, layer_count
from edgeopt.training.adam import UncorrectedAdam
from edgeopt.training.optimizer import constant_rates, parameter_groups

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR
    from torch.utils.data import DataLoader

    from edgeopt.spec.recipe import Training
    from edgeopt.tasks.losses import LabelLoss
    from edgeopt.training.accounting import Clock
    from edgeopt.training.objective import Objective
    from edgeopt.training.sampler import LengthGroupedSampler, TurnSampler

    Samples = LengthGroupedSampler | TurnSampler


class OurTrainer(Trainer):  # type: ignore[misc]
    """The Trainer of transformers with batches, loss and rates of ours.

    sampler: the order of the training rows. loss: on the labels, where it is not the model's own. objective: what is
    trained for instead of the labels.
    """

    def __init__(
        self,
        params: Training,
        sampler: Samples,
        clock: Clock,
        loss: LabelLoss | None,
        objective: Objective | None,
        **options: Any,
    ) -> None:
        self.params, self.sampler, self.clock, self.objective = params, sampler, clock, objective
        self.loss = loss if objective is None else None
        self.extra = objective.groups() if objective else []
        adam = None if params.corrects_bias else (UncorrectedAdam, {"lr": params.learning_rate})
        super().__init__(compute_loss_func=self.loss, optimizer_cls_and_kwargs=adam, **options)
        # models that take **kwargs are thought to divide by the rows of the whole optimizer step; ours return each
        # batch's mean
        self.model_accepts_loss_kwargs = False

    def _get_train_sampler(self, train_dataset: object = None) -> Samples:
        return self.sampler

    def get_batch_samples(self, *args: Any, **options: Any) -> Any:
        with self.clock.load():
            batches, count = super().get_batch_samples(*args, **options)
        if self.loss is not None and batches:
            count = self.accelerator.reduce(self.loss.total(batches).to(self.args.device))
        weight = self.objective.weight(batches) if self.objective is not None and batches else None
        if self.objective is not None and weight is not None:
            # of an objective's losses the mean over batches and processes is taken
            mean = self.accelerator.reduce(weight.to(self.args.device)) / (
                len(batches) * self.accelerator.num_processes
            )
            self.objective.mean_weight = mean
        return batches, count

    def num_examples(self, dataloader: DataLoader[Any]) -> int:
        return len(self.sampler) if dataloader.dataset is self.train_dataset else int(super().num_examples(dataloader))

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
        if self.objective is not None and not model.training and self.objective.on_selection is not None:
            labels = inputs.pop("labels")
            outputs = model(**inputs)
            loss = self.objective.on_selection(outputs, labels)
            return (loss, outputs) if options.get("return_outputs", args[:1] == (True,)) else loss
        if self.objective is None or not model.training:
            return super().compute_loss(model, inputs, *args, **options)
        return self.objective.loss(model, inputs, self.state.global_step, self.state.max_steps)

    def _run_epoch(self, *args: Any, **options: Any) -> None:
        # a checkpoint of the last step would be trained a step further, and that be compared with the best
        if not self.control.should_training_stop and self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **options)

    def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
        with self.objective.evaluating() if self.objective is not None else nullcontext():
            found: dict[str, float] = super().evaluate(*args, **options)
        return found

    def _determine_best_metric(self, *args: Any, **options: Any) -> bool:
        if self.objective is not None and not self.objective.complete(self.state.global_step, self.state.max_steps):
            return False
        return bool(super()._determine_best_metric(*args, **options))

    def create_optimizer(self, model: nn.Module | None = None) -> Any:
        if getattr(self, "optimizer", None) is None and (
            self.params.layerwise_lr_decay is not None or self.params.vector_rate is not None or self.extra
        ):
            target = self.model if model is None else model
            cls, options = self.optimizer_cls_and_kwargs or self.get_optimizer_cls_and_kwargs(self.args, target)
            groups = parameter_groups(
                target,
                set(self.get_decay_parameter_names(target)),
                learning_rate=self.params.learning_rate,
                weight_decay=self.params.weight_decay,
                layer_decay=self.params.layerwise_lr_decay,
                anatomy=anatomy(bare(target).config.model_type),
                layers=layer_count(bare(target).config),
                vector_rate=self.params.vector_rate,
                extra=self.extra,
            )
            self.optimizer = cls(groups, **options)
        return super().create_optimizer(model)

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> LambdaLR:
        rates = self.objective.rates(num_training_steps) if self.objective else []
        for group, rate in zip(self.optimizer.param_groups[-len(rates) :] if rates else (), rates, strict=True):
            group["lr"] = rate
        scheduler: LambdaLR = super().create_scheduler(num_training_steps, optimizer)
        constant_rates(scheduler, len(self.extra))
        return scheduler

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        if not self.extra:
            return super()._clip_grad_norm(model)
        apart = {id(p) for group in self.extra for p in group["params"]}
        return self.accelerator.clip_grad_norm_(
            [p for p in model.parameters() if id(p) not in apart], self.args.max_grad_norm
        )
