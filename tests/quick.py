"""Latencies and cold starts made up at once, in place of processes that measure, for tests about something else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


def answer(module: str, task: dict[str, Any]) -> Any:
    """What the measuring processes would say: 64 samples of each subject at each length, or three starts.

    Where sittings are asked for they are five, each with four openings of the files.
    """
    if module == "edgeopt.measure.cold_worker":
        return {name: [{"ms": 1.0, "peak_bytes": 10_000_000}] * 3 for name in task["graphs"]}
    assert module == "edgeopt.measure.latency_worker"
    twin = [task["twin"]["name"]] if task.get("twin") else []
    subjects = [*task["graphs"], *(["baseline-torch"] if task["torch"] else []), *twin]
    same = {"runtime": "onnxruntime", "device": "cpu", "session": {}}
    if task.get("sittings"):
        same |= {"sittings": [13, 13, 13, 13, 12], "openings": [4, 3, 3, 3] * 4 + [3] * 4}
    return [
        {**same, "subject": name, "sequence": sequence, "samples": [1.0 + i + 0.001 * n for n in range(64)]}
        for i, name in enumerate(subjects)
        for sequence in task["target"]["sequence"]
    ]


@contextmanager
def latency(*, real: bool = False) -> Iterator[None]:
    """Within, what `apply` measures is made up; or is measured again."""
    from edgeopt.measure import latency as module
    from edgeopt.run import measuring

    def quickly(function: Any) -> Any:
        def made_up(*args: Any, **more: Any) -> Any:
            with patch.object(module, "run_worker", answer):
                return function(*args, **more)

        return function if real else made_up

    with (
        patch.object(measuring, "measure", quickly(module.measure)),
        patch.object(measuring, "cold_starts", quickly(module.cold_starts)),
    ):
        yield
