"""Labeled rows, from files or from the hub, checked before anything is computed with them."""

from edgeopt.data.sources import at_hand, is_local, load_data, load_reported, train_at_hand
from edgeopt.data.task_data import TaskData, row_warnings
from edgeopt.tasks.split import Split

__all__ = ["Split", "TaskData", "at_hand", "is_local", "load_data", "load_reported", "row_warnings", "train_at_hand"]
