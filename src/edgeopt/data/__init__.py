"""Labelled rows, from files or from the hub, checked before anything is computed with them."""

from edgeopt.data.task_data import Split, TaskData
from edgeopt.data.sources import load_data, local_files

__all__ = ["Split", "TaskData", "load_data", "local_files"]
