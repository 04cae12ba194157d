"""Heads on one encoder, for actions of several columns of which one, the bid, is chosen by values and the others by a policy.

A raw action row is [the policy's columns as `algorithms.networks.Columns` has them | the level of the bid].
"""

from __future__ import annotations

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
from algorithms.networks import Actor, Columns, Product, features, mlp
from algorithms.onpolicy import ActorPolicy, Rows
from algorithms.recurrent import Trunk, learned_rows
from algorithms.schedules import linear
from marl.errors import UserError
from marl.game import ActionTable, Column, Discrete
from marl.opinion import Opinion
from marl.sequences import Slices
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
    """Features x [N, H] of what is observed: hidden layers, without memory. `obs` is rows [N, width], or Slices where there is memory."""

    eyes: ClassVar[tuple[str, ...]] = ("layers",)
    state_width = 0

    def __init__(self, part: Part, s: settings.Hybrid) -> None:
        super().__init__()
        self.width, self._observed = s.hidden[-1], part.observed
        self.layers = features(part.observed, s.hidden, s.activation)

    def forward(self, obs: Any) -> Tensor:
        """x of the rows to learn from."""
        found: Tensor = self.layers(obs[:, : self._observed])
        return found

    def step(self, rows: Tensor, state: Any) -> tuple[Tensor, Any]:
        """(x [n, H], next state) of rows of one tick."""
        return self(rows), state

    def ahead(self, obs: Any, after: Tensor) -> Tensor:
        """x of the rows [N, width] that followed those of `obs`."""
        return self(after)


class RememberingEncoder(Trunk):
    """An Encoder with a memory behind the hidden layers: x is what the memory gives. One state a lane, under all heads."""

    def __init__(self, part: Part, s: settings.Hybrid) -> None:
        super().__init__(part.observed, s)
        self.state_width = self.memory.state_width

    def forward(self, obs: Slices) -> Tensor:
        """x of the rows to learn from, unrolled from the stored states."""
        return self.kept(obs)

    def ahead(self, obs: Slices, after: Tensor) -> Tensor:
        """x of the rows [N, width] that followed those of the slices, one tick on from the state after each."""
        states = self.unroll(obs, every=True)[1]
        return self.step(after, states if obs.kept is None else states[obs.kept])[0]


def encoder_of(part: Part, s: settings.Hybrid) -> Encoder | RememberingEncoder:
    """The encoder that the settings ask for."""
    return Encoder(part, s) if s.memory == "none" else RememberingEncoder(part, s)


class EncodedActor(Actor):
    """pi(d | x): an `Actor` of the policy's columns, linear in the features. Where the policy bids too, the level is one more choice."""

    def __init__(self, part: Part, s: settings.Hybrid, bid: Bid, encoder: Any) -> None:
        self._bids = s.learner == POLICY
        table = {**bid.rest, bid.name: Discrete(s.levels)} if self._bids else bid.rest
        super().__init__(replace(part, group=replace(part.group, action=table)), [], s.activation, s.log_std)
        self._masked, self._levels = part.mask_width > 0, s.levels
        self.encoder, self._moves = encoder, s.route != VALUES
        self.net = mlp(encoder.width, sum(self._sizes), [], s.activation, 0.0 if s.learner == VALUES else 0.01)

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        """(means and logits, state) of rows, or of the rows of Slices to learn from."""
        rows = learned_rows(obs) if isinstance(obs, Slices) else torch.as_tensor(obs)
        return self.of(routed(self.encoder, obs, self._moves), rows), state

    def of(self, x: Tensor, rows: Tensor) -> Tensor:
        """Means and logits of the features of rows."""
        return self.legal(self.net(x), rows)

    def legal(self, out: Tensor, rows: Tensor) -> Tensor:
        """As an Actor's; every level is legal."""
        if not (self._bids and self._masked):
            return super().legal(out, rows)
        return torch.cat([super().legal(out[:, : -self._levels], rows), out[:, -self._levels :]], -1)


class EncodedCritic(nn.Module):
    """V(x), linear in the features: rows [N, width], or Slices -> [N, 1]."""

    def __init__(self, s: settings.Hybrid, encoder: Any) -> None:
        super().__init__()
        self.encoder, self._moves = encoder, s.route != VALUES
        self.net = mlp(encoder.width, 1, [], s.activation, 1.0)

    def forward(self, obs: Any, act: Any = None, info: Any = None) -> Tensor:
        """[N, 1]."""
        found: Tensor = self.net(routed(self.encoder, obs, self._moves))
        return found

    def step(self, rows: Tensor, state: Any) -> tuple[Tensor, Any]:
        """(V [n], the next state) of rows of one tick."""
        x, after = self.encoder.step(rows, state)
        return self.net(x).squeeze(1), after


class BidValues(nn.Module):
    """Q(x, d, .): observations and the policy's raw columns d [N, C] -> values of the levels [N, K]."""

    def __init__(self, s: settings.Hybrid, columns: Columns, encoder: Any) -> None:
        super().__init__()
        self.encoder, self._moves, self._columns = encoder, s.route != POLICY, columns
        inputs = encoder.width + len(columns.continuous) + sum(columns.choices)
        self.net = mlp(inputs, s.levels, [encoder.width], s.activation, 0.01)

    def forward(self, obs: Any, chosen: Tensor) -> Tensor:
        """[N, K] of rows [N, width], or of the rows of Slices to learn from."""
        return self.of(routed(self.encoder, obs, self._moves), chosen)

    def of(self, x: Tensor, chosen: Tensor) -> Tensor:
        """[N, K] of features [N, H]."""
        pieces = [x, chosen[:, self._columns.continuous]]
        pieces += [functional.one_hot(chosen[:, u].long(), k).to(x.dtype) for u, k in zip(self._columns.discrete, self._columns.choices)]
        found: Tensor = self.net(torch.cat(pieces, -1))
        return found


def routed(encoder: Any, obs: Any, moves: bool) -> Tensor:
    """x of rows, an array of them or Slices; without `moves` no gradient passes."""
    with torch.set_grad_enabled(moves and torch.is_grad_enabled()):
        found: Tensor = encoder(obs if isinstance(obs, Slices) else torch.as_tensor(obs))
    return found


class HybridPolicy(ActorPolicy):
    """Draws the policy's columns, then bids the level of the highest value; within a training step a random one with probability epsilon.

    `acted` counts the rows that were collected, n of them an env step: epsilon falls linearly over `epsilon_steps` env steps.
    With memory a lane's state [S] is the encoder's.
    """

    acted: Tensor

    def __init__(self, part: Part, s: settings.Hybrid, bid: Bid, actor: EncodedActor) -> None:
        super().__init__(actor)
        self.bid, self._bids, self._judges = bid, s.learner == POLICY, False
        self.row_width, self.state_width = len(bid.rest) + 1, actor.encoder.state_width
        self.values = None if self._bids else BidValues(s, actor.columns, actor.encoder)
        self._first, self._last, self._rows = s.epsilon, s.epsilon_end, s.epsilon_steps * part.n
        self.register_buffer("acted", torch.zeros((), dtype=torch.int64))

    @property
    def epsilon(self) -> float:
        """Probability of a random level now."""
        return linear(self._first, self._last, int(self.acted), self._rows)

    def initial(self, n: int) -> Tensor:
        """States of n lanes whose episode begins, [n, S]."""
        found: Tensor = self.actor.encoder.memory.initial(n)
        return found

    @contextmanager
    def judging(self) -> Iterator[None]:
        """A loss that needs the distribution alone, of rows or Slices: no level is bid."""
        self._judges = True
        try:
            yield
        finally:
            self._judges = False

    def ahead(self, obs: Any, after: Tensor) -> tuple[Tensor, Product]:
        """(features, distribution of the policy's columns) of the rows [N, width] that followed those of `obs`."""
        x = self.actor.encoder.ahead(obs, after)
        return x, self.actor.distribution(self.actor.of(x, after))

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        """Batch(logits, act [N, row], state, dist, features [N, H]) of rows of one tick."""
        if self._judges:
            return super().forward(batch)
        rows = torch.as_tensor(batch.obs)
        x, after = self.actor.encoder.step(rows, state)
        logits = self.actor.of(x, rows)
        dist = self.actor.distribution(logits)
        act = dist.sample() if self.is_within_training_step else dist.mode
        if self.values is not None:
            level = self.values.of(x, act).argmax(1)
            if self.is_within_training_step:
                explore = torch.rand(len(level), device=level.device) < self.epsilon
                level = torch.where(explore, torch.randint_like(level, len(self.bid.levels)), level)
            act = torch.cat([act, level.unsqueeze(1).to(act)], 1)
        return Rows.of(logits=logits, act=act, dist=dist, state=after, features=x)

    def map_action(self, act: Any) -> npt.NDArray[np.float64]:
        """Raw rows [N, C + 1] -> the units of the action table [N, U]."""
        raw = np.asarray(self._action_to_numpy(act))
        others = raw if self._bids else raw[:, :-1]
        units = self.actor.columns.to_units(others)[:, : len(self.bid.rest)]
        found: npt.NDArray[np.float64] = np.insert(units, self.bid.place, self.bid.levels[raw[:, -1].astype(np.int64)], axis=1)
        return found

    def drawn(self, rows: Tensor, out: Any, u: Tensor) -> Tensor:
        """The policy's columns drawn by u [N, U]; the level is that of the highest value beside them, or drawn where the policy bids."""
        place = self.bid.place
        act: Tensor = out.dist.quantile(torch.cat([u[:, :place], u[:, place + 1 :], u[:, place : place + 1]], 1))
        if self.values is None:
            return act
        return torch.cat([act, self.values.of(out.features, act).argmax(1, keepdim=True).to(act)], 1)

    def opinion(self, rows: Tensor, out: Any, temperature: float) -> Opinion:
        """Its mode alone."""
        return Opinion(self.map_action(out.act))
