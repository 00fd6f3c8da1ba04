"""One run on several processes, as `accelerate launch` and torchrun start them.

Process 0 walks the plan. The others wait for a step that trains and run the same `apply` beside it up to
the end of the training: only the optimizer's work is shared, and process 0 writes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from edgeopt.step.transform import TrainedAlong
from edgeopt.support import host
from edgeopt.support.errors import bad_input
from edgeopt.support.progress import Progress

if TYPE_CHECKING:
    from edgeopt.spec.recipe import StepParams
    from edgeopt.step.transform import StepContext
    from edgeopt.store.store import State

_STOP = None


_HELP = "accelerate launch and torchrun set RANK and WORLD_SIZE; without them, `unset RANK WORLD_SIZE LOCAL_RANK`"


def launched_as(name: str, alone: int) -> int:
    """What a launcher says in the environment; `alone` where there is none.

    Raises InputError E329 where it is no such number.
    """
    given = os.environ.get(name, str(alone))
    if not (given.isdecimal() and given.isascii() and len(given) < 6 and int(given) >= alone):
        raise bad_input(
            "E329",
            f"the environment variable {name} is {given!r}, and must be a whole number, at least {alone}",
            help=_HELP,
        )
    return int(given)


def is_main() -> bool:
    """Whether this process is the one that walks the plan and writes. Raises InputError E329."""
    return launched_as("RANK", 0) == 0


class Group:
    """The processes of this run; a group of one costs nothing and imports nothing."""

    @staticmethod
    def launched() -> int:
        """How many processes there are, without joining them."""
        return launched_as("WORLD_SIZE", 1)

    def __init__(self) -> None:
        self.size = self.launched()
        self.rank = launched_as("RANK", 0)
        if not self.rank < self.size:
            raise bad_input("E329", f"RANK is {self.rank}, and WORLD_SIZE {self.size}", help=_HELP)
        if self.size > 1:
            from edgeopt.support.quiet import quiet_libraries

            quiet_libraries()
            from accelerate import PartialState

            # process 0 may measure and export for hours between two steps that train
            PartialState(cpu=not host.has_cuda(), timeout=timedelta(days=7))

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def announce(self, use: str, state: State, params: StepParams, context: StepContext) -> None:
        """Process 0: tell the others which step to train. They need not know of steps that do not."""
        from edgeopt.step import registry

        if self.size > 1 and use in registry.names() and registry.get(use).trains(params):
            self._send((use, state, params, replace(context, progress=Progress(show=False))))

    def stop(self) -> None:
        """Process 0: no further step will come."""
        if self.size > 1 and self.is_main:
            self._send(_STOP)

    def serve(self) -> None:
        """Every other process: train along until told to stop."""
        from edgeopt.step import registry

        while (task := self._receive()) is not _STOP:
            use, state, params, context = task
            with suppress(TrainedAlong):
                registry.get(use).apply(state, params, replace(context, helps=True))

    def _send(self, task: object) -> None:
        import torch.distributed as dist

        dist.broadcast_object_list([task], src=0)

    def _receive(self) -> Any:
        import torch.distributed as dist

        box: list[Any] = [None]
        dist.broadcast_object_list(box, src=0)
        return box[0]
