"""The transforms: one file each, listed in step/registry.py; load and lower are put in by the planner."""
