"""How the shipped files are to be opened: what session.json says, what that changes, and the graph saved optimized."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeopt.export.graph_files import remove
from edgeopt.export.session import KERNELS, Options, save_optimized
from edgeopt.measure.accuracy import largest_difference
from edgeopt.run.exports import Written
from edgeopt.run.measuring import Measuring
from edgeopt.statistics.bounds import Values
from edgeopt.tasks import Task


@dataclass(frozen=True)
class Served:
    """What session.json says, and what comes with it.

    sessions: session.json, options by file. optimized: that file, where it was asked for and answers alike. notes: what
    a reader should know.
    """

    sessions: dict[str, Options]
    optimized: Path | None
    notes: list[str]


def serve(here: Measuring, written: Written, options: Options, logits: Values) -> Served:
    """How the shipped file is to be opened, and what that changes; saves the graph optimized where that was asked for.

    options: those that the exported file was quickest with. logits: its outputs on the report split with the runtime's
    default options, which anyone gets who just opens the file, and which the metrics are of.
    """
    model, artifact, notes = written.folder, written.exported.artifact, []
    if any(name in options for name in KERNELS):
        defaults, logits = logits, here.outputs(model / artifact, model, "accuracy with session.json", options)
        notes = [_change(here.task, logits, defaults)]
    sessions: dict[str, Options] = {artifact.as_posix(): options}
    saved = written.exported.optimized
    if saved is None:
        return Served(sessions, None, notes)
    alone = save_optimized(model / artifact, options, model / saved)
    if not _same(here.outputs(model / saved, model, "accuracy of the optimized graph", alone), logits):
        remove(model / saved)
        return Served(
            sessions, None, [*notes, f"{saved.name} was left out: it does not give the logits of {artifact.name}."]
        )
    return Served({**sessions, saved.as_posix(): alone}, saved, notes)


def _change(task: Task, served: Values, logits: Values) -> str:
    flips = task.flips(served, logits)
    changed = [f"{flips[0]} of {flips[1]} predictions"] if flips is not None else []
    if logits.dtype != object:  # texts have no logits
        changed.append(f"a logit by {largest_difference(served, logits):.2g} at most")
    return (
        "Metrics are those of ONNX Runtime's default options. The quicker ones in session.json change "
        f"{' and '.join(changed)}."
    )


def _same(one: Values, other: Values) -> bool:
    return (
        bool(np.array_equal(one, other))
        if one.dtype == object
        else bool(np.allclose(one, other, rtol=0, atol=1e-5, equal_nan=True))
    )
