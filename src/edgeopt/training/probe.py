"""What a pre-training brings a task on the way: copies of the model are kept, and each is fine-tuned afterwards.

The pre-training goes on as if nobody watched: a copy is written, and nothing is drawn for it. Copies are fine-tuned on
the task's train rows but the selection rows, and these are what the metric is of.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite, nan
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from edgeopt.results.figures import PROBE_CURVE, Told
from edgeopt.spec.recipe import Training
from edgeopt.support.files import write_json
from edgeopt.tasks import task_of
from edgeopt.training.callbacks import wait_for_all
from edgeopt.training.objective import NAME

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from edgeopt.step.transform import StepContext

#: Below the step's folder for work: the copies by optimizer step, and what each was found to be worth.
_COPIES, _FOUND = "copies", "probes"


class Probed(Protocol):
    """How often a pre-training is looked at, and how its copies are fine-tuned."""

    @property
    def every(self) -> int: ...
    def training(self, precision: Any) -> Training: ...


def looks(every: int, steps: int) -> list[int]:
    """The optimizer steps of a training behind which a copy is kept: the beginning and the end are among them."""
    return [*range(0, steps, every), steps]


class Copies(TrainerCallback):  # type: ignore[misc]
    """Keeps copies of the model. save: writes one into a folder; a copy that is there already is the same."""

    def __init__(self, every: int, work: Path, save: Callable[[PreTrainedModel, Path], None]) -> None:
        self.every, self.folder, self.save = every, work / _COPIES, save

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        if state.global_step == 0:
            if state.is_world_process_zero:  # of an attempt with larger batches
                shutil.rmtree(self.folder, ignore_errors=True)
            self._keep(state, given["model"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._keep(state, given["model"])

    def _keep(self, state: TrainerState, model: PreTrainedModel) -> None:
        target = self.folder / str(state.global_step)
        if not state.is_world_process_zero or target.exists():
            return
        part = target.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        with _alone(model):
            self.save(model, part)
        os.replace(part, target)


@contextmanager
def _alone(model: nn.Module) -> Iterator[None]:
    """The model without what its objective trains along, while the block runs."""
    module = model._modules.pop(NAME, None)
    try:
        yield
    finally:
        if module is not None:
            model.add_module(NAME, module)


def probed(
    probe: Probed, training: Training, steps: int, begin: Callable[[Path, Path], None], context: StepContext
) -> Told:
    """The metric by optimizer step, as a curve, and what is told besides.

    training: the pre-training, of so many optimizer steps. begin: makes of a copy, in the folder given second, a model
    with the task's head; the first process does it. What an earlier attempt found is not computed again.
    """
    task, began = task_of(context.task, context.data.label_names), monotonic()
    known = {step: found for step in looks(probe.every, steps) if (found := _read(context, step)) is not None}
    missing = [step for step in looks(probe.every, steps) if step not in known]
    for step in missing:
        work, last = _work(context, step), step == missing[-1]
        within = replace(context, work=work, helps=context.helps and last, figures={})
        begun = work / "begun"
        if not context.helps:
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir(parents=True)
            begin(context.work / _COPIES / str(step), begun)
        if context.processes > 1:
            wait_for_all()
        if not context.helps and step != missing[0]:  # all are done with the one before
            shutil.rmtree(_work(context, missing[missing.index(step) - 1]), ignore_errors=True)
        known[step] = _value(probe.training(training.precision), begun, within, task.selection_metric)
        if not context.helps:
            write_json(_file(context, step), {"value": known[step]})
        context.progress.say(f"  probe at optimizer step {step} of {steps}: {task.selection_metric} {known[step]:.4f}")
    rows = len(context.data.carve(context.task.selection)[1])
    return {
        "curves": {PROBE_CURVE: [(step, value) for step, value in sorted(known.items()) if isfinite(value)]},
        "probe": {"metric": task.selection_metric, "rows": rows, "seconds": round(monotonic() - began, 3)},
    }


def _value(training: Training, begun: Path, context: StepContext, metric: str) -> float:
    """The metric on the selection rows of a model that is fine-tuned to the end; it may be no number."""
    from edgeopt.models.load import load_model
    from edgeopt.training.loop import train

    values = train(load_model(begun), begun, training, context)["curves"].get(f"eval_{metric}")
    return float(values[-1][1]) if values else nan


def _work(context: StepContext, step: int) -> Path:
    return context.work / _FOUND / str(step)


def _file(context: StepContext, step: int) -> Path:
    return context.work / _FOUND / f"{step}.json"


def _read(context: StepContext, step: int) -> float | None:
    """What an earlier attempt found."""
    try:
        return float(json.loads(_file(context, step).read_text(encoding="utf-8"))["value"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
