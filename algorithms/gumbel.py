"""Action rows that a gradient passes though they choose: [a number in [-1, 1] a continuous column | a one-hot segment a Discrete one].

A choice is drawn by the Gumbel-max trick, argmax_k (l_k + g_k) with g = -log(-log u), which has the probabilities softmax(l);
backward it is softmax((l + g) / T), the straight-through estimator (Jang, Gu and Poole 2017; Maddison, Mnih and Teh 2017).
A choice that the mask forbids has the logit `ILLEGAL`: it is never drawn and no gradient reaches it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from tianshou.algorithm.algorithm_base import Policy
from torch import Tensor, nn
from torch.nn import functional

from algorithms import settings
from algorithms.hyperparameters import Settings
from algorithms.networks import ILLEGAL, Columns, mlp
from algorithms.opinions import probabilities
from algorithms.quantiles import choice
from marl.opinion import Opinion
from marl.team import LightPolicy, Part, seen


def noisy(logits: Tensor, draws: bool) -> Tensor:
    """l + g [N, k], l alone without `draws`."""
    return logits - torch.log(-torch.log(torch.rand_like(logits).clamp(1e-20, 1.0 - 1e-7))) if draws else logits


def one_hot(scores: Tensor) -> Tensor:
    """[N, k] of the highest score, NaN where a score is: a network that diverged has no choice. No gradient passes."""
    return functional.one_hot(scores.argmax(-1), scores.shape[1]).to(scores.dtype) + 0.0 * scores.detach()


def straight_through(logits: Tensor, temperature: float, draws: bool) -> Tensor:
    """One-hot [N, k] of a drawn choice, of the likeliest one without `draws`, with the softmax's gradient."""
    soft = torch.softmax(noisy(logits, draws) / temperature, -1)
    return one_hot(soft) + soft - soft.detach()


def any_of(legal: Tensor) -> Tensor:
    """[N] one of the legal choices [N, k] each, of all where none is legal: an agent that left."""
    return torch.multinomial(legal + (legal.sum(-1, keepdim=True) == 0), 1).squeeze(1)


class SegmentActor(nn.Module):
    """Rows [N, width] -> parameters [N, P]: `per` numbers a continuous column, then the logits of the Discrete ones."""

    eyes: ClassVar[tuple[str, ...]] = ("net",)

    def __init__(self, part: Part, s: Settings, per: int) -> None:
        super().__init__()
        self.columns = Columns(part.group.action)
        self.observed, self.masked = part.observed, part.mask_width > 0
        self.free = len(self.columns.continuous)
        self.bounded = per * self.free
        self.net = mlp(part.observed, self.bounded + sum(self.columns.choices), s.hidden, s.activation, 0.01)
        if per == 2:  # means, then log deviations, which are near 0 at first where the column says nothing
            last: Any = self.net[-1]
            with torch.no_grad():
                last.bias[self.free : self.bounded] = torch.tensor(self.columns.log_deviations(None, own=0.0))

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        """(parameters, state)."""
        rows = torch.as_tensor(obs)
        out = self.net(rows[:, : self.observed] if self.masked else rows)
        if self.masked:
            legal = out[:, self.bounded :].masked_fill(rows[:, self.observed :] < 0.5, ILLEGAL)
            out = torch.cat([out[:, : self.bounded], legal], -1)
        return out, state


class SegmentPolicy(LightPolicy):
    """What policies over such rows share: the way into the action table's units, and rows drawn uniformly."""

    actor: Any

    def map_action(self, act: Any) -> Any:
        """Rows -> the units of the action table."""
        row, columns = self._action_to_numpy(act), self.actor.columns
        raw = np.zeros((len(row), columns.count), np.float32)
        raw[:, columns.continuous] = row[:, : self.actor.free]
        begin = self.actor.free
        for u, k in zip(columns.discrete, columns.choices):
            raw[:, u] = row[:, begin : begin + k].argmax(-1)
            begin += k
        return columns.to_units(raw)

    def numbers(self, bounded: Tensor, u: Tensor) -> Tensor:
        """Continuous columns [N, free] in [-1, 1] of their parameters: what they are, noise is only to explore."""
        return torch.tanh(bounded)

    def drawn(self, rows: Tensor, out: Any, u: Tensor) -> Tensor:
        """Rows drawn by uniform numbers u [N, U], one a column (`marl.sample`): choices from their logits."""
        columns = self.actor.columns
        bounded, *logits = self.actor(rows)[0].split([self.actor.bounded, *columns.choices], -1)
        chosen = [choice(torch.softmax(l, -1), u[:, c]) for c, l in zip(columns.discrete, logits)]
        segments = [functional.one_hot(k, l.shape[1]).to(l.dtype) for k, l in zip(chosen, logits)]
        return torch.cat([self.numbers(bounded, u[:, columns.continuous]), *segments], -1)

    def random_action(self, obs: Tensor) -> Tensor:
        """Uniform rows, over the legal choices: what is collected before the first update."""
        free, columns = self.actor.free, self.actor.columns
        segments = [2.0 * torch.rand(len(obs), free, device=obs.device) - 1.0]
        legal = obs[:, self.actor.observed :] if self.actor.masked else obs.new_ones(len(obs), sum(columns.choices))
        for weights in legal.split(columns.choices, -1) if columns.choices else ():
            segments.append(functional.one_hot(any_of(weights), weights.shape[1]).float())
        return torch.cat(segments, -1)


class GumbelPolicy(SegmentPolicy, Policy):
    """mu(o) of MADDPG where some column is Discrete: within a training step choices are drawn and continuous columns noisy."""

    def __init__(self, part: Part, s: settings.MADDPG) -> None:
        actor = SegmentActor(part, s, 1)
        self.row_width, self.s = actor.free + sum(actor.columns.choices), s
        super().__init__(action_space=spaces.Box(-1.0, 1.0, (self.row_width,), np.float32), action_scaling=False, action_bound_method=None)
        self.actor = actor
        self.register_buffer("noise", torch.tensor(actor.columns.noises(s.noise)), persistent=False)

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        """Batch(act [N, row])."""
        training = self.is_within_training_step
        act = self._row(self.actor(batch.obs)[0], training, self.noise if training and self.s.noise != 0 else None)
        out = seen(batch.obs)
        out.__dict__.update(act=act, state=state)
        return out

    def opinion(self, rows: Tensor, out: Any, temperature: float) -> Opinion:
        """Its mode, and the probabilities of the choices that it explores with; of its numbers it says no more."""
        logits = self.actor(rows)[0][:, self.actor.free :].split(self.actor.columns.choices, -1)
        return Opinion(self.map_action(out.act), None, tuple(probabilities(l) for l in logits))

    def fresh(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Of rows [N, width]: (actions drawn now [N, row], mean square of the legal logits [N])."""
        parameters = self.actor(rows)[0]
        logits = parameters[:, self.actor.free :]
        legal = logits > ILLEGAL / 2
        square = torch.where(legal, logits, 0.0).square().sum(1) / legal.sum(1).clamp(min=1)
        return self._row(parameters, True, None), square

    def target(self, net: nn.Module, rows: Tensor) -> Tensor:
        """Actions [N, row] by the target network: drawn choices, continuous columns with the target's noise."""
        return self._row(net(rows)[0], True, self.s.target_noise or None, self.s.noise_clip)

    def _row(self, parameters: Tensor, draws: bool, noise: Tensor | float | None, clip: float = torch.inf) -> Tensor:
        free, columns = self.actor.free, self.actor.columns
        numbers = torch.tanh(parameters[:, :free])
        if noise is not None and free:
            numbers = (numbers + (noise * torch.randn_like(numbers)).clamp(-clip, clip)).clamp(-1.0, 1.0)
        logits = parameters[:, free:].split(columns.choices, -1)
        return torch.cat([numbers, *(straight_through(l, self.s.temperature, draws) for l in logits)], -1)
