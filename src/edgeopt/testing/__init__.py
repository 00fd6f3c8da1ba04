"""Conformance tests for authors of a transform, exporter, task or model family, to call from their own tests."""

from edgeopt.testing.exporters import check_exporter
from edgeopt.testing.families import check_family
from edgeopt.testing.tasks import check_task
from edgeopt.testing.transforms import check_transform

__all__ = ["check_exporter", "check_family", "check_task", "check_transform"]
