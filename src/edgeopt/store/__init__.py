"""States by their keys, on disk."""
