"""Verdicts: what is decided, of a run, of a finished model, against a baseline file."""
