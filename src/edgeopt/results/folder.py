"""Names of the files of a run's folder."""

from __future__ import annotations

PREDICTIONS, LATENCIES = "predictions.jsonl", "latency.json"
#: Where the export goes that is measured as the candidate.
MODEL = "model"
