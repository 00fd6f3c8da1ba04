"""A loss that rises far above its lowest is told once; noise, a slow descent and a task that grows harder are not."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from edgeopt.support.progress import Progress
from edgeopt.training.divergence import Rising, WatchLoss
from edgeopt.transforms.pretrain.rtd import RtdParams


class Said(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(show=False)
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def noisy(loss: Callable[[int], float], noise: float, seed: int = 0) -> list[tuple[int, float]]:
    draw = random.Random(seed)
    return [(10 * i, loss(i) + draw.gauss(0, noise)) for i in range(1, 101)]


def found(losses: list[tuple[int, float]]) -> Any:
    rising = Rising()
    told = [step for step, loss in losses if rising.add(step, loss)]
    assert len(told) <= 1
    assert (rising.figure is not None) == bool(told)
    return rising.figure


@pytest.mark.parametrize("seed", range(30))
def test_what_falls_or_stays_with_noise_does_not_diverge(seed: int) -> None:
    assert found(noisy(lambda i: 6.5 + 4 * math.exp(-i / 10), 0.15, seed)) is None
    assert found(noisy(lambda i: 0.3, 0.1, seed)) is None
    assert found([(10, 5.0), (20, 9.0), (30, 9.0)]) is None


def test_what_rises_is_told_with_its_lowest_and_its_end() -> None:
    told = found(noisy(lambda i: 10 - i / 10 if i < 30 else 7.0 if i < 40 else 10.0, 0.05))
    assert told["lowest_step"] <= 390 and told["lowest"] == pytest.approx(7.0, abs=0.1)
    assert 400 <= told["step"] <= 430 and told["last"] == pytest.approx(10.0, abs=0.1)


def watched(losses: list[tuple[int, float]], alike: Callable[[int, int], bool], cut: int = 0) -> tuple[Any, list[str]]:
    """The figures, and what was said behind a cut."""
    said = Said()
    watch = WatchLoss(alike, said)
    state: Any = SimpleNamespace(log_history=[{"loss": v, "step": s} for s, v in losses[:cut]], max_steps=1000)
    args: Any = None
    control: Any = None
    watch.on_train_begin(args, state, control)
    for step, loss in losses[cut:]:
        state.global_step = step
        watch.on_log(args, state, control, {"loss": loss})
        watch.on_log(args, state, control, {"eval_held_out_loss": 99.0})
    return watch.figures(), said.lines


def test_a_training_that_is_cut_knows_what_it_was_before() -> None:
    losses = noisy(lambda i: 7.0 if i < 40 else 10.0, 0.05)
    whole, said = watched(losses, lambda *_: True)
    assert len(said) == 1 and "at optimizer step 4" in said[0]
    assert watched(losses, lambda *_: True, cut=38) == (whole, said)
    assert watched(losses, lambda *_: True, cut=90) == (whole, [])


def test_a_task_that_grows_harder_is_compared_from_where_it_does_not() -> None:
    losses = noisy(lambda i: 0.2 if i < 25 else 0.4, 0.01)
    told, _ = watched(losses, RtdParams.model_validate({"corpus": {"path": "x"}}).alike)
    assert told["divergence"]["step"] < 300
    frozen = RtdParams.model_validate({"corpus": {"path": "x"}, "auxiliary": "words"})
    assert watched(losses, frozen.alike) == ({}, [])
    assert [frozen.alike(step, 100) for step in (0, 20, 30, 100)] == [False, False, True, True]
