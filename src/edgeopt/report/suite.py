"""The gates of one recipe as CI servers are told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeopt.results.model import Gate, verdict_of


@dataclass(frozen=True)
class Suite:
    """The gates of one run, for a report of tests.

    problem: why there are no gates, where an error was in the way. warnings: what stands beside the verdict.
    """

    name: str
    gates: Sequence[Gate]
    problem: str = ""
    warnings: Sequence[str] = ()

    @property
    def verdict(self) -> str:
        return "error" if self.problem else verdict_of(list(self.gates))
