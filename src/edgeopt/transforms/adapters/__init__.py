"""Transforms that train little beside a frozen base."""
