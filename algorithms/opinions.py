"""How sure policies are, as `marl.opinion` wants it told: from a product of distributions, from squashed normals, from values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from algorithms.networks import Product
from marl.game import F8, ActionTable, Discrete
from marl.opinion import Opinion, share

NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


def of_product(action: F8, dist: Product) -> Opinion:
    """Of a `Product` over raw rows, whose continuous range [-1, 1] is two deviations' worth of a column's range."""
    deviation = 0.5 * dist.log_std.exp().expand(dist.centre.shape[0], -1)
    return Opinion(action, _array(deviation.square()), tuple(_array(l.exp()) for l in dist.log_probs))


def of_squashed(action: F8, mean: Tensor, log_std: Tensor, logits: Sequence[Tensor]) -> Opinion:
    """Of tanh(x), x normal with mean and log_std [N, C], whose variance Gauss and Hermite's quadrature of 15 nodes gives."""
    nodes, weights = (torch.as_tensor(x, dtype=mean.dtype, device=mean.device) for x in (NODES, NODE_WEIGHTS / NODE_WEIGHTS.sum()))
    squashed = torch.tanh(mean.unsqueeze(-1) + log_std.exp().unsqueeze(-1) * nodes)
    centre = (squashed * weights).sum(-1, keepdim=True)
    variance = ((squashed - centre).square() * weights).sum(-1) / 4.0  # [-1, 1] is the whole range: a share is half as much
    return Opinion(action, _array(variance), tuple(probabilities(l) for l in logits))


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
