"""The gates of one recipe as CI servers are told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeopt.results.model import Gate, Report, verdict_of


@dataclass(frozen=True)
class Suite:
    """The gates of one run, for a report of tests.

    problem: why there are no gates, where an error was in the way. warnings: what stands beside the verdict. model: the
    file that was gated.
    """

    name: str
    gates: Sequence[Gate]
    problem: str = ""
    warnings: Sequence[str] = ()
    model: str = ""

    @property
    def verdict(self) -> str:
        return "error" if self.problem else verdict_of(list(self.gates))


def suite_of(report: Report) -> Suite:
    """The gates of a run."""
    return Suite(report.recipe.name, report.gates, warnings=report.warnings, model=report.candidate.artifact)
