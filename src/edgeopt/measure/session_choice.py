"""Which of a runtime's options a file is quickest with on a target: coordinate descent over a handful of changes.

The optimizers named here are those that changed the time of a MiniLM in FP32 or either int8; the others leave its graph
as it is, or change nothing that can be measured (benchmarks/results/session_choices.json).

Two sessions at a time are compared, in paired rounds: memory stays small, and idle sessions disturb nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from edgeopt.export.session import Options
from edgeopt.measure.clock import timed
from edgeopt.statistics.bounds import Bounds, Values, percentile_ratio

Query = Callable[[Any], object]
#: A change must make the median this much quicker at 95 % confidence, else the runtime's default stays.
WORTH = 1.01
#: Seconds that the search takes at most, all comparisons and openings included, but for the opening and the queries
#: that it is just at; and the share of them after which no further change is tried, so that there is time to confirm
#: what came of it.
SECONDS, _TRYING = 7.5, 2 / 3
#: Queries that are not counted; those after which what looks no quicker is given up; those that decide.
_WARM, _LOOK, _DECIDE = 2, 10, 40


class Choice(NamedTuple):
    """The options that a file is opened with. query: a session with them.

    gain: the default options' median over theirs, from rounds that had no part in choosing them; None where the
    defaults stay.
    """

    query: Query
    options: dict[str, Any]
    gain: Bounds | None


def best_options(
    open_query: Callable[[Options], Query],
    defaults: dict[str, Any],
    changes: Sequence[Options],
    feeds: Sequence[Any],
    threads: int,
    seconds: float = SECONDS,
) -> Choice:
    """Choose the options that a file is quickest with, beyond noise.

    Each change in turn is kept where the graph is quicker with it than without (one-sided 95 % bound of the ratio above
    1.01). What came of it is then measured against the defaults once more, and has to be worth it there too.
    open_query: opens the file with options. changes: what is tried, in this order. feeds: what is asked, in turn.
    """
    options, began = defaults, time.monotonic()
    default = best = open_query(options)
    opening, trying, end = time.monotonic() - began, began + _TRYING * seconds, began + seconds
    for change in changes:
        if time.monotonic() + opening > trying:
            break
        tried = changed(options, change)
        challenger = open_query(tried)
        if _quicker(best, challenger, feeds, threads, trying):
            best, options = challenger, tried
    if best is default:
        return Choice(default, options, None)
    confirmed = _ratio(_rounds(default, best, feeds, threads, _DECIDE, end))
    if confirmed.low <= WORTH:
        return Choice(default, defaults, None)
    gain = _ratio(_rounds(default, best, feeds, threads, _DECIDE, end))
    # where there was no time for it, what confirmed the choice
    return Choice(best, options, gain if gain.low > 0 else confirmed)


def changed(options: Options, change: Options) -> dict[str, Any]:
    """Options with a change on top; optimizers are switched off besides those that are."""
    disabled = [*options.get("disabled_optimizers", []), *change.get("disabled_optimizers", [])]
    return {**options, **change, **({"disabled_optimizers": disabled} if disabled else {})}


def _quicker(best: Query, challenger: Query, feeds: Sequence[Any], threads: int, end: float) -> bool:
    look = _rounds(best, challenger, feeds, threads, _LOOK, end)
    if np.median(look[0]) <= WORTH * np.median(look[1]):
        return False
    return _ratio(_rounds(best, challenger, feeds, threads, _DECIDE, end)).low > WORTH


def _ratio(samples: Values) -> Bounds:
    if samples.shape[1] < _LOOK:  # a query takes so long that the time was up: nothing is known
        return Bounds(1.0, 0.0, float("inf"))
    return percentile_ratio(samples[0], samples[1], 50.0, 0.95, block=1)


def _rounds(one: Query, other: Query, feeds: Sequence[Any], threads: int, rounds: int, end: float) -> Values:
    """Seconds a query, shape (2, rounds): in each round both answer the same feed, in random order.

    Fewer rounds, but one at least, where the time is up: at `end` of time.monotonic().
    """
    queries, rng = (one, other), random.Random(0)
    samples = np.zeros((2, rounds))
    for number in range(-_WARM if time.monotonic() < end else 0, rounds):
        for which in rng.sample((0, 1), 2):
            samples[which, max(number, 0)] = (
                timed(partial(queries[which], feeds[number % len(feeds)]), threads)[0] / 1e3
            )
        if number >= 0 and time.monotonic() > end:
            return samples[:, : number + 1]
    return samples
