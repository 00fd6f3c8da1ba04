"""A training that is cut right behind one of its checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edgeopt.support.errors import StepError
from edgeopt.training import loop
from edgeopt.training.callbacks import Checkpoints


@contextmanager
def cut_at(monkeypatch: pytest.MonkeyPatch, step: int, of: int) -> Iterator[None]:
    """The training of `of` optimizer steps that the block begins fails once its checkpoint of `step` is whole.

    From here on every step of a training is a checkpoint, until the test ends.
    """
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    saves = Checkpoints.on_save

    def save_and_fail(self: Checkpoints, args: Any, state: Any, control: Any, **more: Any) -> None:
        saves(self, args, state, control, **more)
        if args.max_steps == of and state.global_step == step:
            raise RuntimeError("cut")

    with monkeypatch.context() as cutting:
        cutting.setattr(Checkpoints, "on_save", save_and_fail)
        with pytest.raises(StepError, match="cut"):
            yield
