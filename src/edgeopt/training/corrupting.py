"""A frozen model replaces tokens of the whole training, once: each row at the temperature of its place.

It is what the training would draw itself, to the token: the same batches go through the same model, and what is drawn
for a row follows from seed, epoch and row. A making that was cut off goes on where its last record was written.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from edgeopt.spec.recipe import BATCH
from edgeopt.support import host
from edgeopt.support.errors import InputError, step_failed
from edgeopt.support.files import file_digest, key_of, write_json
from edgeopt.support.progress import Progress
from edgeopt.tasks.base import IGNORED
from edgeopt.training.corrupted import COUNTS, DONE, HELD, READER, WHOLE, WORDS, Done, Whole, there, word_type
from edgeopt.training.masking import HELD_OUT, MaskedBatches, Masking
from edgeopt.training.replaced_tokens import ReplacedTokens
from edgeopt.training.schedule import Schedule

_FORMAT = 1
#: Seconds between records of how far it came: what a crash can cost.
RECORD_SECONDS = 10.0
#: Bytes of the disk that stay free.
_SPARE = 100_000_000


@dataclass(frozen=True)
class Corruption:
    """What is corrupted and how.

    text: the address of the corpus in tokens, and how rows are made of it. auxiliary: the digest of the model that
    replaces. masked: makes batches of the rows, with what is hidden and the luck of what is drawn. held: rows that are
    only looked at, at the temperature 1. bf16: whether the model computes in bfloat16.
    """

    text: Mapping[str, Any]
    auxiliary: str
    masked: MaskedBatches
    schedule: Schedule
    rows: Sequence[dict[str, Any]]
    held: Sequence[dict[str, Any]]
    start: float
    decay: float
    bf16: bool = False

    def address(self) -> str:
        """The key of all that decides the tokens."""
        masking, schedule = self.masked.masking, self.schedule
        return key_of(
            {
                "format": _FORMAT,
                "text": dict(self.text),
                "auxiliary": self.auxiliary,
                "masking": {
                    **_given(masking, but=("follows", "special")),
                    "special": sorted(masking.special),
                    "whole_word": masking.follows is not None,
                },
                "schedule": {**_given(schedule, but=("lengths", "epochs", "max_steps")), "steps": schedule.steps},
                "temperature": [self.start, self.decay],
                **({"precision": "bf16"} if self.bf16 else {}),
                "torch": host.installed("torch"),
            }
        )

    @property
    def expected_bytes(self) -> int:
        """How much of the disk it is likely to take: the shares of tokens that are hidden, and two bytes a row."""
        tokens = float(np.mean(self.schedule.lengths)) * self.schedule.rows
        kind = np.dtype(word_type(self.masked.masking))
        return round(tokens * self.masked.masking.share * kind.itemsize) + 2 * self.schedule.rows


def _given(what: Masking | Schedule, but: Sequence[str]) -> dict[str, Any]:
    """What something was made with, and not what it has found out since."""
    return {field.name: getattr(what, field.name) for field in fields(what) if field.name not in but}


def corrupt(
    asked: Corruption, root: Path, load: Callable[[], ReplacedTokens], progress: Progress
) -> tuple[Path, Whole]:
    """The folder of the replaced tokens, made where it is not there yet; one process does, others wait for it.

    load: makes the model that replaces, which happens only where it is needed. Raises StepError E405 where the disk has
    no room for it.
    """
    folder = root / asked.address()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        found = there(folder)
        if found is None:
            found = _Making(asked, folder, load, progress).run()
    os.utime(folder / WHOLE)  # when it was last of use
    return folder, found


def told(folder: Path, whole: Whole) -> dict[str, Any]:
    """What a report says of it."""
    size = sum((folder / name).stat().st_size for name in (WORDS, COUNTS, HELD))
    figures = {k: v for k, v in whole.model_dump().items() if k in ("rows", "words", "seconds", "processor_seconds")}
    return {**figures, "bytes": size, "address": folder.name}


class _Making:
    """The making of one folder."""

    def __init__(self, asked: Corruption, folder: Path, load: Callable[[], ReplacedTokens], progress: Progress) -> None:
        self.asked, self.folder, self.progress = asked, folder, progress
        self.done = _so_far(folder, np.dtype(word_type(asked.masked.masking)).itemsize)
        self._enough_room()
        torch.set_num_threads(host.cpus())
        self.objective = load()
        self.device = torch.device("cuda" if host.has_cuda() else "cpu")
        self._began, self._began_processor = time.monotonic(), time.process_time()

    def run(self) -> Whole:
        asked, kind = self.asked, word_type(self.asked.masked.masking)
        with self.objective.inside(self.objective.auxiliary), torch.no_grad():
            self._rows(kind)
            held, guessed = self._held_out()
        (self.folder / HELD).write_bytes(held.astype(kind).tobytes())
        for name in (WORDS, COUNTS, HELD):
            _sync(self.folder / name)
        files = {name: file_digest(self.folder / name) for name in (WORDS, COUNTS, HELD)}
        found = Whole(**self._now().model_dump(), held=len(held), guessed=guessed, files=files)
        write_json(self.folder / WHOLE, found.model_dump())
        (self.folder / DONE).unlink(missing_ok=True)
        rate = found.rows / max(found.seconds, 1e-3)
        self.progress.say(f"  {found.words:,} tokens drawn for {found.rows:,} rows, {rate:.0f} rows a second")
        assert found.rows == asked.schedule.rows
        return found

    def _rows(self, kind: type[np.unsignedinteger[Any]]) -> None:
        asked, steps = self.asked, self.asked.schedule.steps
        batches = islice(asked.schedule.batches(), self.done.batches, None)
        recorded = time.monotonic()
        with self._files() as (words, counts), self.progress.bar("corrupt", asked.schedule.rows) as bar:
            for batch in batches:
                made = asked.masked.batch([asked.rows[int(row)] for row in batch.rows], batch.epoch)
                drawn, each, _ = self._drawn(made, self.objective.temperature(batch.step, steps))
                words.write(drawn.astype(kind).tobytes())
                counts.write(each.astype(np.uint16).tobytes())
                self.done.batches += 1
                self.done.rows += len(batch.rows)
                self.done.words += len(drawn)
                bar.update(self.done.rows)
                if time.monotonic() - recorded >= RECORD_SECONDS:
                    self._record(words, counts)
                    recorded = time.monotonic()

    def _held_out(self) -> tuple[np.ndarray[Any, Any], int]:
        """(what is drawn for the held-out rows, how many of the hidden tokens the model would guess)."""
        found, right = [np.zeros(0, np.int64)], 0
        for at in range(0, len(self.asked.held), BATCH):
            made = self.asked.masked.batch(self.asked.held[at : at + BATCH], HELD_OUT)
            drawn, _, guessed = self._drawn(made, 1.0)
            found.append(drawn)
            right += guessed
        return np.concatenate(found), right

    def _drawn(
        self, batch: dict[str, Any], temperature: float
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
        """(what is drawn for the hidden tokens of a batch, how many each row has, how many would be guessed)."""
        batch = {name: values.to(self.device) for name, values in batch.items()}
        hidden = batch["labels"] != IGNORED
        scores, wanted, filled, _ = self.objective.filled_in(batch, temperature)
        guessed = int((scores.argmax(-1) == wanted).sum())
        return filled[hidden].cpu().numpy(), hidden.sum(-1).cpu().numpy(), guessed

    def _now(self) -> Done:
        spent, processor = time.monotonic() - self._began, time.process_time() - self._began_processor
        seconds, before = round(self.done.seconds + spent, 3), self.done.processor_seconds
        return self.done.model_copy(update={"seconds": seconds, "processor_seconds": round(before + processor, 3)})

    def _record(self, *files: Any) -> None:
        for file in files:
            file.flush()
            os.fsync(file.fileno())
        write_json(self.folder / DONE, self._now().model_dump())

    @contextmanager
    def _files(self) -> Iterator[tuple[Any, Any]]:
        with (self.folder / WORDS).open("ab") as words, (self.folder / COUNTS).open("ab") as counts:
            yield words, counts

    def _enough_room(self) -> None:
        asked = self.asked
        left = asked.expected_bytes * (1 - self.done.rows / max(asked.schedule.rows, 1))
        free = shutil.disk_usage(self.folder).free
        if left + _SPARE > free:
            raise step_failed(
                "E405",
                f"the replaced tokens of this training take about {left / 1e9:.2f} GB in the store, and "
                f"{free / 1e9:.2f} GB are free",
                help="free space, give --store on another disk, or leave out offline",
            )


def _so_far(folder: Path, size: int) -> Done:
    """What is there of a making that was cut off; what was written behind its last record is cut away."""
    (folder / WHOLE).unlink(missing_ok=True)
    try:
        done: Done = READER.model(folder / DONE, Done)
        for name, length in ((WORDS, done.words * size), (COUNTS, 2 * done.rows)):
            if (folder / name).stat().st_size < length:
                raise OSError
            os.truncate(folder / name, length)
    except (InputError, OSError):
        done = Done()
        for name in (WORDS, COUNTS):
            (folder / name).write_bytes(b"")
    return done


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
