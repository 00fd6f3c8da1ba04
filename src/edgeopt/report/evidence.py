"""What a reader should know of the evidence, whether a run measured it or `gate` did: both say the same."""

from __future__ import annotations

from edgeopt.gates.decide import Evidence
from edgeopt.run.findings.latency_notes import latency_notes


def evidence_notes(evidence: Evidence) -> list[str]:
    """Of what was measured, whether a run measured it or `gate` did."""
    answered = len(evidence.candidate_logits) > 0
    return [*latency_notes(evidence.latency), *(evidence.task.notes(evidence.labels, evidence.candidate_logits) if answered else [])]
