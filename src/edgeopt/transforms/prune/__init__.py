"""Transforms that take weights, neurons, heads or layers out of a model."""
