"""Rounds in which every subject answers the same query, until the latencies can be believed."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from edgeopt.drift import drift, drifted
from edgeopt.measure.choice import Query
from edgeopt.measure.clock import timed
from edgeopt.statistics import percentile_ratio

_WARM_WINDOW, _WARM_LIMIT = 10, 60
#: The bounds of each ratio of p50 to the first subject's should be this near to it; else more rounds are measured, up to so
#: many times the number asked for.
WIDE, ATTEMPTS = 0.05, 3


class Rounds:
    """Latencies of some subjects: in each round every subject answers the same feed once, in random order. samples:
    milliseconds by subject, one a round. waited: the milliseconds in which other programs had the
    processor meanwhile; on one thread they are not in the samples. restarts: how often the rounds so far were thrown away because a ratio had drifted."""

    def __init__(self, queries: Mapping[str, Query], feeds: Sequence[Any], threads: int) -> None:
        self.samples: dict[str, list[float]] = {name: [] for name in queries}
        self.waited: dict[str, list[float]] = {name: [] for name in queries}
        self.restarts = 0
        self._queries, self._feeds, self._threads = queries, feeds, threads
        self._order, self._rng, self._parent = list(queries), random.Random(0), os.getppid()

    def run(self, rounds: int, end: float) -> None:
        """That many rounds more, or until `end` (of time.monotonic()) has passed; one at least."""
        for _ in range(rounds):
            self._one()
            if os.getppid() != self._parent:
                raise SystemExit("the run that asked is gone")
            if time.monotonic() > end:
                return

    def _one(self) -> None:
        feed = self._feeds[len(self.samples[self._order[0]]) % len(self._feeds)]
        self._rng.shuffle(self._order)
        for name in self._order:
            took, waited = timed(partial(self._queries[name], feed), self._threads)
            self.samples[name].append(took)
            self.waited[name].append(waited)

    def warm_up(self, max_seconds: float) -> None:
        """Rounds that do not count: until the latencies are steady, but for no longer than max_seconds or 60 rounds."""
        end = time.monotonic() + max_seconds
        for number in range(_WARM_LIMIT):
            self._one()
            if time.monotonic() > end or (number >= 2 * _WARM_WINDOW and steady(self.samples)):
                break
        self.clear()

    def clear(self) -> None:
        for values in (*self.samples.values(), *self.waited.values()):
            values.clear()


def interleaved(queries: Mapping[str, Query], feeds: Sequence[Any], threads: int, rounds: int, max_seconds: float) -> dict[str, list[float]]:
    """Milliseconds a query, after a warm-up, in as many rounds, or as max_seconds allow."""
    found = Rounds(queries, feeds, threads)
    found.warm_up(max_seconds / 4)
    found.run(rounds, time.monotonic() + max_seconds)
    return found.samples


def believable(queries: Mapping[str, Query], feeds: Sequence[Any], threads: int, rounds: int, max_seconds: float) -> Rounds:
    """The same, measured for longer where it is not settled: anew where a ratio has drifted, else with more rounds."""
    found = Rounds(queries, feeds, threads)
    found.warm_up(max_seconds / 4)
    end = time.monotonic() + max_seconds
    for _ in range(ATTEMPTS):
        began = time.monotonic()
        found.run(rounds, end)
        why = unsettled(found.samples)
        if why is None or 2 * time.monotonic() - began > end:  # there is no time for as many again
            break
        if why == "drift":
            found.clear()
            found.restarts += 1
    return found


def steady(samples: Mapping[str, Sequence[float]]) -> bool:
    """The last ten rounds are within a tenth of the ten before, for every subject."""
    for values in samples.values():
        late, early = np.median(values[-_WARM_WINDOW:]), np.median(values[-2 * _WARM_WINDOW : -_WARM_WINDOW])
        if abs(late - early) > 0.1 * early:
            return False
    return True


def unsettled(samples: Mapping[str, Sequence[float]]) -> str | None:
    """Why the ratios to the first subject cannot be believed yet: `drift` or `noise`."""
    first, *others = (np.array(values) for values in samples.values())
    if len(first) < 4 * _WARM_WINDOW or not all(np.median(x) > 0 for x in (first, *others)):
        return None
    if any(drifted(drift(other, first)) for other in others):
        return "drift"
    bounds = [percentile_ratio(other, first, 50.0, 0.95) for other in others]
    return "noise" if any(b.high - b.low > 2 * WIDE * b.value for b in bounds) else None
