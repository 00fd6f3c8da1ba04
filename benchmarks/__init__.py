"""Benchmarks: each a module, `python -m benchmarks.<name>`, its result a committed JSON under results/."""

import edgeopt as _edgeopt  # noqa: F401  before what a benchmark imports, which edgeopt tells to collect no figures
