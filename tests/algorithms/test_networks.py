"""Networks as they are made: orthogonal weights of the gains asked for, zero biases."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from algorithms.attention import AttentionCritic, PooledCritic
from algorithms.networks import Actor, mlp
from tests.lanes import part_of


def assert_orthogonal(layer: nn.Linear, gain: float) -> None:
    """Rows of a wide matrix, columns of a tall one, are at right angles and of length `gain`."""
    weight = layer.weight.detach()
    product = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
    assert torch.allclose(product, gain**2 * torch.eye(len(product)), atol=1e-5)
    assert (layer.bias == 0).all()


@pytest.mark.parametrize("last", [0.01, 1.0])
@pytest.mark.parametrize("hidden", [(), (7,), (16, 4)])
def test_hidden_layers_have_gain_root_two_and_the_last_its_own(hidden: tuple[int, ...], last: float) -> None:
    *inner, head = [m for m in mlp(5, 3, hidden, "tanh", last) if isinstance(m, nn.Linear)]
    assert len(inner) == len(hidden)
    for layer in inner:
        assert_orthogonal(layer, math.sqrt(2.0))
    assert_orthogonal(head, last)


def test_a_new_policy_is_all_but_indifferent() -> None:
    part, rows = part_of("choice"), torch.randn(500, 2)
    torch.manual_seed(0)
    actor = Actor(part, [64, 64], "tanh", 0.0)
    probability = actor.distribution(actor(rows)[0]).log_probs[0].exp()
    assert (probability - 1 / 3).abs().max() < 0.02


def test_critics_of_members_are_made_alike() -> None:
    part = part_of("choice")
    for critic in (PooledCritic(part, [8, 12], "relu"), AttentionCritic(part, [8, 12], "relu", 4)):
        gains = {"head.2": 1.0, **{f"attention.{name}.0": 1.0 for name in ("asked", "keys", "values", "out")}}
        for name, layer in critic.named_modules():
            if isinstance(layer, nn.Linear):
                assert_orthogonal(layer, gains.get(name, math.sqrt(2.0)))
