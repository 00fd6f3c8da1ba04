"""Which rows an epoch draws from several datasets, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.spec.recipe import Sampling, TrainParams
from edgeopt.training.mixture import Mixture, Turns, exponent, mixture_of, probabilities, turns_of, whole
from edgeopt.training.sampler import LengthGroupedSampler, TurnSampler


def mixture(
    sizes: tuple[int, ...], draws: int | None = None, epochs: int = 3, seed: int = 5, **sampling: object
) -> Mixture:
    return Mixture(sizes, Sampling.model_validate(sampling), draws or sum(sizes), epochs, seed)


def test_the_exponent_is_the_papers_in_both_its_countings() -> None:
    annealed = Sampling(method="annealed")
    found = [exponent(annealed, e, 5) for e in range(5)]
    assert found == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    assert found == pytest.approx([1 - 0.8 * (e - 1) / (5 - 1) for e in range(1, 6)])
    assert exponent(annealed, 0, 1) == 1.0
    assert exponent(annealed, 9, 5) == pytest.approx(0.2)
    assert [exponent(Sampling(method=m), 2, 5) for m in ("proportional", "uniform")] == [1.0, 0.0]


def test_probabilities() -> None:
    assert probabilities([16, 1], 0.5) == pytest.approx([0.8, 0.2])
    assert probabilities([300, 100], 1.0) == pytest.approx([0.75, 0.25])
    assert probabilities([300, 100, 7], 0.0) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    ("shares", "total", "expected"),
    [
        ([8, 1], 17, [15, 2]),  # 15.11 and 1.89
        ([4, 1], 17, [14, 3]),  # 13.6 and 3.4
        ([1, 1, 1], 10, [4, 3, 3]),  # alike: the earlier first
        ([0.1] * 10, 10, [1] * 10),
    ],
)
def test_whole(shares: list[float], total: int, expected: list[int]) -> None:
    assert whole(shares, total) == expected


def test_annealed_counts_over_the_epochs() -> None:
    """α = 1, .75, .5 of 16 rows and 1: shares 16:1, 8:1, 4:1 of 17 draws."""
    annealed = mixture((16, 1), method="annealed", anneal_by=0.5)
    assert [annealed.counts(e) for e in range(3)] == [[16, 1], [15, 2], [14, 3]]


def test_a_proportional_epoch_is_a_pass_over_all_rows() -> None:
    plain = mixture((30, 7))
    for epoch in range(3):
        assert sorted(plain.rows(epoch)) == list(range(37))
    assert list(plain.rows(0)) != list(plain.rows(1))


def test_no_row_is_drawn_again_before_its_dataset_is_through() -> None:
    """Ten draws an epoch of 20 rows and 3: uniform, 5 of each."""
    uniform = mixture((20, 3), draws=10, epochs=4, method="uniform")
    large, small = (np.concatenate([uniform.plan(e)[i] for e in range(4)]) for i in range(2))
    assert sorted(large) == list(range(20))
    assert [sorted(small[i : i + 3]) for i in range(0, 18, 3)] == [[0, 1, 2]] * 6
    assert len(small) == 20


def test_an_epoch_depends_on_seed_and_number_alone() -> None:
    again = mixture((20, 3), method="annealed")
    assert [list(mixture((20, 3), method="annealed").rows(e)) for e in (2, 0)] == [list(again.rows(e)) for e in (2, 0)]
    assert list(mixture((20, 3), method="annealed", seed=6).rows(2)) != list(again.rows(2))


def test_the_length_of_an_epoch_and_their_number() -> None:
    def made(**params: object) -> Mixture:
        return mixture_of(
            [90, 10],
            TrainParams.model_validate({"batch_size": 8, "gradient_accumulation": 2, **params}),
            batch=8,
            seed=0,
        )

    assert (made(epochs=2.5).draws, made(epochs=2.5).epochs) == (100, 3)
    steps = {"sampling": {"steps_per_epoch": 3}}
    assert made(**steps).draws == 48
    assert [made(max_steps=n, **steps).epochs for n in (3, 4, 6)] == [1, 2, 2]
    assert [made(max_steps=n).epochs for n in (7, 8)] == [1, 2]  # 100 rows are 7 steps of 16


def test_the_sampler_gives_the_rows_of_the_mixture_in_batches_of_like_length() -> None:
    lengths = list(np.random.default_rng(0).integers(3, 60, 120))
    annealed = mixture((100, 20), epochs=2, method="annealed", anneal_by=1.0)
    sampler = LengthGroupedSampler(lengths, 8, 5, annealed)
    sampler.set_epoch(1)
    drawn = list(sampler)
    assert len(drawn) == len(sampler) == 120
    assert sum(row >= 100 for row in drawn) == 60
    assert sorted(drawn) == sorted(annealed.rows(1))
    batches = [[lengths[i] for i in drawn[k : k + 8]] for k in range(0, 120, 8)]
    assert np.mean([max(b) - min(b) for b in batches]) < 10


def turns(sizes: tuple[int, ...], batch: int = 4, epochs: float = 3, seed: int = 5, **sampling: object) -> Turns:
    return turns_of(sizes, TrainParams.model_validate({"epochs": epochs, "sampling": sampling or None}), batch, seed)


def batches_of(made: Turns, epoch: int, lengths: list[int] | None = None) -> list[list[int]]:
    sampler = TurnSampler(lengths or [1] * sum(made.sizes), made.batch, 5, made)
    sampler.set_epoch(epoch)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    return [drawn[i : i + made.batch] for i in range(0, len(drawn), made.batch)]


def task_of_row(made: Turns, row: int) -> int:
    return int(np.searchsorted(np.cumsum(made.sizes), row, side="right"))


@pytest.mark.parametrize("method", ["proportional", "uniform", "annealed", "round-robin"])
def test_a_batch_holds_rows_of_one_task(method: str) -> None:
    made = turns((37, 9, 4), method=method)
    for epoch in range(3):
        batches = batches_of(made, epoch, list(np.random.default_rng(0).integers(3, 60, 50)))
        tasks = [{task_of_row(made, row) for row in batch} for batch in batches]
        assert all(len(each) == 1 for each in tasks)
        assert [tasks.count({i}) * made.batch for i in range(3)] == made.counts(epoch)
        assert len({len(batch) for batch in batches}) == 1


def test_round_robin_takes_the_tasks_in_turn() -> None:
    made = turns((37, 9, 4), method="round-robin")
    assert made.turns(0) == [0, 1, 2] * 5  # 50 rows are 13 batches of 4, and 15 give each task as many
    assert made.turns(0) == made.turns(2)


def test_annealed_turns_go_from_the_sizes_to_nearly_alike() -> None:
    """The paper's formula, e from 1: α is 1, .6, .2 of 1,600 rows and 100: 16:1, 5.28:1, 1.74:1 of 425 batches."""
    made = turns((1600, 100), method="annealed")
    for epoch, exact in enumerate([16.0, 16**0.6, 16**0.2]):
        large, small = (count // 4 for count in made.counts(epoch))
        assert large + small == 425 and large == pytest.approx(425 * exact / (1 + exact), abs=0.5)


def test_turns_follow_from_seed_and_epoch_alone() -> None:
    """What is begun in the middle, as a training is that was cut, sees what it would have seen."""
    whole = [batches_of(turns((37, 9, 4), method="annealed"), epoch) for epoch in range(3)]
    assert whole[2] == batches_of(turns((37, 9, 4), method="annealed"), 2)
    assert whole[0] != whole[1] and whole[0] != batches_of(turns((37, 9, 4), seed=6, method="annealed"), 0)


def test_no_row_comes_again_before_its_task_is_through() -> None:
    made = turns((12, 8), method="uniform")
    seen = [row for epoch in range(3) for batch in batches_of(made, epoch) for row in batch if row < 12]
    assert all(sorted(seen[i : i + 12]) == list(range(12)) for i in range(0, len(seen) - 11, 12))


def test_how_many_turns_there_are() -> None:
    def made(**params: object) -> Turns:
        return turns_of([90, 10], TrainParams.model_validate({"gradient_accumulation": 2, **params}), batch=8, seed=0)

    assert (made(epochs=2.5).draws, made(epochs=2.5).epochs) == (13 * 8, 3)
    steps = {"sampling": {"steps_per_epoch": 3}}
    assert made(**steps).draws == 3 * 2 * 8
    assert [made(max_steps=n, **steps).epochs for n in (3, 4, 6)] == [1, 2, 2]
