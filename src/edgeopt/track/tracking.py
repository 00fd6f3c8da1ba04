"""Telling a tracker of runs, so that nothing it does can lose one: a failure is a warning, and the rest is not told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path

from edgeopt.support.errors import EdgeoptError, bad_input
from edgeopt.support.files import key_of
from edgeopt.support.installation import install
from edgeopt.support.secrets import hidden, safe_line
from edgeopt.track.record import Finished, Record, record_of, seed_records
from edgeopt.track.tracker import Tracker

log = logging.getLogger("edgeopt")
TRACKERS = {"mlflow": "edgeopt.track.mlflow:MlflowTracker", "wandb": "edgeopt.track.wandb:WandbTracker"}


@dataclass
class Tracking:
    """A tracker that is open; None: nobody is told. say: shows the user a line. matrix: whose cells are told of."""

    tracker: Tracker | None
    say: Callable[[str], object]
    matrix: Record | None = field(default=None, init=False)
    above: str | None = field(default=None, init=False)

    def run(self, run: Finished, name: str | None = None) -> None:
        """Tell of a finished run, and of each of its seeds. name: of the cell, of a matrix."""

        def tell(tracker: Tracker) -> None:
            record = record_of(run, name)
            id = tracker.log(record, self.above)
            for each in seed_records(run, record):
                tracker.log(each, id)
            self.say(f"{record.name} is in {tracker.name}: {hidden(tracker.where)}")

        self._tell(tell, run.folder)

    def begin(self, name: str, cells: Mapping[str, str], out: Path) -> None:
        """Tell of a matrix that begins. cells: the digest of each cell's recipe by its name."""
        self.matrix = Record(name, key_of({"name": name, "cells": dict(cells)}), once=False, status="running")

        def tell(tracker: Tracker) -> None:
            assert self.matrix is not None
            self.above = tracker.log(self.matrix, None)

        self._tell(tell, out)

    def end(self, failed: Mapping[str, str], files: Sequence[Path], out: Path) -> None:
        """Tell that the cells of the matrix are through. failed: by name, why a cell has no run."""

        def tell(tracker: Tracker) -> None:
            assert self.matrix is not None
            tags = {f"failed.{name}": reason for name, reason in failed.items()}
            tracker.log(replace(self.matrix, status="failed" if failed else "finished", tags=tags, files=files), None)

        self._tell(tell, out)

    def _tell(self, tell: Callable[[Tracker], None], folder: Path) -> None:
        if self.tracker is None:
            return
        try:
            tell(self.tracker)
        except Exception as error:  # of the client, of the network, of the other side: none may cost the run
            log.warning(
                "warning: %s takes no more: %s. The run is whole in %s; the same command tells it again",
                self.tracker.name,
                safe_line(error),
                folder,
            )
            self.tracker = None


def tracking(name: str | None, say: Callable[[str], object]) -> Tracking:
    """Open the tracker of that name, before any work.

    Raises InputError E206 where its client is not installed, E147 where it cannot be reached or there is none of that
    name.
    """
    if name is None:
        return Tracking(None, say)
    if name not in TRACKERS:
        raise bad_input("E147", f"there is no tracker {name!r}", help=f"there are {', '.join(TRACKERS)}")
    module, _, kind = TRACKERS[name].partition(":")
    tracker: Tracker = getattr(import_module(module), kind)()
    try:
        tracker.open()
    except ImportError as error:
        what = f"tracking by {name} needs its client, which is not installed here: {safe_line(error)}"
        raise bad_input("E206", what, help=install(name)) from None
    except EdgeoptError:
        raise
    except Exception as error:
        raise bad_input(
            "E147",
            f"{name} cannot be reached: {safe_line(error)}",
            help="nothing was computed; mend its address (docs/how-to/tracking.md), or leave out --track",
        ) from None
    return Tracking(tracker, say)
