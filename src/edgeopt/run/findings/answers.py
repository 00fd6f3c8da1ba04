"""Both models' answers side by side: agreement, changed answers with their texts, slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeopt.gates import slices
from edgeopt.gates.evidence import Evidence
from edgeopt.results.model import Agreement, Closeness, Flip, Moved, ScoreChange, ScoreChanges, Slice, Slices
from edgeopt.spec.recipe import Diagnostics
from edgeopt.statistics import agreement as of
from edgeopt.statistics.bounds import Values

_CHARACTERS = 300
Texts = Sequence[tuple[str, ...]]


def agreement(evidence: Evidence, texts: Texts, asked: Diagnostics) -> Agreement | None:
    """How far both models agree; None where the task does not give each row one class. texts: of every row."""
    task, labels = evidence.task, evidence.labels
    if not task.one_class:
        return None
    base, candidate = (
        of.probabilities(np.asarray(x, dtype=float)) for x in (evidence.baseline_logits, evidence.candidate_logits)
    )
    before, after = base.argmax(1), candidate.argmax(1)
    gained, lost = (
        np.flatnonzero((before != labels) & (after == labels)),
        np.flatnonzero((before == labels) & (after != labels)),
    )
    differ = int(np.sum(before != after))

    def flips(rows: Values) -> list[Flip]:
        surest = rows[np.argsort(-candidate[rows].max(1), kind="stable")][: asked.flips]
        return [
            Flip(
                row=int(i),
                label=task.names[labels[i]],
                baseline=task.names[before[i]],
                candidate=task.names[after[i]],
                probability=float(candidate[i].max()),
                texts=_shown(texts[i], asked),
            )
            for i in surest
        ]

    return Agreement(
        rows=len(labels),
        gained=len(gained),
        lost=len(lost),
        other=differ - len(gained) - len(lost),
        mcnemar_p=of.mcnemar_exact(len(gained), len(lost)),
        kl=float(of.kl_divergence(base, candidate).mean()),
        loyalty=of.loyalty(base, candidate),
        calibration_error_baseline=of.calibration_error(base, labels),
        calibration_error_candidate=of.calibration_error(candidate, labels),
        negative=flips(lost),
        positive=flips(gained),
    )


def changes(evidence: Evidence, texts: Texts, asked: Diagnostics) -> ScoreChanges | None:
    """How far the scores of a regression moved, and the rows where most; None for other tasks. texts: of every row."""
    task, labels = evidence.task, evidence.labels
    if not task.scores or task.grouped:  # of a ranking a score means nothing beside a label
        return None
    base, candidate = (task.predict(x) for x in (evidence.baseline_logits, evidence.candidate_logits))
    moved = np.abs(candidate - base)
    most = np.argsort(-moved, kind="stable")[: asked.flips]
    return ScoreChanges(
        mean_absolute=float(moved.mean()),
        largest_absolute=float(moved.max()),
        correlation=task.measure("pearson", base, candidate),
        error_baseline=float(np.abs(base - labels).mean()),
        error_candidate=float(np.abs(candidate - labels).mean()),
        largest=[
            ScoreChange(
                row=int(i),
                label=float(labels[i]),
                baseline=float(base[i]),
                candidate=float(candidate[i]),
                texts=_shown(texts[i], asked),
            )
            for i in most
        ],
    )


def closeness(evidence: Evidence, texts: Texts, asked: Diagnostics) -> Closeness | None:
    """How far the embeddings moved, and the rows where most; None for other tasks. texts: of every row."""
    if not evidence.task.embeds:
        return None
    near, constant = evidence.candidate_logits[:, -2], evidence.baseline_logits[:, -1]
    order = np.argsort(near, kind="stable")
    return Closeness(
        mean=float(near.mean()),
        worst_twentieth=float(np.quantile(near, 0.05)),
        least=float(near.min()),
        constant=float(constant.mean()),
        furthest=[
            Moved(row=int(i), agreement=float(near[i]), texts=_shown(texts[i], asked)) for i in order[: asked.flips]
        ],
    )


def by_slice(evidence: Evidence, confidence: float) -> Slices | None:
    """Differences of the task's `slice_metric` on each slice."""
    task, metric = evidence.task, evidence.task.slice_metric
    if metric is None:
        return None
    outputs = evidence.labels, evidence.baseline_logits, evidence.candidate_logits
    parts = slices.parts_of(task, metric, evidence.labels, evidence.groups)
    large = [p for p in parts if len(p.rows) >= slices.SMALLEST]
    bounds = [slices.difference(task, metric, *outputs, p, confidence) for p in large]
    p_values = slices.holm(
        [slices.p_value(task, metric, *outputs, p, b, confidence) for p, b in zip(large, bounds, strict=True)]
    )
    found = {
        str(part): {
            "delta": b.value,
            "low": b.low,
            "high": b.high,
            "p": p,
            **{
                name: task.measure(metric, evidence.labels[part.rows], x[part.rows])
                for name, x in zip(("baseline", "candidate"), outputs[1:], strict=True)
            },
        }
        for part, b, p in zip(large, bounds, p_values, strict=True)
    }
    rows = [Slice(grouping=p.grouping, name=p.name, rows=len(p.rows), **found.get(str(p), {})) for p in parts]
    return Slices(metric=metric, smallest=slices.SMALLEST, slices=rows) if rows else None


def _shown(texts: tuple[str, ...], asked: Diagnostics) -> list[str]:
    return (
        [text if len(text) <= _CHARACTERS else text[: _CHARACTERS - 1] + "…" for text in texts] if asked.texts else []
    )
