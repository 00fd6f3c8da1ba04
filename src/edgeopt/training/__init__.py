"""The one training loop that every trained transform shares."""

from edgeopt.training.loop import train

__all__ = ["train"]
