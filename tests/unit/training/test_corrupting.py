"""Tokens replaced before a training: in the order of its steps, as they would be during it, and after a cut."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler
from transformers import ElectraConfig, ElectraForMaskedLM

from edgeopt.support.errors import StepError
from edgeopt.support.progress import Progress
from edgeopt.tasks.base import IGNORED
from edgeopt.training import corrupting
from edgeopt.training.corrupted import CorruptedBatches, there
from edgeopt.training.corrupting import Corruption, corrupt
from edgeopt.training.masking import MaskedBatches, Masking
from edgeopt.training.objective import ROW
from edgeopt.training.replaced_tokens import ReplacedTokens, drawn_at, temperature_at
from edgeopt.training.sampler import LengthGroupedSampler
from edgeopt.training.schedule import Schedule

CONFIG = ElectraConfig(
    vocab_size=60, embedding_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
)
SIZES = (12, 20, 7, 20, 9, 16, 20)
ROWS = [{"input_ids": np.random.default_rng(i).integers(5, 60, n), ROW: i} for i, n in enumerate(SIZES)]


def auxiliary() -> ReplacedTokens:
    torch.manual_seed(0)
    return ReplacedTokens(ElectraForMaskedLM(CONFIG), joint=False, weight=1.0, start=3.0, decay=0.1)


def asked(**keys: Any) -> Corruption:
    masked = MaskedBatches(Masking(0.4, 0.85, 0.0, 4, 60, frozenset(range(5)), 0), 0)
    masked.draws = True
    schedule = Schedule(
        **{
            "lengths": SIZES,
            "batch": 2,
            "accumulation": 1,
            "processes": 1,
            "seed": 0,
            "epochs": 1.5,
            "max_steps": None,
            **keys,
        }
    )
    return Corruption({"corpus": "0"}, "1", masked, schedule, ROWS, ROWS[:3], 3.0, 0.1)


@pytest.mark.parametrize(
    ("keys", "steps"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"accumulation": 3, "epochs": 2.0}, [0, 0, 0, 1, 2, 2, 2, 3]),
        ({"processes": 2, "max_steps": 3}, [0, 0, 1, 1, 2, 2]),
    ],
)
def test_the_order_is_that_of_the_training(keys: dict[str, Any], steps: list[int]) -> None:
    schedule = asked(**keys).schedule
    batches = list(schedule.batches())
    assert [batch.step for batch in batches] == steps
    assert sum(len(batch.rows) for batch in batches) == schedule.rows
    assert schedule.steps == steps[-1] + 1
    seen = Counter(int(row) for batch in batches if batch.epoch == 0 for row in batch.rows)
    assert set(seen.values()) == {1}


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("count", [12, 13, 15, 7, 3])
def test_several_processes_ask_for_the_rows_that_were_made(tmp_path: Path, processes: int, count: int) -> None:
    """Accelerate hands every so many batches to a process, and fills the last ones up with rows of the first."""
    sizes = [5 + i % 7 for i in range(count)]
    given = asked(lengths=sizes, processes=processes, epochs=2.0)
    rows = [{"input_ids": np.random.default_rng(i).integers(5, 60, n), ROW: i} for i, n in enumerate(sizes)]
    given = replace(given, rows=rows)
    folder, _ = corrupt(given, tmp_path, auxiliary, Progress(show=False))
    kept, batch = CorruptedBatches(folder, given.masked, given.schedule, given.held), given.schedule.batch
    planned = {(b.epoch, b.step): Counter[int]() for b in given.schedule.batches()}
    for each in given.schedule.batches():
        planned[each.epoch, each.step].update(map(int, each.rows))
    steps = given.schedule.steps_an_epoch
    for epoch in range(2):
        sampler = LengthGroupedSampler(sizes, batch * processes, 0)
        sampler.set_epoch(epoch)
        batches = BatchSampler(sampler, batch, drop_last=False)
        shards = [list(BatchSamplerShard(batches, processes, i)) for i in range(processes)]
        assert {len(shard) for shard in shards} == {steps}
        for step, together in enumerate(zip(*shards, strict=True)):
            seen = Counter(row for some in together for row in some)
            wanted = planned[epoch, epoch * steps + step]
            assert seen >= wanted and (seen == wanted or step == steps - 1)
            for row in seen:  # one that fills up has the words of its own place
                made, labels = kept.made(rows[row], epoch)
                hidden = given.masked.masking.hide(rows[row]["input_ids"], row, epoch)[1] != IGNORED
                assert not labels[~hidden].any() and (kept._of(row, epoch) == made[hidden]).all()


def test_what_is_kept_is_what_the_training_would_draw(tmp_path: Path) -> None:
    given, online = asked(), auxiliary()
    folder, whole = corrupt(given, tmp_path, auxiliary, Progress(show=False))
    batches = CorruptedBatches(folder, given.masked, given.schedule, given.held)
    with online.inside(online.auxiliary), torch.no_grad():
        for batch in given.schedule.batches():
            rows = [ROWS[int(i)] for i in batch.rows]
            heat = online.temperature(batch.step, given.schedule.steps)
            _, _, filled, replaced = online.filled_in(given.masked.batch(rows, batch.epoch), heat)
            kept = batches.batch(rows, batch.epoch)
            assert torch.equal(kept["input_ids"], filled)
            assert torch.equal(kept["labels"] == 1, replaced)
        _, wanted, filled, _ = online.filled_in(given.masked.held_out(ROWS[:3]), 1.0)
    assert torch.equal(batches.held_out(ROWS[:3])["input_ids"], filled)
    assert whole.held == len(wanted)
    ahead = batches.batch(ROWS, 1)  # of the second epoch half is in the schedule
    assert 0 < int((ahead["labels"] == 1).sum(1).bool().sum()) < len(ROWS)


def test_the_shares_of_words_are_those_of_the_temperature() -> None:
    scores, luck = (
        torch.tensor([2.0, 1.0, -math.inf, 0.0]),
        torch.rand(40_000, generator=torch.Generator().manual_seed(1)),
    )
    for share in (0.0, 0.1, 1.0):
        heat = temperature_at(share, 3.0, 0.1)
        found = torch.bincount(drawn_at(scores.repeat(len(luck), 1), heat, luck.double()), minlength=4)
        expected = torch.softmax(scores / heat, 0) * len(luck)
        kept = expected > 0
        square = float(((found - expected)[kept] ** 2 / expected[kept]).sum())
        assert square < 13.8  # of chi-squared with two degrees of freedom more is found once in a thousand
        assert int(found[2]) == 0


def test_a_making_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = asked(epochs=3.0)
    whole = corrupt(given, tmp_path / "whole", auxiliary, Progress(show=False))[0]
    monkeypatch.setattr(corrupting, "RECORD_SECONDS", 0.0)
    fills, calls = ReplacedTokens.filled_in, Counter[str]()

    def fill_and_fail(self: ReplacedTokens, *args: Any) -> Any:
        calls["all"] += 1
        if calls["all"] == 6:
            raise RuntimeError("cut")
        return fills(self, *args)

    monkeypatch.setattr(ReplacedTokens, "filled_in", fill_and_fail)
    with pytest.raises(RuntimeError, match="cut"):
        corrupt(given, tmp_path / "cut", auxiliary, Progress(show=False))
    folder = tmp_path / "cut" / given.address()
    assert json.loads((folder / "done.json").read_text())["batches"] == 5
    with (folder / "words.bin").open("ab") as file:
        file.write(b"half")  # what was written behind the last record
    corrupt(given, tmp_path / "cut", auxiliary, Progress(show=False))
    assert calls["all"] == 6 + 7 + 1  # the other batches, and the held-out rows
    for name in ("words.bin", "counts.bin", "held.bin"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_what_is_there_is_used_and_what_is_damaged_is_made_anew(tmp_path: Path) -> None:
    given = asked()
    folder, whole = corrupt(given, tmp_path, auxiliary, Progress(show=False))

    def none() -> ReplacedTokens:
        raise AssertionError("it was there")

    assert corrupt(given, tmp_path, none, Progress(show=False)) == (folder, whole)
    before = (folder / "words.bin").read_bytes()
    (folder / "words.bin").write_bytes(before[:-2] + b"\0\0")
    assert there(folder) is None
    corrupt(given, tmp_path, auxiliary, Progress(show=False))
    assert (folder / "words.bin").read_bytes() == before


def test_too_small_a_disk_is_said_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrupting, "_SPARE", 10**18)
    with pytest.raises(StepError, match="GB in the store"):
        corrupt(asked(), tmp_path, auxiliary, Progress(show=False))


def test_other_words_have_another_address() -> None:
    same = asked(epochs=1.5, max_steps=6)
    assert asked().address() == same.address()  # which says the same
    others = [asked(batch=3), asked(accumulation=2), asked(seed=1), asked(max_steps=5), replace(same, bf16=True)]
    assert len({other.address() for other in [same, *others]}) == 6
