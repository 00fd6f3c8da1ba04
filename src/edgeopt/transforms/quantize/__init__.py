"""Transforms that make int8 graphs, and the parts that they share."""
