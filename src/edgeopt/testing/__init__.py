"""Conformance tests that the author of a transform, an exporter, a task or a family calls from a test of their own."""

from edgeopt.testing.exporters import check_exporter
from edgeopt.testing.families import check_family
from edgeopt.testing.tasks import check_task
from edgeopt.testing.transforms import check_transform

__all__ = ["check_exporter", "check_family", "check_task", "check_transform"]
