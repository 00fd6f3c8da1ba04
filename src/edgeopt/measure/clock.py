"""How long a call takes on this thread, without the time in which other programs had its processor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

#: Two readings this near have nothing between them: a program that takes the processor keeps it longer. Nanoseconds.
_NEAR = 20_000
_TRIES = 20


def timed(call: Callable[[], object], threads: int) -> tuple[float, float]:
    """Milliseconds that a call takes, and milliseconds in which this thread, ready to run, waited for a processor.

    Linux counts the second (`run_delay` in /proc/thread-self/schedstat); it is 0 on other systems. A call that computes
    on one thread takes the wall-clock time without it. On several it takes the wall-clock time: while one waits, the
    others do its share. A thread that sleeps, or waits for a GPU, is not ready to run: that time counts.
    """
    try:
        file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:
        start = time.perf_counter_ns()
        call()
        return (time.perf_counter_ns() - start) / 1e6, 0.0
    try:
        _, before, start = _now(file)
        call()
        end, after, _ = _now(file)
    finally:
        os.close(file)
    waited = max(0, after - before)
    return max(1, end - start - (waited if threads == 1 else 0)) / 1e6, waited / 1e6


def _now(file: int) -> tuple[int, int, int]:
    """What this thread has waited so far, between two readings of the wall clock, in nanoseconds.

    Read again until nothing lies between them: a wait that does would count on one side alone.
    """
    for _ in range(_TRIES):
        first = time.perf_counter_ns()
        waited = int(os.pread(file, 64, 0).split()[1])
        second = time.perf_counter_ns()
        if second - first < _NEAR:
            break
    return first, waited, second
