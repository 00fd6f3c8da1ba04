"""The conformance test check_task: does a task do everything that edgeopt relies on?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from pydantic import TypeAdapter

from edgeopt.data import Split
from edgeopt.measure.accuracy import outputs_of
from edgeopt.models.files import GRAPH
from edgeopt.plan.steps import Chain
from edgeopt.run.execute import Executed
from edgeopt.spec.tasks import TASKS
from edgeopt.store.facts import Fact
from edgeopt.store.store import State
from edgeopt.support.progress import Progress
from edgeopt.tasks import Task, task_of
from edgeopt.tasks.base import IGNORED, Values
from edgeopt.tasks.counted import CountedTask
from edgeopt.tasks.encode import Encoder
from edgeopt.testing.build import TASK, build, steps_towards
from edgeopt.testing.failing import failing
from edgeopt.testing.imports import imports_no_torch

#: What the task is called while it is checked.
NAME = "task-under-test"
#: By how much a float32 mean may differ from another way to add it up.
_CLOSE = 1e-4
_CONFIDENCES = (0.8, 0.95)


@failing
def check_task(
    task: type[Task], *, model: Path, data: Path, work: Path, keys: Mapping[str, Any] | None = None
) -> State:
    """Train the task for two steps on your small model and rows, quantize the model, and check its answers.

    Returns the state of the graph. Raises AssertionError, which names the check that failed.

    The checks:

    - The task's class states its metrics and imports no torch.
    - Labels and outputs are the same after they were written to a run's folder and read back.
    - Every metric is a number within its range and does not depend on the order of the rows.
    - `predict` and `answers` give classes that exist. `counts` has one row for each row of the data.
    - Bounds contain the value, and get wider with more confidence. A model differs from itself by 0.
    - Trivial answers, which ignore the text, have the same form as the outputs.
    - Outputs that are not numbers are found.
    - The loss on the labels is that of the model's class. It adds up over parts of a batch. Class weights change it.
    - The graph gives the same answers as torch. The second run of the same recipe finds it in the store.

    model: a folder with config.json, model.safetensors and the tokenizer. data: a folder with train.jsonl and
    validation.jsonl. keys: keys of the recipe's `task`, which replace `text: text`, `label: label` and `max_length:
    32`. work: an empty folder.
    """
    imports_no_torch(task.__module__)
    try:
        with TASKS.holding(NAME, task):
            return _checked(model, data, work, {**(keys or {}), "type": NAME})
    except TypeError as error:
        if task.__name__ in str(error):
            raise AssertionError(str(error)) from error
        raise


def _checked(model: Path, data: Path, work: Path, keys: dict[str, Any]) -> State:
    steps = steps_towards(frozenset({Fact.INT8}))  # a candidate that is not the baseline
    executed = build(steps, model=model, data=data, store=work / "store", task={**TASK, **keys})
    again = build(steps, model=model, data=data, store=work / "store", task={**TASK, **keys})
    assert all(d.cached for d in again.chains["candidate"]), "the same recipe was built twice: the key is not stable"
    task, rows = _task_of(executed, keys, data), executed.data.report
    base, candidate = _outputs(task, executed, "baseline", rows), _outputs(task, executed, "candidate", rows)
    labels = task.stack_labels(rows.labels)
    _written_and_read(task, labels, candidate)
    _answers(task, candidate)
    _counts(task, labels, candidate)
    for metric in task.known_metrics:
        _metric(task, metric, labels, base, candidate)
    _soundness(task, labels, candidate)
    _loss(task, executed, rows)
    return executed.final("candidate")


def _task_of(executed: Executed, keys: Mapping[str, Any], data: Path) -> Task:
    from edgeopt.spec.recipe import TaskSpec

    text = {"text": "text", "dataset": {"path": str(data)}}
    return task_of(TaskSpec.model_validate({**TASK, **text, **keys}), executed.data.label_names)


def _outputs(task: Task, executed: Executed, chain: Chain, rows: Split) -> Values:
    folder = executed.final(chain).folder
    outputs = outputs_of(folder / GRAPH, folder, rows, task, Progress(show=False), "")
    assert len(outputs) == len(rows), f"{len(rows)} rows have {len(outputs)} outputs: look at `gather`"
    return outputs


def _written_and_read(task: Task, labels: Values, outputs: Values) -> None:
    for label, output in zip(labels, outputs, strict=True):
        plain, written = task.plain_label(label), task.plain_output(output, label)
        for what, shape, value in (("label", task.label_shape, plain), ("output", task.output_shape, written)):
            read = TypeAdapter(shape).validate_json(json.dumps(value))
            assert json.loads(json.dumps(read)) == json.loads(json.dumps(value)), (
                f"plain_{what} gives {value!r}, of which {what}_shape makes {read!r}"
            )
        assert task.fits(plain, written), f"fits refuses the output of the row with label {plain!r}"
    same = task.stack_labels([task.plain_label(label) for label in labels])
    assert np.array_equal(same, labels), (
        "labels are others when they are read back: stack_labels of what plain_label gives"
    )


def _answers(task: Task, outputs: Values) -> None:
    """Check that `predict` and `answers` give classes that exist."""
    named = task.has_classes and bool(task.names)
    numbers = np.asarray(task.predict(outputs))
    if named and np.issubdtype(numbers.dtype, np.integer):
        odd = sorted({*numbers.ravel().tolist()} - {IGNORED, *range(len(task.names))})
        assert not odd, f"`predict` gives class {odd[0]}, and there are classes 0 to {len(task.names) - 1}"
    told = task.answers(outputs)
    assert len(told) == len(outputs), f"`answers` has {len(told)} answers for {len(outputs)} rows"
    for answer, share in told:
        for name in answer if isinstance(answer, tuple) else (answer,):
            assert not named or name in task.names, (
                f"`answers` gives {name!r}, and the classes are {', '.join(task.names)}"
            )
        assert share is None or 0 <= share <= 1, f"`answers` gives a probability of {share!r}"


def _counts(task: Task, labels: Values, outputs: Values) -> None:
    if isinstance(task, CountedTask):
        units = len(set(task.documents(labels.tolist()))) or len(labels)
        for metric in task.known_metrics:
            shape = np.shape(task.counts(metric, labels, outputs))
            assert len(shape) == 2 and shape[0] == units, (
                f"`counts` of {metric} has shape {shape}, and must have a row for each of {units}"
            )


def _metric(task: Task, metric: str, labels: Values, base: Values, candidate: Values) -> None:
    low, high = task.ranges.get(metric, (0.0, 1.0))
    value, before = (task.measure(metric, labels, x) for x in (candidate, base))
    assert isinstance(value, float) and low <= value <= high, (
        f"{metric} is {value!r}, and must be a float between {low:g} and {high:g}: state it in `ranges`"
    )
    order = np.random.default_rng(0).permutation(len(labels))
    assert np.isclose(task.measure(metric, labels[order], candidate[order]), value), (
        f"{metric} depends on the order of the rows"
    )
    widths = []
    for confidence in _CONFIDENCES:
        found = task.bounds(metric, labels, candidate, confidence)
        assert np.isclose(found.value, value) and found.low <= found.value <= found.high, (
            f"bounds of {metric}, which is {value:.6g}, are {tuple(found)}"
        )
        differs = task.difference(metric, labels, base, candidate, confidence)
        assert np.isclose(differs.value, value - before), (
            f"difference of {metric} is {differs.value:.6g}, from {before:.6g} to {value:.6g}"
        )
        itself = task.difference(metric, labels, candidate, candidate, confidence)
        assert np.isclose(itself.value, 0) and itself.low <= 0 <= itself.high, (
            f"a model's {metric} differs from itself by {tuple(itself)}"
        )
        widths.append(found.high - found.low)
    assert widths[0] <= widths[1], f"bounds of {metric} are narrower with more confidence"
    trivial = task.trivial(labels, candidate)
    assert trivial, "`trivial` has no answers that read nothing"
    for name, answers in trivial.items():
        assert answers.shape[0] == len(labels) and answers.shape[1:] == candidate.shape[1:], (
            f"'{name}' has not the outputs' form"
        )
        task.measure(task.judged_by(metric), labels, answers)


def _soundness(task: Task, labels: Values, outputs: Values) -> None:
    assert task.sound(labels, outputs).all(), "`sound` refuses the answers of a model"
    if np.issubdtype(outputs.dtype, np.floating):
        broken = outputs.copy()
        broken.reshape(len(broken), -1)[0, 0] = np.nan
        found = task.sound(labels, broken)
        assert not found[0] and found[1:].all(), "`sound` does not find the row whose output is no number"


def _loss(task: Task, executed: Executed, rows: Split) -> None:
    """Compare `label_loss` with the model's own loss, for a task whose loss is on the labels of a batch."""
    import torch

    from edgeopt.models.load import load_model, takes

    folder = executed.torch_state("candidate").folder
    model, encoder = load_model(folder), Encoder(folder, task.spec.max_length)
    queries, _ = task.training_rows(encoder, rows.take(range(min(len(rows), 8)), "few"), takes(model))
    batch = task.collator(encoder)(queries)
    labels = batch["labels"]
    with torch.no_grad():
        output = model(**batch)
        loss, half = task.label_loss(), max(len(labels) // 2, 1)
        ours = float(loss(output, labels))
        parts = [(output.logits[at], labels[at]) for at in (slice(None, half), slice(half, None))]
        summed = sum(float(loss.summed(*part)) for part in parts) / float(
            loss.total([{"labels": part[1]} for part in parts])
        )
    assert abs(ours - float(output.loss)) <= _CLOSE * max(1.0, abs(ours)), (
        f"label_loss gives {ours:.6g}, and the model's own loss is {float(output.loss):.6g}"
    )
    assert abs(summed - ours) <= _CLOSE * max(1.0, abs(ours)), (
        f"label_loss of a batch in two parts is {summed:.6g}, and of the whole {ours:.6g}"
    )
    if task.has_classes and task.names:
        weighed = task.label_loss([1.0 + i for i in range(len(task.names))], 0.1)
        assert float(cast(Any, weighed(output, labels))) != ours, (
            "label_loss takes no notice of class weights and smoothing"
        )
