"""Benchmarks: each a module, `python -m benchmarks.<name>`, its result a committed JSON under results/."""
