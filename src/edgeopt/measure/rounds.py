"""Rounds in which every subject answers the same query, over several openings, until the latencies can be believed."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from edgeopt.measure.clock import timed
from edgeopt.measure.session_choice import Query
from edgeopt.statistics.latency_bounds import drift, drifted, ratio_bounds

_WARM_WINDOW, _WARM_LIMIT = 10, 60
#: Rounds after each further opening that do not count.
_FRESH = 3
#: How often the subjects are opened anew, unless the time is up.
OPENINGS = 10
#: Of the time that an opening took on average, how much there has to be for another.
_MOST = 0.5
#: The bounds of each ratio of p50 to the first subject's should be this near to it; else more rounds are measured, up
#: to so many times the number asked for.
WIDE, ATTEMPTS = 0.05, 3

Queries = Mapping[str, Query]


class Rounds:
    """Latencies of some subjects on some feeds, round by round.

    In each round every subject answers the same feed once, in random order.

    samples: milliseconds by subject, one a round. waited: the milliseconds in which other programs had the processor
    meanwhile; on one thread they are not in the samples. openings: how many rounds each opening has. restarts: how
    often the rounds so far were thrown away because a ratio had drifted. round_seconds: of the last round of the
    warm-up.
    """

    def __init__(self, names: Sequence[str], feeds: Sequence[Any], threads: int) -> None:
        self.samples: dict[str, list[float]] = {name: [] for name in names}
        self.waited: dict[str, list[float]] = {name: [] for name in names}
        self.openings: list[int] = []
        self.restarts, self.round_seconds = 0, 0.0
        self._feeds, self._threads, self._number = feeds, threads, 0
        self._order, self._rng = list(names), random.Random(0)

    def run(self, queries: Queries, rounds: int, end: float) -> None:
        """Add so many rounds of one opening, or until `end` (of time.monotonic()) has passed; one at least."""
        self.openings.append(0)
        for _ in range(rounds):
            self._one(queries)
            self.openings[-1] += 1
            if time.monotonic() > end:
                return

    def _one(self, queries: Queries) -> None:
        feed = self._feeds[self._number % len(self._feeds)]
        self._number += 1
        self._rng.shuffle(self._order)
        for name in self._order:
            took, waited = timed(partial(queries[name], feed), self._threads)
            self.samples[name].append(took)
            self.waited[name].append(waited)

    def warm_up(self, queries: Queries, max_seconds: float) -> None:
        """Run rounds that do not count, before any that do, until the latencies are steady.

        For no longer than max_seconds or 60 rounds.
        """
        end = time.monotonic() + max_seconds
        for number in range(_WARM_LIMIT):
            began = time.monotonic()
            self._one(queries)
            self.round_seconds = time.monotonic() - began
            if time.monotonic() > end or (number >= 2 * _WARM_WINDOW and steady(self.samples)):
                break
        self.clear()

    def freshen(self, queries: Queries, seconds: float = math.inf) -> None:
        """Ask a few queries that do not count, for what a session does on its first ones alone.

        None where one takes most of these seconds.
        """
        for number in range(int(min(_FRESH, seconds / self.round_seconds)) if self.round_seconds else _FRESH):
            for name in self._order:
                queries[name](self._feeds[(self._number + number) % len(self._feeds)])

    def clear(self) -> None:
        """Throw all rounds away."""
        self._number = 0
        self.openings.clear()
        for values in (*self.samples.values(), *self.waited.values()):
            values.clear()


def interleaved(
    queries: Queries, feeds: Sequence[Any], threads: int, rounds: int, max_seconds: float
) -> dict[str, list[float]]:
    """Milliseconds a query, by subject: of one opening, in so many rounds after a warm-up, or as max_seconds allow."""
    found = Rounds(list(queries), feeds, threads)
    end = time.monotonic() + max_seconds
    found.warm_up(queries, max_seconds / 4)
    found.run(queries, rounds, end)
    return found.samples


def believable(
    openers: Mapping[str, Callable[[], Query]],
    feeds: Mapping[str, Sequence[Any]],
    threads: int,
    rounds: int,
    max_seconds: float,
    openings: int | None = None,
) -> dict[str, Rounds]:
    """The rounds of each of several lists of feeds, by its name, over ten openings of all subjects in random order.

    They are as many as asked for, or as max_seconds a list allow, openings and warm-up included: so much is never
    exceeded by more than the opening and the round that it ends in. What is not settled then is measured again while
    there is time: anew where a ratio has drifted, else on top. openings: so many, of one sitting among several, after
    which nothing is measured again: what is not settled shows between the sittings.
    """
    rng = random.Random(0)

    def opened() -> dict[str, Query]:
        return {name: openers[name]() for name in rng.sample(list(openers), len(openers))}

    end = time.monotonic() + max_seconds * len(feeds)
    found = {name: Rounds(list(openers), those, threads) for name, those in feeds.items()}
    queries = opened()
    for each in found.values():
        each.warm_up(queries, max_seconds / 8)
    todo = list(found.values())
    often, attempts = openings or OPENINGS, 1 if openings else ATTEMPTS
    for attempt in range(1, attempts + 1):
        began = time.monotonic()
        for number in range(often):
            now = time.monotonic()
            if number and now + (now - began) / number * _MOST > end:  # there is no time for a whole one more
                break
            queries.clear()  # before the next ones take their memory
            queries.update(opened())
            for i, each in enumerate(todo):
                now = time.monotonic()
                share = (end - now) / ((often - number) * len(todo) - i)
                each.freshen(queries, share / 10)
                each.run(queries, math.ceil(rounds / often), now + share)
        now = time.monotonic()
        took, left = now - began, end - now
        why = {id(each): unsettled(each) for each in todo}
        todo = [each for each in todo if why[id(each)]]
        if not todo or attempt == attempts or took > left:  # there is no time for as much again
            break
        for each in todo:
            if why[id(each)] == "drift":
                each.clear()
                each.restarts += 1
    return found


def steady(samples: Mapping[str, Sequence[float]]) -> bool:
    """Whether the median of the last ten rounds is within a tenth of that of the ten before, for every subject."""
    for values in samples.values():
        late, early = np.median(values[-_WARM_WINDOW:]), np.median(values[-2 * _WARM_WINDOW : -_WARM_WINDOW])
        if abs(late - early) > 0.1 * early:
            return False
    return True


def unsettled(measured: Rounds) -> Literal["drift", "noise"] | None:
    """Why the ratios to the first subject cannot be believed yet."""
    first, *others = (np.array(values) for values in measured.samples.values())
    if len(first) < OPENINGS:
        return None
    if any(drifted(drift(other, first, measured.openings)) for other in others):
        return "drift"
    bounds = [ratio_bounds(other, first, 50.0, 0.95, measured.openings) for other in others]
    return "noise" if any(b.high - b.low > 2 * WIDE * b.value for b in bounds) else None
