"""What a teacher answers to the rows of a training: computed once, kept on disk, memory-mapped.

<folder>/<item>.npy    float32, all rows' values one after the other: `logits`, or `hidden-3`: layer 3 of a kind

Answers are computed in batches of their own, of rows of like length, and kept or not by their size and `cache_gb`
alone: were either to depend on the training's batches or on the disk, the last bits of the training would, too. The
teacher reads the texts with its own tokenizer. A batch holds the numbers of its rows, by which their answers are
found.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from edgeopt.statistics.bounds import Values
from edgeopt.support import host
from edgeopt.support.progress import Progress
from edgeopt.tasks.encode import Ids, length
from edgeopt.training.distill_terms import flat, padded, real_tokens
from edgeopt.training.teacher import Teacher

_BATCH = 32
LOGITS = "logits"


class Answers:
    """One teacher's answers by the numbers of the rows.

    load: makes the teacher, which happens only when it is needed. rows: its inputs for every row. collate: a padded
    batch of some. items: what is asked for, with the number of values: of a row for the logits, else of a token.
    a_token: the logits are of tokens too. folder: where answers are kept; None: they are computed anew each time.
    """

    def __init__(
        self,
        load: Callable[[], Teacher],
        rows: Sequence[Ids],
        collate: Callable[[list[Any]], dict[str, Any]],
        items: dict[str, int],
        *,
        a_token: bool,
        folder: Path | None,
        progress: Progress,
    ) -> None:
        self.load, self.rows, self.collate, self.items = load, rows, collate, items
        self.a_token, self.folder, self.progress = a_token, folder, progress
        self.seconds = 0.0
        self._kept: dict[str, Values] = {}

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher, loaded when it is first needed."""
        return self.load()

    @cached_property
    def tokens(self) -> Values:
        """How many tokens each row has; of choices all together."""
        masks = [r["attention_mask"] for r in self.rows]
        return np.array([sum(map(sum, m)) if isinstance(m[0], list) else sum(m) for m in masks], dtype=np.int64)

    @property
    def bytes(self) -> int:
        """How many bytes keeping everything takes."""
        tokens = int(self.tokens.sum())
        return 4 * sum(
            width * (len(self.rows) if item == LOGITS and not self.a_token else tokens)
            for item, width in self.items.items()
        )

    def prepare(self) -> None:
        """Compute what the folder lacks. One process does, others wait for it."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        with FileLock(self.folder / "lock"):
            missing = [item for item in self.items if not self._is_whole(item)]
            if missing:
                self._compute(missing)
                self.__dict__.pop("teacher", None)  # its memory is the student's now
        self._kept = {item: np.load(self._file(item), mmap_mode="r") for item in self.items}
        self.seconds = time.perf_counter() - started

    def of(self, rows: Sequence[int], device: torch.device) -> dict[str, torch.Tensor]:
        """The rows' values of each item: (tokens, width) without padding, or the logits as the model gives them."""
        if self.folder is None:
            return self._ask(rows, device, list(self.items))
        out = {}
        for item, values in self._kept.items():
            starts = self._starts(item)
            parts = np.concatenate([values[starts[row] : starts[row + 1]] for row in rows])
            out[item] = torch.from_numpy(parts).to(device)
        if self.a_token and LOGITS in out:
            out[LOGITS] = padded(out[LOGITS], self._real(rows).to(device))
        return out

    def _real(self, rows: Sequence[int]) -> torch.Tensor:
        return real_tokens(self.collate([self.rows[row] for row in rows])["attention_mask"])

    def _file(self, item: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{item}.npy"

    def _is_whole(self, item: str) -> bool:
        """Whether the file is there and holds as many numbers as there are to be; else it is computed anew."""
        try:
            kept = np.load(self._file(item), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return False
        rows = int(self._starts(item)[-1])
        return bool(
            kept.dtype == np.float32
            and kept.ndim > 1
            and kept.shape[0] == rows
            and kept.size == rows * self.items[item]
        )

    def _starts(self, item: str) -> Values:
        counts = np.ones(len(self.rows), dtype=np.int64) if item == LOGITS and not self.a_token else self.tokens
        return np.concatenate([[0], np.cumsum(counts)])

    def _ask(self, rows: Sequence[int], device: torch.device, items: Sequence[str]) -> dict[str, torch.Tensor]:
        batch = {k: v.to(device) for k, v in self.collate([self.rows[row] for row in rows]).items() if k != "labels"}
        wanted = {item: item.partition("-") for item in items if item != LOGITS}
        logits, inside = self.teacher.look(batch, {kind for kind, _, _ in wanted.values()})
        real = real_tokens(batch["attention_mask"])
        out = {item: flat(inside[kind][int(layer)], real) for item, (kind, _, layer) in wanted.items()}
        return {**out, LOGITS: logits.float()} if LOGITS in items else out

    def _compute(self, items: Sequence[str]) -> None:
        """Batches of rows of like length, so that the answers depend on the rows alone.

        Each file is renamed when it is whole.
        """
        order = sorted(range(len(self.rows)), key=lambda row: -length(self.rows[row]))
        device = torch.device("cuda" if host.has_cuda() else "cpu")
        files: dict[str, np.memmap[Any, Any]] = {}
        with self.progress.bar("teacher", len(order)) as bar:
            for at in range(0, len(order), _BATCH):
                rows = order[at : at + _BATCH]
                for item, values in self._ask(rows, device, items).items():
                    if item == LOGITS and self.a_token:
                        values = flat(values, self._real(rows).to(device))
                    starts = self._starts(item)
                    if item not in files:
                        shape = (int(starts[-1]), *values.shape[1:])
                        files[item] = np.lib.format.open_memmap(
                            self._part(item), mode="w+", dtype=np.float32, shape=shape
                        )
                    done = 0
                    for row in rows:
                        count = int(starts[row + 1] - starts[row])
                        files[item][starts[row] : starts[row + 1]] = values[done : done + count].cpu().numpy()
                        done += count
                bar.update(min(at + _BATCH, len(order)))
        for item, file in files.items():
            file.flush()
            os.replace(self._part(item), self._file(item))

    def _part(self, item: str) -> Path:
        return self._file(item).with_suffix(".part")


def name_of(teacher: str, rows: Sequence[Ids], precision: str) -> str:
    """The name of the folder of a teacher's answers, which follows from teacher (its digest), inputs and precision."""
    digest = hashlib.sha256(json.dumps([teacher, precision]).encode())
    for row in rows:
        digest.update(json.dumps({k: v for k, v in row.items() if k != "labels"}, sort_keys=True).encode())
    return digest.hexdigest()
