"""Embeddings in int8 and in bits, where the recipe asks for them: their ranges, and what a search then finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeopt.results.model import StoredEmbeddings
from edgeopt.run.exports import Written
from edgeopt.run.measuring import Measuring
from edgeopt.spec.recipe import Stored
from edgeopt.statistics.bounds import Values
from edgeopt.statistics.metric_bounds import counted_bounds
from edgeopt.support.files import write_json
from edgeopt.tasks import ranking, vectors
from edgeopt.tasks.embedding import STORED, mean_of, with_ones

#: Rows of train that ranges are taken from.
_ROWS = 1000
_CONFIDENCE = 0.95


def stored_embeddings(here: Measuring, kept: Written, asked: list[Stored], outputs: Values) -> list[StoredEmbeddings]:
    """What the candidate's embeddings find in each form that is asked for; writes embeddings.json beside the model.

    outputs: its embeddings of the report split. Ranges are those of calibration rows, on which nothing is reported.
    """
    if not asked:
        return []
    rows = here.executed.data.calibration(_ROWS, here.recipe.head.task.selection, 0)
    known, _ = here.answers(kept.opened_with({}), kept.folder, "embeddings, for their ranges", rows)
    low, high = vectors.ranges_of(np.asarray(known).reshape(-1, known.shape[-1]))
    _write(kept.folder / STORED, asked, low, high)
    queries, passages, same = _sides(outputs, len(here.report), bool(here.report.passages))
    found: list[StoredEmbeddings] = []
    wanted = ranking.nearest(queries, passages, same=same)
    for name, sides in vectors.searches(queries, passages, low, high).items():
        if name != "float32" and name.partition(",")[0] not in asked:
            continue
        shares = vectors.recall(ranking.nearest(*sides, same=same), wanted)
        bounds = counted_bounds(with_ones(shares[:, None], 0), mean_of, _CONFIDENCE)
        found.append(
            StoredEmbeddings(
                form=name,
                bytes=_bytes(name, passages.shape[-1]),
                recall=bounds.value,
                low=bounds.low,
                metrics=_metrics(here, *sides) if here.report.passages else {},
            )
        )
    return found


def _sides(outputs: Values, rows: int, corpus: bool) -> tuple[Values, Values, bool]:
    """Queries, passages, and whether both are the same texts: of a corpus, of pairs, or of single texts."""
    if corpus:
        return outputs[:rows, 0], outputs[rows:, 0], False
    if outputs.shape[1] > 1:
        return outputs[:, 0], outputs[:, 1], False
    return outputs[:, 0], outputs[:, 0], True


def _metrics(here: Measuring, queries: Values, passages: Values) -> dict[str, float]:
    labels = here.report.labels
    owner = np.repeat(np.arange(len(labels)), [len(label) for label in labels])
    wanted, grades = (np.array([each[i] for label in labels for each in label]) for i in (0, 1))
    ranks = ranking.search(queries, passages, owner, wanted)
    values = ranking.worth(owner, ranks, grades, len(labels)).mean(axis=0)
    return dict(zip(ranking.METRICS, values.tolist(), strict=True))


def _bytes(form: str, width: int) -> int:
    """Bytes of one stored embedding."""
    return {"float32": 4 * width, "int8": width}.get(form, -(-width // 8))


def _write(path: Path, asked: list[Stored], low: Values, high: Values) -> None:
    """Write what reads the stored embeddings back; see docs/how-to/embeddings.md."""
    forms: dict[Stored, object] = {
        "int8": {"low": low.tolist(), "high": high.tolist()},
        "binary": {"above": 0.0, "bits": "big"},
    }
    write_json(path, {"dimensions": len(low)} | {form: forms[form] for form in asked})
