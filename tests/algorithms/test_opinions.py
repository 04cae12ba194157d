"""How sure policies say they are: the variances of clipped and squashed normals against integrals, through the policies themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

import algorithms
from algorithms.networks import Columns, Product
from algorithms.opinions import of_product, of_squashed
from marl.game import Column
from marl.opinion import opinion_of
from marl.team import seen
from tests.lanes import part_of, rows_of

LINE = {"a": Column(-1.0, 1.0)}


def clip(x: float) -> float:
    return min(max(x, -1.0), 1.0)


def integrated(bounded: Callable[[float], float], mean: float, std: float) -> float:
    """Variance of bounded(x), x normal, as a share of the range [-1, 1] squared, by adaptive quadrature split where it bends."""
    bends = [z for z in ((x - mean) / std for x in (-1.0, 0.0, 1.0)) if abs(z) < 10.0]

    def mean_of(g: Callable[[float], float]) -> float:
        return float(quad(lambda z: g(bounded(mean + std * z)) * norm.pdf(z), -10.0, 10.0, points=bends, limit=400, epsabs=1e-13)[0])

    centre = mean_of(lambda y: y)
    return mean_of(lambda y: (y - centre) ** 2) / 4.0


def stated(bounded: Callable[[float], float], mean: float, std: float) -> float:
    """What the opinion of a policy with these parameters says."""
    centre, log_std = torch.tensor([[mean]]), torch.tensor([math.log(std)])
    if bounded is clip:
        opinion = of_product(np.zeros((1, 1)), Product(log_std, centre, (), Columns(LINE)))
    else:
        opinion = of_squashed(np.zeros((1, 1)), centre, log_std.expand(1, 1), [])
    assert opinion.variance is not None and opinion.variance.shape == (1, 1)
    return float(opinion.variance[0, 0])


@pytest.mark.parametrize(("mean", "log_std", "known"), [(0.0, 0.7, 0.186), (1.5, 0.0, 0.041), (0.9, -0.7, 0.0262), (0.0, 5.0, 0.249)])
def test_the_variance_of_a_clipped_normal(mean: float, log_std: float, known: float) -> None:
    """No variable in [0, 1] has more than .25; the raw normal's would be 1.014, .250, .0616 and 5,500."""
    assert stated(clip, mean, math.exp(log_std)) == pytest.approx(known, rel=0.015)


@pytest.mark.parametrize(("mean", "std", "known"), [(0.0, math.exp(2.0), 0.223), (0.0, 2.0, 0.159), (0.0, 0.1, 0.0025)])
def test_the_variance_of_a_squashed_normal(mean: float, std: float, known: float) -> None:
    assert stated(math.tanh, mean, std) == pytest.approx(known, rel=0.02)


@pytest.mark.parametrize("bounded", [clip, math.tanh])
@pytest.mark.parametrize("std", [0.02, 0.3, 1.0, 2.0, 4.0, 7.389])
@pytest.mark.parametrize("mean", [0.0, -0.7, 0.999, 1.5, -4.0])
def test_variances_are_the_integrals(bounded: Callable[[float], float], mean: float, std: float) -> None:
    """Also far beyond an edge, where nearly all actions are the same, and at both signs."""
    found = stated(bounded, mean, std)
    assert found == pytest.approx(integrated(bounded, mean, std), rel=2e-5, abs=1e-11)
    assert found == pytest.approx(stated(bounded, -mean, std), rel=1e-6)


@pytest.mark.parametrize("name", ["ippo", "isac"])
def test_a_policys_variance_is_that_of_the_actions_it_draws(name: str) -> None:
    """Of a linear and a logarithmic column, in shares of their range on their scale; exploring with a deviation as wide as the range."""
    torch.manual_seed(0)
    part = part_of("hybrid")
    policy: Any = algorithms.load(name)(algorithms.settings_of(name)(hidden=[8]), part, 10).policy
    row = rows_of(part, 1).expand(40_000, -1)
    with torch.no_grad():
        last = policy.actor.net[-1]
        last.bias[:2] = torch.tensor([0.6, -0.4])
        if name == "isac":
            last.bias[2:4] = torch.tensor([0.5, 1.0])
        else:
            policy.actor.log_std[:] = torch.tensor([0.5, 1.0])
        opinion, _ = opinion_of(policy, row[:1], 1.0)
        policy.is_within_training_step = True
        drawn = policy.map_action(policy(seen(row)).act)
    logged, linear = np.log(drawn[:, 1] / 0.01) / np.log(1e4), (drawn[:, 3] - 2.0) / 4.0
    assert opinion.variance is not None
    assert opinion.variance[0].tolist() == pytest.approx([logged.var(), linear.var()], rel=0.02)
