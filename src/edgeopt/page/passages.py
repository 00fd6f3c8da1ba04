"""The passages of a page that searches: read, embedded by the model that the run ships, and written for the browser.

A browser's sums of 8-bit products are exact. On a processor without VNNI those of ONNX Runtime's fused kernels are not:
there MiniLM's static int8 embeddings were .11 of their length away from the browser's. So passages are embedded without
these kernels, which came to .01 (20 queries, Chromium), and both sides of a cosine are of one kind.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeopt.predict.rows import rows_of
from edgeopt.results.sealed import Run
from edgeopt.run.predict import Predictor, asked_of_run, onnx_asked
from edgeopt.support.errors import bad_input
from edgeopt.tasks import ranking
from edgeopt.tasks.embedding import Embedding

TEXTS, VECTORS = "passages.json", "passages.bin"
_EXACT = {"graph_optimization_level": "ORT_ENABLE_BASIC"}


def write_passages(
    run: Run, file: Path, column: str | None, folder: Path, told: Callable[[str], object] = lambda said: None
) -> dict[str, Any]:
    """Write the passages of a file and their embeddings, of length 1 in float32; returns what the scripts know of them.

    column: that of the passages; None: the one of the recipe. Equal passages are one. Raises InputError as `predict`
    does for a file or a row, E305 where there is no passage.
    """
    asked = asked_of_run(run)
    task = asked.task
    assert isinstance(task, Embedding)
    over = task.over_passages(column or task.text_columns[-1])
    with rows_of(file, over, None, None) as rows:
        texts = list(dict.fromkeys(texts for _, texts in rows))
    if not texts:
        raise bad_input("E305", f"{file} has no passages", help="give a file with a passage a row")
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        told(f"{done:,} of {len(texts):,} passages embedded")

    exact = onnx_asked(asked.folder, run.folder / run.report.candidate.artifact, over, _EXACT)
    found = [answer.logits for answer in Predictor(exact).answers(texts, told=count)]
    (folder / TEXTS).write_text(json.dumps([text for (text,) in texts], ensure_ascii=False), encoding="utf-8")
    (folder / VECTORS).write_bytes(ranking.unit(np.stack(found)).astype("<f4").tobytes())
    sentence = task.sentence(asked.folder)
    return {
        "passages": TEXTS,
        "vectors": VECTORS,
        "count": len(texts),
        "prompt": sentence.query,
        "lower": sentence.lower,
    }
