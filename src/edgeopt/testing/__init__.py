"""Conformance tests that the author of a transform or an exporter calls from a test of their own."""

from edgeopt.testing.exporters import check_exporter
from edgeopt.testing.transforms import check_transform

__all__ = ["check_exporter", "check_transform"]
