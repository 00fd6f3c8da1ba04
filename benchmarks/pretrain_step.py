"""Optimizer steps of one way to train an ELECTRA, in a process of its own: what benchmarks.pretrain_steps starts.

The task comes as JSON on stdin. Of each step the seconds of processor time are told, and of the process the peak of its
memory, also above what Python and the libraries had taken before.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeopt.models.generator import generator_of
from edgeopt.models.words_head import FOR_DETECTION, FOR_WORDS, with_head
from edgeopt.support import host
from edgeopt.training.adam import UncorrectedAdam
from edgeopt.training.corrupted import Detection, Whole
from edgeopt.training.masking import MaskedBatches, Masking
from edgeopt.training.objective import ROW, attached
from edgeopt.training.replaced_tokens import ReplacedTokens


def main() -> None:
    task = json.load(sys.stdin)
    torch.set_num_threads(host.cpus())
    torch.manual_seed(0)
    before = host.peak_memory()
    model, _ = with_head(Path(task["model"]), FOR_DETECTION)
    objective = _objective(model, task)
    masking = Masking(0.15, 0.85, 0.0, 4, model.config.vocab_size, frozenset(range(5)), 0)
    batches = MaskedBatches(masking, 0)
    batches.draws = task["way"] == "frozen"
    seconds = []
    with attached(model.train(), objective):
        optimizer = UncorrectedAdam(model.parameters(), lr=1e-4)
        for step in range(task["steps"]):
            batch = _batch(batches, task, step)
            began = time.process_time()
            objective.loss(model, batch, step, task["steps"]).backward()
            optimizer.step()
            optimizer.zero_grad()
            seconds.append(time.process_time() - began)
    peak = host.peak_memory()
    print(json.dumps({"seconds": seconds, "peak_bytes": peak, "above_bytes": peak - before}))


def _objective(model: Any, task: dict[str, Any]) -> Any:
    if task["way"] == "original":
        return ReplacedTokens(generator_of(model, 0.25, share=True), joint=True, weight=50.0)
    if task["way"] == "frozen":
        return ReplacedTokens(with_head(Path(task["auxiliary"]), FOR_WORDS)[0], joint=False, weight=1.0, start=2.0)
    return Detection(task["steps"], Whole(held=0, guessed=0, files={}), {})


def _batch(batches: MaskedBatches, task: dict[str, Any], step: int) -> dict[str, Any]:
    """Rows of any tokens: what a step costs does not depend on them."""
    words, draw = batches.masking.words, np.random.default_rng(step)
    rows = [{"input_ids": draw.integers(5, words, task["tokens"]), ROW: i} for i in range(task["rows"])]
    batch = batches.batch(rows, step)
    if task["way"] == "offline":
        batch["labels"] = torch.from_numpy((draw.random(batch["labels"].shape) < 0.1).astype(np.int64))
    return batch


if __name__ == "__main__":
    main()
