"""Labeled rows, from files or from the hub, checked before anything is computed with them."""

from edgeopt.data.several import SeveralData, at_hand, is_local_task, load_data, load_reported, train_at_hand
from edgeopt.data.sources import is_local
from edgeopt.data.task_data import TaskData, row_warnings
from edgeopt.tasks.split import Split

__all__ = [
    "SeveralData",
    "Split",
    "TaskData",
    "at_hand",
    "is_local",
    "is_local_task",
    "load_data",
    "load_reported",
    "row_warnings",
    "train_at_hand",
]
