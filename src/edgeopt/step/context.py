"""What a transform is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


class TrainedAlong(Exception):
    """Raised by the training loop in every process but the first: its part of the step is done."""
