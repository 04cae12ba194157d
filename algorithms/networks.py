"""Networks and the distribution over action rows.

A raw action row has one number for each column, in table order: a choice for a Discrete one; a
continuous column's raw range is [-1, 1], which `to_units` maps onto the column's own, linearly or geometrically.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from algorithms.quantiles import choice, normal
from algorithms.settings import LOG_STD, NOISE
from marl.game import ActionTable, Column, Discrete, bounds
from marl.team import Part

torch.distributions.Distribution.set_default_validate_args(False)

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
ILLEGAL = -1e9
"""Logit of a choice that the mask forbids."""
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


def mlp(inputs: int, outputs: int, hidden: Sequence[int], activation: str, last_gain: float) -> nn.Sequential:
    """Fully connected layers: orthogonal weights of gain sqrt(2), the last of `last_gain` (Saxe et al. 2014), zero biases."""
    widths, stack = [inputs, *hidden], []
    for i, o in pairwise(widths):
        stack += [_linear(i, o, math.sqrt(2.0)), ACTIVATIONS[activation]()]
    return nn.Sequential(*stack, _linear(widths[-1], outputs, last_gain))


def features(inputs: int, hidden: Sequence[int], activation: str) -> nn.Sequential:
    """Hidden layers that heads or a memory stand on: the last one activated as well."""
    *lower, last = hidden
    return nn.Sequential(mlp(inputs, last, lower, activation, math.sqrt(2.0)), ACTIVATIONS[activation]())


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class Columns:
    """Which raw columns are continuous and which discrete, and the way into the action table's units."""

    def __init__(self, action: ActionTable) -> None:
        columns = list(action.values())
        self.continuous = [u for u, c in enumerate(columns) if isinstance(c, Column)]
        self.discrete = [u for u, c in enumerate(columns) if isinstance(c, Discrete)]
        self.choices = [c.k for c in columns if isinstance(c, Discrete)]
        self.count = len(columns)
        self._explore = [c.explore for c in columns if isinstance(c, Column)]
        self._explore_last = [c.explore_last for c in columns if isinstance(c, Column)]
        low, high = bounds(action)
        self._log = np.array([isinstance(c, Column) and c.scale == "log" for c in columns])[self.continuous]
        self._low, self._high = low[self.continuous], high[self.continuous]
        self._low[self._log], self._high[self._log] = np.log(self._low[self._log]), np.log(self._high[self._log])
        self._half = (self._high - self._low) / 2.0
        self._plain = not self.discrete and not self._log.any()

    def to_units(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Raw rows [N, U] -> rows in the units of the action table; continuous columns are clipped to [-1, 1] first."""
        if self._plain:
            rows = np.minimum(np.maximum(raw, -1.0), 1.0, dtype=np.float64)
            rows += 1.0
            rows *= self._half
            rows += self._low
            return rows
        rows = raw.astype(np.float64)
        if self.continuous:
            share = (np.clip(rows[:, self.continuous], -1.0, 1.0) + 1.0) / 2.0
            mapped = self._low + (self._high - self._low) * share
            if self._log.any():
                mapped[:, self._log] = np.exp(mapped[:, self._log])
            rows[:, self.continuous] = mapped
        return rows

    def log_deviations(self, given: float | None, own: float = LOG_STD) -> list[float]:
        """Log deviation [C] with which each continuous column is explored at first: the one given, else as it declares, else `own`."""
        return [given if given is not None else own if d is None else math.log(d) for d in self._explore]

    def log_ends(self, first: float | None, end: float | None) -> list[float | None]:
        """What the log deviation [C] of each falls to: the `end` given, else, where no `first` is given, as it declares; None: learned."""
        declared = [None if first is not None or d is None else math.log(d) for d in self._explore_last]
        return declared if end is None else [end for _ in declared]

    def noises(self, given: float | None) -> list[float]:
        """Deviation [C] of the noise on each continuous column: the one given, else as it declares, else NOISE."""
        return [given if given is not None else NOISE if d is None else d for d in self._explore]

    def deviation(self, raw_mean: npt.NDArray[Any], raw_std: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Standard deviation in units of continuous columns at a raw mean: half the difference of mean +- one raw deviation."""
        up, down = (raw_mean + sign * raw_std for sign in (1.0, -1.0))
        ends = [self._low + (self._high - self._low) * (np.clip(x, -1.0, 1.0) + 1.0) / 2.0 for x in (up, down)]
        ends = [np.where(self._log, np.exp(np.where(self._log, e, 0.0)), e) for e in ends]
        return (ends[0] - ends[1]) / 2.0


class Product(torch.distributions.Distribution):
    """Independent normals (continuous columns) and categoricals (discrete columns) over action rows [N, U].

    log p(a) = sum_c [-(a_c - m_c)^2 / (2 s_c^2) - log s_c - log sqrt(2 pi)] + sum_d log softmax(l_d)[a_d].
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, log_std: Tensor, mean: Tensor, logits: Sequence[Tensor], columns: Columns) -> None:
        self.log_std, self.centre, self.columns = log_std, mean, columns
        self.log_probs = [torch.log_softmax(l, -1) for l in logits]
        super().__init__(mean.shape[:1], torch.Size([columns.count]), validate_args=False)

    def _row(self, continuous: Tensor, discrete: Sequence[Tensor]) -> Tensor:
        if not discrete:
            return continuous
        row = continuous.new_empty(len(continuous), self.columns.count)
        row[:, self.columns.continuous] = continuous
        for u, picked in zip(self.columns.discrete, discrete):
            row[:, u] = picked.to(row.dtype)
        return row

    def sample(self, sample_shape: Any = None) -> Tensor:
        """One row each."""
        with torch.no_grad():
            choices = [torch.multinomial(l.exp(), 1).squeeze(1) for l in self.log_probs]
            return self._row(self.centre + self.log_std.exp() * torch.randn_like(self.centre), choices)

    def quantile(self, u: Tensor) -> Tensor:
        """Rows drawn by the uniform numbers u [N, U], one a column."""
        choices = [choice(l.exp(), u[:, c]) for c, l in zip(self.columns.discrete, self.log_probs)]
        return self._row(normal(self.centre, self.log_std, u[:, self.columns.continuous]), choices)

    @property
    def mode(self) -> Tensor:
        """The mean of continuous columns, the likeliest choice of discrete ones."""
        return self._row(self.centre, [l.argmax(-1) for l in self.log_probs])

    def log_prob(self, value: Tensor) -> Tensor:
        """[N] nats."""
        total = None
        if self.columns.continuous:
            own = value if not self.log_probs else value[:, self.columns.continuous]
            z = (own - self.centre) * (-self.log_std).exp()
            total = (-0.5 * z.square() - self.log_std - HALF_LOG_TWO_PI).sum(-1)
        for u, l in zip(self.columns.discrete, self.log_probs):
            chosen = l.gather(1, value[:, u : u + 1].long()).squeeze(1)
            total = chosen if total is None else total + chosen
        assert total is not None
        return total

    def entropy(self) -> Tensor:
        """[N] nats: sum_c (log s_c + log sqrt(2 pi e)) - sum_d sum_k p_dk log p_dk."""
        total = (self.log_std + 0.5 + HALF_LOG_TWO_PI).sum(-1).expand(len(self.centre))
        for l in self.log_probs:
            total = total - (l.exp() * l).sum(-1)
        return total


class Actor(nn.Module):
    """Rows [N, width] -> means and logits [N, P] of a `Product`, whose log deviations [U] do not depend on the row."""

    eyes: ClassVar[tuple[str, ...]] = ("net",)

    def __init__(self, part: Part, hidden: Sequence[int], activation: str, log_std: float | None) -> None:
        super().__init__()
        self.columns = Columns(part.group.action)
        self._observed, self._masked = part.observed, part.mask_width > 0
        self._sizes = [len(self.columns.continuous), *self.columns.choices]
        self.net = mlp(part.observed, sum(self._sizes), hidden, activation, 0.01)
        self.log_std = nn.Parameter(torch.tensor(self.columns.log_deviations(log_std), dtype=torch.float32))

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        """(means and logits, state)."""
        rows = torch.as_tensor(obs)
        return self.legal(self.net(rows[:, : self._observed] if self._masked else rows), rows), state

    def legal(self, out: Tensor, rows: Tensor) -> Tensor:
        """Means and logits [N, P], an illegal choice's at `ILLEGAL` by the masks of the rows [N, width]."""
        if not self._masked:
            return out
        free = self._sizes[0]
        illegal = rows[:, self._observed :] < 0.5
        return torch.cat([out[:, :free], out[:, free:].masked_fill(illegal, ILLEGAL)], -1)

    def distribution(self, parameters: Tensor) -> Product:
        """The distribution that `forward`'s parameters name."""
        if not self.columns.discrete:
            return Product(self.log_std, parameters, (), self.columns)
        mean, *logits = parameters.split(self._sizes, -1)
        return Product(self.log_std, mean, logits, self.columns)


class Critic(nn.Module):
    """Rows [N, width] -> values [N, 1]; with `actions`, the further columns that follow the row in a Q-function's input."""

    eyes: ClassVar[tuple[str, ...]] = ("net",)

    def __init__(self, part: Part, hidden: Sequence[int], activation: str, outputs: int = 1, actions: int = 0) -> None:
        super().__init__()
        self._observed, self._masked = part.observed, part.mask_width > 0
        self.net = mlp(part.observed + actions, outputs, hidden, activation, 1.0)

    def forward(self, obs: Any, act: Any = None, info: Any = None) -> Tensor:
        """V(row), or Q(row, act), or Q(row, .)."""
        rows = torch.as_tensor(obs)
        rows = rows[:, : self._observed] if self._masked else rows
        out: Tensor = self.net(rows if act is None else torch.cat([rows, torch.as_tensor(act)], -1))
        return out


class Dueling(nn.Module):
    """Observations [N, O] -> Q [N, K] = V + A - mean_k A, from two heads of one trunk (Wang et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, hidden: Sequence[int], activation: str, last_gain: float) -> None:
        super().__init__()
        last = hidden[-1]
        self.trunk = features(inputs, hidden, activation)
        self.value, self.advantage = _linear(last, 1, last_gain), _linear(last, outputs, last_gain)

    def forward(self, obs: Tensor) -> Tensor:
        """Q [N, K]."""
        trunk = self.trunk(obs)
        advantage = self.advantage(trunk)
        q: Tensor = self.value(trunk) + advantage - advantage.mean(-1, keepdim=True)
        return q


class Sum(nn.Module):
    """VDN's mixer: values [n, N] -> their sum [N], whatever the state (Sunehag et al. 2018)."""

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        """[N]."""
        return values.sum(0)


class MonotonicMixer(nn.Module):
    """QMIX's mixer: values [n, N] and states [N, S] -> the team's value [N], which falls in none of the values.

    Q = |w_2(s)|' elu(W_1(s)' q + b_1(s)) + v(s), with |.| on every entry of W_1 [n, E] and w_2 [E]: dQ / dq_i >= 0, so that
    each member's best choice is the team's (Rashid et al. 2018). W_1, w_2 and v are networks of one hidden layer, b_1 is
    linear. Weights are torch's default, as in the paper's code: orthogonal ones of a hypernetwork saturate the mixture.
    """

    overview: ClassVar[tuple[str, ...]] = ("first", "second", "bias", "value")

    def __init__(self, agents: int, state: int, embed: int, hypernet: int) -> None:
        super().__init__()
        self.agents, self.embed = agents, embed
        self.first = nn.Sequential(nn.Linear(state, hypernet), nn.ReLU(), nn.Linear(hypernet, agents * embed))
        self.second = nn.Sequential(nn.Linear(state, hypernet), nn.ReLU(), nn.Linear(hypernet, embed))
        self.bias = nn.Linear(state, embed)
        self.value = nn.Sequential(nn.Linear(state, embed), nn.ReLU(), nn.Linear(embed, 1))

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        """[N]."""
        weights = self.first(state).abs().view(-1, self.agents, self.embed)
        hidden = nn.functional.elu((values.T.unsqueeze(2) * weights).sum(1) + self.bias(state))
        mixed: Tensor = (hidden * self.second(state).abs()).sum(1) + self.value(state).squeeze(1)
        return mixed
