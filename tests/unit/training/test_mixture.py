"""Which rows an epoch draws from several datasets, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeopt.spec.recipe import Sampling, TrainParams
from edgeopt.training.mixture import Mixture, exponent, mixture_of, probabilities, whole
from edgeopt.training.sampler import LengthGroupedSampler


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
