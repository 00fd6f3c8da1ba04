"""One thread of a process at a time: trainings, exports and measurements share the generator of torch, and more."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar

from edgeopt.support.errors import bad_input

_free = threading.Lock()
#: Whether this thread, or one that works for it, has its turn.
_inside: ContextVar[bool] = ContextVar("inside", default=False)


@contextmanager
def alone(say: Callable[[str], object], *, builds: bool = True) -> Iterator[None]:
    """Within, no other thread of this process is within; one that comes meanwhile says that it waits, and does.

    builds: whether states are built. That cannot be begun amidst another building, by a function that is told of its
    progress: InputError E100. All else may be, and goes on at once.
    """
    if _inside.get():
        if builds:
            raise bad_input(
                "E100",
                "a recipe is being applied, and this is called from within that",
                help="call it when the first has returned; a function that is told of progress applies nothing",
            )
        yield
        return
    if not _free.acquire(blocking=False):
        say("waiting for another run of this process: one at a time …")
        _free.acquire()
    before = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(before)
        _free.release()


def _free_anew() -> None:
    """A process that was forked off has no other thread, and none that would release what one held."""
    global _free
    _free = threading.Lock()


os.register_at_fork(after_in_child=_free_anew)


def shared(make: Callable[[], AbstractContextManager[None]]) -> Callable[[], AbstractContextManager[None]]:
    """A context of the whole process that several threads are within: the first enters it, and the last leaves it."""
    counting, stack, within = threading.Lock(), ExitStack(), 0

    @contextmanager
    def entered() -> Iterator[None]:
        nonlocal within
        with counting:
            if not within:
                stack.enter_context(make())
            within += 1
        try:
            yield
        finally:
            with counting:
                within -= 1
                if not within:
                    stack.close()

    return entered
