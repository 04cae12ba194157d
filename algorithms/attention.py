"""Critics that read the members' own rows and do not care how many members there are, nor in which order they stand.

Rows o [n, N, width] of n members and which of them act [n, N] give values [1, N] of a team, the same whatever the members'
order, or [n, N] of each member, reordered as they are. Every member is embedded by the same network, e_i = f(o_i) [n, N, H]:
    pooled     V = g(mean_i e_i, max_i e_i, c),  V_i = g(e_i, mean_j e_j, max_j e_j, c)   (Zaheer et al. 2017)
    attention  h_i = e_i + W [sum_j softmax_j(q_i . k_j / sqrt d) v_j, each head]          (Vaswani et al. 2017; Iqbal and Sha 2019)
               V = g(mean_i h_i, c),  V_i = g(h_i, c)
c = log(1 + how many act). Members that have left are in no mean, no maximum and no softmax. The weights depend on the width of
a row alone, so that a critic of three members serves five.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from algorithms.networks import ILLEGAL, features, mlp
from marl.team import Part


class Attention(nn.Module):
    """Multi-head attention of members to each other: x [n, N, H], alive [n, N] -> [n, N, H]. `heads` divides H."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, math.sqrt(width / heads)
        self.asked, self.keys, self.values, self.out = (mlp(width, width, (), "relu", 1.0) for _ in range(4))

    def forward(self, x: Tensor, alive: Tensor) -> Tensor:
        """Who has left is asked nothing; where nobody acts the mean of all is what comes out."""
        n, count, width = x.shape
        shape = n, count, self.heads, width // self.heads
        q, k, v = (net(x).view(shape) for net in (self.asked, self.keys, self.values))
        scores = torch.einsum("ibhd,jbhd->bhij", q, k) / self.scale
        scores = scores.masked_fill((alive.T == 0)[:, None, None, :], ILLEGAL)
        mixed = torch.einsum("bhij,jbhd->ibhd", scores.softmax(-1), v)
        out: Tensor = self.out(mixed.reshape(n, count, width))
        return out


class Members(nn.Module):
    """What both critics share: the embedding, and pooling over the members that act."""

    eyes: ClassVar[tuple[str, ...]] = ("embed",)

    def __init__(self, part: Part, hidden: Sequence[int], activation: str) -> None:
        super().__init__()
        self.width = hidden[-1]
        self.observed, self.team = part.observed, part.teams
        self.embed = features(part.observed, hidden, activation)

    def embedded(self, rows: Tensor) -> Tensor:
        """[n, N, H]."""
        found: Tensor = self.embed(rows[..., : self.observed])
        return found

    def crowd(self, embedded: Tensor, alive: Tensor, largest: bool) -> Tensor:
        """[N, H + 1] mean and count over who acts, with the `largest` [N, 2 H + 1]; 0 where nobody does."""
        acts = alive.unsqueeze(-1)
        count = acts.sum(0)
        pools = [(embedded * acts).sum(0) / count.clamp_min(1.0)]
        if largest:
            top = embedded.masked_fill(acts == 0, ILLEGAL).amax(0)
            pools.append(torch.where(count > 0, top, torch.zeros_like(top)))
        return torch.cat([*pools, count.log1p()], -1)


class PooledCritic(Members):
    """Mean and maximum over the members."""

    def __init__(self, part: Part, hidden: Sequence[int], activation: str) -> None:
        super().__init__(part, hidden, activation)
        self.head = mlp((0 if self.team else self.width) + 2 * self.width + 1, 1, hidden[-1:], activation, 1.0)

    def forward(self, rows: Tensor, alive: Tensor) -> Tensor:
        """[1, N] or [n, N]."""
        embedded = self.embedded(rows)
        crowd = self.crowd(embedded, alive, largest=True)
        seen = crowd.unsqueeze(0) if self.team else torch.cat([embedded, crowd.expand(len(rows), -1, -1)], -1)
        values: Tensor = self.head(seen).squeeze(-1)
        return values


class AttentionCritic(Members):
    """Attention between the members."""

    def __init__(self, part: Part, hidden: Sequence[int], activation: str, heads: int) -> None:
        super().__init__(part, hidden, activation)
        self.attention = Attention(self.width, heads)
        self.head = mlp(self.width + 1, 1, hidden[-1:], activation, 1.0)

    def forward(self, rows: Tensor, alive: Tensor) -> Tensor:
        """[1, N] or [n, N]."""
        embedded = self.embedded(rows)
        mixed = embedded + self.attention(embedded, alive)
        crowd = self.crowd(mixed, alive, largest=False)
        if self.team:
            values: Tensor = self.head(crowd.unsqueeze(0)).squeeze(-1)
        else:
            values = self.head(torch.cat([mixed, crowd[:, -1:].expand(len(rows), -1, -1)], -1)).squeeze(-1)
        return values
