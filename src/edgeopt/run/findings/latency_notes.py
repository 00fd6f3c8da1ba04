"""What a reader should know of how latency was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeopt.measure.latency import Measured
from edgeopt.measure.twin import TWIN
from edgeopt.report import format as fmt
from edgeopt.report.headline import Place
from edgeopt.statistics.openings import drift, drifted

#: A share of the time that other programs had the processor, below which nothing is said.
_QUIET = 0.05


def latency_notes(latency: Sequence[Measured]) -> list[str]:
    """How busy the machine was, what drifted, and which targets this machine cannot stand for; not of what was measured at another
    time, whose rounds are no pairs with these, nor of a twin, whose drift is in the bounds."""
    found = [m for m in latency if not m.apart and m.subject != TWIN]
    return [*_busy(found), *_drifts(found), *_unfit(found)]


def _busy(latency: Sequence[Measured]) -> list[str]:
    notes = []
    for target, threads in dict.fromkeys((m.target, m.threads) for m in latency):
        those = [m for m in latency if m.target == target]
        waited = sum(m.waited_ms for m in those)
        took = sum(float(np.sum(m.samples)) for m in those) + (waited if threads == 1 else 0)
        if waited > _QUIET * took:
            more = "That time is in no latency." if threads == 1 else "That time is in the latencies, as of several threads the others go on meanwhile."
            notes.append(f"{target}: other programs had the processor for {fmt.percent(waited / took)} of the time in which latency was measured. {more}")
    return notes


def _drifts(latency: Sequence[Measured]) -> list[str]:
    notes = []
    bases = {(m.target, m.sequence): m for m in latency if m.subject == "baseline"}
    for m in latency:
        base, place = bases.get((m.target, m.sequence)), Place(m.target, m.sequence)
        if len(m.samples) < 16 or base is None:
            continue
        if m is base and m.restarts:
            notes.append(f"{place}: a ratio drifted, and the measuring began anew {m.restarts} time{'s' * (m.restarts > 1)}.")
        alone = drift(m.samples, None, m.openings)
        if drifted(alone):
            notes.append(f"{place}: the latency of {m.subject} changed by {alone.value - 1:+.0%} from the first half of the rounds to the second.")
        if m is not base and drifted(change := drift(m.samples, base.samples, m.openings)):
            notes.append(f"{place}: the ratio of {m.subject} to the baseline drifted by {change.value - 1:+.0%}: gates on it have wider bounds.")
    return notes


def _unfit(latency: Sequence[Measured]) -> list[str]:
    found = {m.target: m.unfit for m in latency if m.unfit}
    return [f"Target {target} decides no latency gate here: {'; '.join(why)}." for target, why in found.items()]
