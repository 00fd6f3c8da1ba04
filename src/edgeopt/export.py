"""What an exporter is: a finished state to a folder that a runtime loads.

Exporters are found through the entry-point group `edgeopt.exporters`; edgeopt's own live in the
import package `edgeopt_exporters`, which nothing here imports.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

from edgeopt.contract import Facts
from edgeopt.store import State

GROUP = "edgeopt.exporters"


@dataclass(frozen=True)
class ExportInput:
    """state: what is exported. fp32: the ONNX state it was quantised from, or the same state; None where it was trained in
    int8 and never had a float graph."""

    state: State
    fp32: State | None


@dataclass(frozen=True)
class Exported:
    """artifact: the file that is measured, relative to the folder; tokenizer.json is in the folder. optimized: where the
    graph is to be saved as the runtime optimises it, once it is known with which options that is quickest."""

    artifact: Path
    optimized: Path | None = None


class Exporter(ABC):
    """Base of every exporter."""

    name: ClassVar[str]
    summary: ClassVar[str]
    #: Facts that the state must have.
    requires: ClassVar[Facts]
    #: Distributions that must be installed.
    needs: ClassVar[tuple[str, ...]] = ()
    #: Option names with their defaults; values in a recipe must be of the same type.
    options: ClassVar[dict[str, Any]] = {}

    @abstractmethod
    def write(self, given: ExportInput, folder: Path, options: dict[str, Any]) -> Exported:
        """Write into an empty folder what the runtime loads."""

    @abstractmethod
    def logits(self, folder: Path, exported: Exported, feed: dict[str, Any]) -> Any:
        """Run what was written: the output for one feed of (batch, sequence) int64 arrays."""


@functools.cache
def exporter(name: str) -> Exporter:
    """The installed exporter of that name. Raises KeyError where there is none."""
    found = {e.name: e for e in entry_points(group=GROUP)}
    made = found[name].load()()
    if not isinstance(made, Exporter) or made.name != name:
        raise TypeError(f"the entry point {name!r} does not lead to an Exporter of that name")
    return made


def exporter_names() -> list[str]:
    return sorted({e.name for e in entry_points(group=GROUP)})
