"""What a tracker does: it is opened before any work, and told each run when that is finished."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from edgeopt.track.record import Record


class Tracker(ABC):
    """A tracker by its own client, whose errors it raises as they are.

    name: what `--track`, the extra and the client's module are called. where: what it logs into, for people.
    """

    name: ClassVar[str]
    where: str = ""

    @abstractmethod
    def open(self) -> None:
        """Import the client and reach the server, where there is one. Raises ImportError where it is not installed."""

    @abstractmethod
    def log(self, record: Record, parent: str | None) -> str:
        """Keep a record, below another where there is one, and return what it is called there.

        A run of the same key that was told whole is left as it is. One that was cut off, or had not ended, is told on.
        """
