"""Measurements of exported artifacts: accuracy, size, latency, memory, parity. No training code."""
