"""Several runs side by side: rows, fronts, tables, and what changed between two."""
