"""`batch_size: auto`: as many rows at once as memory takes, and as many at each optimizer step as ever.

A training begins with 32 rows. Where memory runs out, the step that trains is applied anew, with half the rows in a
batch and twice the batches before an optimizer step. Nothing of what was trained before is used: the same model is read
and the same seed is set, so that the result is that of a recipe that names the batch which was found. That is kept in
the work folder, for a training that is interrupted, and in recipe.lock, for a run that is repeated.

A system that runs out of its own memory mostly kills the process, where nothing can be tried any more: this is for
GPUs, and for processes whose memory is limited.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgeopt.spec.recipe import BATCH, Training
from edgeopt.step.transform import BatchTooLarge
from edgeopt.support.errors import InputError, step_failed
from edgeopt.support.files import write_json
from edgeopt.support.memory import ran_out
from edgeopt.support.reading import Reader

if TYPE_CHECKING:
    from edgeopt.step.transform import StepContext

_FILE = "batch.json"
_KEPT = Reader("batch", "E157")


def fitted(params: Training, context: StepContext) -> Training:
    """The training, with `auto` meaning the largest batch that is not known to be too large."""
    if params.batch_size != "auto":
        return params
    rows = _read(context.work / _FILE)
    write_json(context.work / _FILE, {"rows": rows})
    return params.with_batch(rows)


@contextmanager
def fitting(params: Training, context: StepContext, checkpoints: Path) -> Iterator[None]:
    """Raise BatchTooLarge where memory runs out in the block and `auto` leaves the batch open.

    Checkpoints with the batch that was too large are removed. Raises StepError E406 for a batch of one row.
    """
    try:
        yield
    except Exception as error:
        if params.batch_size != "auto" or not ran_out(error):
            raise
        if params.batch == 1:
            raise step_failed("E406", "memory ran out with a batch of one row", help="lower max_length") from error
        shutil.rmtree(checkpoints, ignore_errors=True)
        write_json(context.work / _FILE, {"rows": params.batch // 2})
        raise BatchTooLarge(params.batch) from error


def found_in(work: Path) -> dict[str, int]:
    """The rows of a batch that each training of a step came to, by its folder in the step's; `.` is the step's own."""
    return {path.parent.relative_to(work).as_posix(): _read(path) for path in sorted(work.rglob(_FILE))}


def begin_with(work: Path, found: Mapping[str, int]) -> None:
    """Let the trainings of a step begin with what an earlier run came to, where they have not come to less."""
    for name, rows in found.items():
        path = work / name / _FILE
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"rows": rows})


def _read(path: Path) -> int:
    try:
        rows = _KEPT.json(path)["rows"]
    except (InputError, KeyError, TypeError):
        return BATCH
    return rows if rows in {BATCH >> i for i in range(BATCH.bit_length())} else BATCH
