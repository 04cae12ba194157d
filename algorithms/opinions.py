"""How sure policies are, as `marl.opinion` wants it told: from a product of distributions, from squashed normals, from values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from algorithms.networks import Product
from marl.game import F8, ActionTable, Discrete
from marl.opinion import Opinion, share

NODES = torch.linspace(-7.0, 7.0, 161, dtype=torch.float64)
"""Deviations at which a normal is weighed by the trapezium rule: of an analytic integrand its error falls geometrically with the step."""


def of_product(action: F8, dist: Product) -> Opinion:
    """Of a `Product` over raw rows, of which an action is the part in [-1, 1]: what lies beyond acts as the nearer edge."""
    std = dist.log_std.cpu().double().exp().expand(dist.centre.shape[0], -1)
    share_of = clipped_variance(dist.centre.cpu().double(), std) / 4.0  # [-1, 1] is the whole range: a share is half as much
    return Opinion(action, _array(share_of), tuple(_array(l.exp()) for l in dist.log_probs))


def of_squashed(action: F8, mean: Tensor, log_std: Tensor, logits: Sequence[Tensor]) -> Opinion:
    """Of tanh(x), x normal with mean and log_std [N, C]."""
    share_of = squashed_variance(mean.cpu().double(), log_std.cpu().double().exp()) / 4.0
    return Opinion(action, _array(share_of), tuple(probabilities(l) for l in logits))


def clipped_variance(mean: Tensor, std: Tensor) -> Tensor:
    """Variance [N, C] of min(max(x, -1), 1), x normal: from the moments of a normal censored at both ends (Tobin 1958).

    With e = x - c, c = the mean clipped, d = E[e], l = -1 - c, h = 1 - c, a = (l - d) / s, b = (h - d) / s and Z = Phi(b) - Phi(a):
        m_1 = l Phi(a) + h Phi(-b) + d Z + s (phi(a) - phi(b))
        m_2 = l^2 Phi(a) + h^2 Phi(-b) + (d^2 + s^2) Z + s ((d + l) phi(a) - (d + h) phi(b)),  the variance m_2 - m_1^2.
    About c no large numbers are subtracted. The variance at -mean is that at the mean, which keeps the difference of tails exact.
    """
    mean = mean.abs()
    centre = mean.clamp(max=1.0)
    d, low, high = mean - centre, -1.0 - centre, 1.0 - centre
    a, b = (low - d) / std, (high - d) / std
    below, above, inside = torch.special.ndtr(a), torch.special.ndtr(-b), torch.special.ndtr(b) - torch.special.ndtr(a)
    at_a, at_b = _density(a), _density(b)
    first = low * below + high * above + d * inside + std * (at_a - at_b)
    second = low**2 * below + high**2 * above + (d**2 + std**2) * inside + std * ((d + low) * at_a - (d + high) * at_b)
    return (second - first.square()).clamp(min=0.0)


def squashed_variance(mean: Tensor, std: Tensor) -> Tensor:
    """Variance [N, C] of tanh(x), x normal, by the trapezium rule over `NODES`: to 1e-5 of itself at a deviation of e^2, the largest."""
    weights = _density(NODES) / _density(NODES).sum()
    squashed = torch.tanh(mean.unsqueeze(-1) + std.unsqueeze(-1) * NODES)
    centre = (squashed * weights).sum(-1, keepdim=True)
    return ((squashed - centre).square() * weights).sum(-1)


def _density(x: Tensor) -> Tensor:
    """Of the standard normal."""
    return torch.exp(-0.5 * x.square()) / math.sqrt(2.0 * math.pi)


def of_values(action: F8, values: Tensor, actions: F8, table: ActionTable, temperature: float) -> Opinion:
    """Of values [N, K] of the actions [K, U]: p = softmax(values / temperature), by column."""
    p = _array(torch.softmax(values.double() / temperature, -1))
    variance, chances = [], []
    for u, column in enumerate(table.values()):
        if isinstance(column, Discrete):
            chances.append(p @ np.eye(column.k)[actions[:, u].astype(np.int64)])
        else:
            x = share(column, actions[:, u])
            variance.append((p * (x - (p @ x)[:, None]) ** 2).sum(1))
    return Opinion(action, np.stack(variance, 1) if variance else np.zeros((len(p), 0)), tuple(chances))


def probabilities(logits: Tensor) -> F8:
    """softmax(logits) [N, k]."""
    return _array(torch.softmax(logits, -1))


def _array(x: Any) -> F8:
    found: F8 = x.detach().cpu().numpy().astype(np.float64)
    return found
