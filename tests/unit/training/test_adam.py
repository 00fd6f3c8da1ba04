"""Adam without the correction of its moments, against its formula in numpy."""

from __future__ import annotations

import numpy as np
import torch

from edgeopt.training.adam import EPSILON, UncorrectedAdam


def test_the_steps_are_those_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    rate, decay = 1e-2, 0.1
    weights = [rng.normal(size=shape) for shape in ((4, 3), (5,))]
    found = [torch.nn.Parameter(torch.tensor(w)) for w in weights]
    unused = torch.nn.Parameter(torch.ones(2))
    optimizer = UncorrectedAdam([{"params": [found[0], unused], "weight_decay": decay}, {"params": found[1:]}], lr=rate)
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    for _ in range(7):
        for i, weight in enumerate(weights):
            gradient = rng.normal(size=weight.shape)
            found[i].grad = torch.tensor(gradient)
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.999 * second[i] + 0.001 * gradient**2
            shrunk = weight * (1 - rate * (decay if i == 0 else 0))
            weights[i] = shrunk - rate * first[i] / (np.sqrt(second[i]) + EPSILON)
        optimizer.step()
    for parameter, weight in zip(found, weights, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), weight, rtol=1e-9)
    assert torch.equal(unused, torch.ones(2))


def test_the_first_step_is_three_times_that_of_the_corrected_one() -> None:
    moved = []
    for cls in (UncorrectedAdam, torch.optim.AdamW):
        weight = torch.nn.Parameter(torch.zeros(1))
        weight.grad = torch.ones(1)
        cls([weight], lr=1e-3, weight_decay=0.0).step()
        moved.append(-weight.item())
    assert abs(moved[0] / moved[1] - 0.1 / np.sqrt(0.001)) < 1e-2
