"""The version of edgeopt."""

__version__ = "0.1.0"
