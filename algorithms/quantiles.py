"""Draws from given uniform numbers: what a distribution gives where its cumulative probability passes u."""

from __future__ import annotations

import torch
from torch import Tensor


def normal(mean: Tensor, log_std: Tensor, u: Tensor) -> Tensor:
    """Of a normal: mean + std Phi^-1(u), shaped like u, in (0, 1)."""
    return mean + log_std.exp() * torch.special.ndtri(u).to(mean.dtype)


def choice(p: Tensor, u: Tensor) -> Tensor:
    """Of choices with weights p [N, k]: the first, [N], up to which their sum passes the share u [N] of the whole. None of weight 0."""
    summed = p.cumsum(-1)
    return (summed <= u.to(p.dtype).unsqueeze(1) * summed[:, -1:]).sum(-1).clamp_max(p.shape[1] - 1)
