"""Heads on one encoder, for actions of several columns of which one, the bid, is chosen by values and the others by a policy.

A raw action row is [the policy's columns as `algorithms.networks.Columns` has them | the level of the bid].
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from algorithms import settings
from algorithms.networks import ACTIVATIONS, Actor, Columns, Product, mlp
from algorithms.onpolicy import ActorPolicy, Rows
from marl.errors import UserError
from marl.game import ActionTable, Column, Discrete
from marl.opinion import Opinion
from marl.team import Part

BOTH, VALUES, POLICY = "both", "values", "policy"


class Bid:
    """The column that values choose: its place in the action table and its K levels in the table's units, spread over its scale."""

    def __init__(self, table: ActionTable, name: str | None, levels: int) -> None:
        free = [n for n, c in table.items() if isinstance(c, Column)]
        if name is None and len(free) > 1:
            raise UserError(f"algorithm.column is not given: legal are {', '.join(free)}, the one that values choose")
        if name is not None and name not in free:
            raise UserError(f"algorithm.column = {name!r}: legal are the continuous columns {', '.join(free)}")
        self.name = free[0] if name is None else name
        self.place, column = list(table).index(self.name), table[self.name]
        assert isinstance(column, Column)
        spread = np.geomspace if column.scale == "log" else np.linspace
        self.levels: npt.NDArray[np.float64] = spread(column.low, column.high, levels)
        self.rest = {n: c for n, c in table.items() if n != self.name}


class Encoder(nn.Module):
    """Rows [N, width] -> features x [N, H] of what they observe."""

    eyes: ClassVar[tuple[str, ...]] = ("layers",)

    def __init__(self, part: Part, s: settings.Hybrid) -> None:
        super().__init__()
        *lower, self.width = s.hidden
        self._observed = part.observed
        self.layers = nn.Sequential(mlp(part.observed, self.width, lower, s.activation, math.sqrt(2.0)), ACTIVATIONS[s.activation]())

    def forward(self, rows: Tensor, moves: bool) -> Tensor:
        """x; without `moves` no gradient passes."""
        if moves:
            return self.layers(rows[:, : self._observed])
        with torch.no_grad():
            return self.layers(rows[:, : self._observed])


class EncodedActor(Actor):
    """pi(d | x): an `Actor` of the policy's columns, linear in the features. Where the policy bids too, the level is one more choice."""

    def __init__(self, part: Part, s: settings.Hybrid, bid: Bid, encoder: Encoder) -> None:
        self._bids = s.learner == POLICY
        table = {**bid.rest, bid.name: Discrete(s.levels)} if self._bids else bid.rest
        super().__init__(replace(part, group=replace(part.group, action=table)), [], s.activation, s.log_std)
        self._masked, self._levels = part.mask_width > 0, s.levels
        self.encoder, self._moves = encoder, s.route != VALUES
        self.net = mlp(encoder.width, sum(self._sizes), [], s.activation, 0.0 if s.learner == VALUES else 0.01)

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        """(means and logits, state)."""
        rows = torch.as_tensor(obs)
        return self.legal(self.net(self.encoder(rows, self._moves)), rows), state

    def legal(self, out: Tensor, rows: Tensor) -> Tensor:
        """As an Actor's; every level is legal."""
        if not (self._bids and self._masked):
            return super().legal(out, rows)
        return torch.cat([super().legal(out[:, : -self._levels], rows), out[:, -self._levels :]], -1)


class EncodedCritic(nn.Module):
    """V(x), linear in the features: rows [N, width] -> [N, 1]."""

    def __init__(self, s: settings.Hybrid, encoder: Encoder) -> None:
        super().__init__()
        self.encoder, self._moves = encoder, s.route != VALUES
        self.net = mlp(encoder.width, 1, [], s.activation, 1.0)

    def forward(self, obs: Any, act: Any = None, info: Any = None) -> Tensor:
        """[N, 1]."""
        return self.net(self.encoder(torch.as_tensor(obs), self._moves))


class BidValues(nn.Module):
    """Q(x, d, .): rows [N, width] and the policy's raw columns d [N, C] -> values of the levels [N, K]."""

    def __init__(self, s: settings.Hybrid, columns: Columns, encoder: Encoder) -> None:
        super().__init__()
        self.encoder, self._moves, self._columns = encoder, s.route != POLICY, columns
        inputs = encoder.width + len(columns.continuous) + sum(columns.choices)
        self.net = mlp(inputs, s.levels, [encoder.width], s.activation, 0.01)

    def forward(self, rows: Tensor, chosen: Tensor) -> Tensor:
        """[N, K]."""
        pieces = [self.encoder(rows, self._moves), chosen[:, self._columns.continuous]]
        pieces += [functional.one_hot(chosen[:, u].long(), k).to(rows.dtype) for u, k in zip(self._columns.discrete, self._columns.choices)]
        return self.net(torch.cat(pieces, -1))


class HybridPolicy(ActorPolicy):
    """Draws the policy's columns, then bids the level of the highest value; within a training step a random one with probability epsilon.

    `acted` counts the rows that were collected, n of them an env step: epsilon falls linearly over `epsilon_steps` env steps.
    """

    acted: Tensor

    def __init__(self, part: Part, s: settings.Hybrid, bid: Bid, actor: EncodedActor) -> None:
        super().__init__(actor)
        self.bid, self._bids, self._judges = bid, s.learner == POLICY, False
        self.row_width = len(bid.rest) + 1
        self.values = None if self._bids else BidValues(s, actor.columns, actor.encoder)
        self._first, self._last, self._rows = s.epsilon, s.epsilon_end, s.epsilon_steps * part.n
        self.register_buffer("acted", torch.zeros((), dtype=torch.int64))

    @property
    def epsilon(self) -> float:
        """Probability of a random level now."""
        return self._first + (self._last - self._first) * min(1.0, int(self.acted) / self._rows)

    @contextmanager
    def judging(self) -> Iterator[None]:
        """A loss that needs the distribution alone: no level is bid."""
        self._judges = True
        try:
            yield
        finally:
            self._judges = False

    def distribution(self, rows: Tensor) -> Product:
        """Of the policy's columns."""
        return self.actor.distribution(self.actor(rows)[0])

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        """Batch(logits, act [N, row], state, dist)."""
        out = super().forward(batch, state)
        if self.values is None or self._judges:
            return out
        rows = torch.as_tensor(batch.obs)
        level = self.values(rows, out.act).argmax(1)
        if self.is_within_training_step:
            explore = torch.rand(len(level), device=level.device) < self.epsilon
            level = torch.where(explore, torch.randint_like(level, len(self.bid.levels)), level)
        return Rows.of(logits=out.logits, act=torch.cat([out.act, level.unsqueeze(1).to(out.act)], 1), dist=out.dist, state=out.state)

    def map_action(self, act: Any) -> npt.NDArray[np.float64]:
        """Raw rows [N, C + 1] -> the units of the action table [N, U]."""
        raw = np.asarray(self._action_to_numpy(act))
        others = raw if self._bids else raw[:, :-1]
        units = self.actor.columns.to_units(others)[:, : len(self.bid.rest)]
        found: npt.NDArray[np.float64] = np.insert(units, self.bid.place, self.bid.levels[raw[:, -1].astype(np.int64)], axis=1)
        return found

    def opinion(self, rows: Tensor, out: Any, temperature: float) -> Opinion:
        """Its mode alone."""
        return Opinion(self.map_action(out.act))
