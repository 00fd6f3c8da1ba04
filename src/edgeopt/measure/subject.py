"""One of the two models of a report, with what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.export.exporter import Precision
from edgeopt.export.graph_files import size_of
from edgeopt.measure.graph import weigh
from edgeopt.models.files import GRAPH
from edgeopt.results.model import Starts, Subject
from edgeopt.store.facts import Fact
from edgeopt.store.store import State
from edgeopt.tasks import Task
from edgeopt.tasks.base import Values


def subject_of(
    shown: str,
    file: Path,
    task: Task,
    labels: Values,
    answered: tuple[Any, float] | None,
    starts: Starts | None,
    like: Path | None = None,
    precision: Precision | None = None,
    metrics: Mapping[str, float] | None = None,
) -> Subject:
    """A report's entry of one model, by its file.

    answered: its outputs on the rows that have these labels and how many seconds they took; without it there are no
    metrics, and without starts neither memory nor cold start. like: the graph whose weights the file holds, where it is
    none itself. metrics: those of the outputs, where they are measured already.
    """
    weights = weigh(like or file)
    outputs, seconds = answered or (np.empty(0), None)
    return Subject(
        artifact=shown,
        metrics=dict(metrics or task.metrics(labels, outputs)) if answered else {},
        extra=task.extra_metrics(labels, outputs) if answered else {},
        inference_seconds=None if seconds is None else round(seconds, 3),
        size_bytes=size_of(file),
        parameters=weights.parameters,
        nonzero=weights.nonzero,
        precision=precision or ("int8" if weights.precision == "int8" else "fp32"),
        memory_peak_bytes=int(np.median(starts.peak_bytes)) if starts else None,
        cold_start_ms=float(np.median(starts.ms)) if starts else None,
        starts=starts,
    )


def state_bytes(state: State) -> int:
    """Bytes of the weights of a state: its graph, or its tensors with the adapter's."""
    if Fact.ONNX in state.facts:
        return size_of(state.folder / GRAPH)
    return sum(int(f["size"]) for name, f in state.files.items() if name.endswith(".safetensors"))
