"""Values of choices with memory, learned from sequences of a replay (Hausknecht and Stone 2015; Kapturowski et al. 2019).

Of a slice, Q(o_t, h_t) is unrolled from the stored state, after a burn-in without gradient, and the target network is
unrolled likewise by its own parameters. What follows a row, Q'(o'_t, h_{t+1}), is one tick on from the state after it: so
an episode that is cut within a slice is bootstrapped from its own last observation.
"""

from __future__ import annotations

from typing import Any

import torch
from tianshou.utils.lagged_network import EvalModeModuleWrapper
from torch import Tensor

from algorithms import settings
from algorithms.choices import SMALL, Choices, GreedyPolicy, ValueNet
from algorithms.networks import Dueling, mlp
from algorithms.recurrent import Trunk, learned_rows
from marl.sequences import Slices
from marl.team import Part


class RecurrentValues(ValueNet):
    """A `ValueNet` whose heads read a memory: rows and state, or Slices -> (values [N, K], next state)."""

    def __init__(self, part: Part, choices: Choices, s: settings.Exploring) -> None:
        super().__init__(part, choices, s, s.dueling)
        self.trunk = Trunk(part.observed, s)
        shape = self.trunk.width, len(choices)
        self.net = Dueling(*shape, s.hidden[-1:], s.activation, SMALL) if s.dueling else mlp(*shape, [], s.activation, SMALL)
        self.state_width = self.trunk.memory.state_width

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        """(values [N, K], next state [N, S]) of rows; of Slices (those of the rows to learn from, None)."""
        if isinstance(obs, Slices):
            return self.masks(self.net(self.trunk.kept(obs)), learned_rows(obs)), None
        out, after = self.trunk.step(obs, state)
        return self.masks(self.net(out), obs), after


class RememberingPolicy(GreedyPolicy):
    """A GreedyPolicy with memory."""

    def __init__(self, part: Part, s: settings.Exploring) -> None:
        super().__init__(part, s)
        self.state_width = self.model.state_width

    def _network(self, part: Part, s: settings.Exploring) -> ValueNet:
        return RecurrentValues(part, self.choices, s)

    def initial(self, n: int) -> Tensor:
        """States of n lanes whose episode begins, [n, S]."""
        found: Tensor = self.model.trunk.memory.initial(n)
        return found

    def advance(self, rows: Tensor, state: Tensor) -> Tensor:
        """The next state of lanes that see the rows [n, width] while somebody else chooses."""
        found: Tensor = self.model.trunk.step(rows, state)[1]
        return found


def greedy_of(part: Part, s: settings.Exploring) -> GreedyPolicy:
    """The policy that the settings ask for."""
    return (GreedyPolicy if s.memory == "none" else RememberingPolicy)(part, s)


def following(model: Any, slices: Slices, rows: Tensor) -> Tensor:
    """Values [N, K] by `model`, or a target network, of the rows [N, width] that follow those after the burn-in, without gradient."""
    net = model.module if isinstance(model, EvalModeModuleWrapper) else model
    assert isinstance(net, RecurrentValues)
    with torch.no_grad():
        states = net.trunk.unroll(slices, every=True)[1]
        values: Tensor = net(rows, states)[0]
    return values


def n_step_targets(reward: Tensor, terminated: Tensor, done: Tensor, bootstrap: Tensor, gamma: float, steps: int) -> Tensor:
    """y [M, L] of slices: `steps` rewards, then the value V' of what follows; fewer where the episode or the slice ends before.

    y^1_t = r_t + gamma V'_t, without V' where terminated;  y^n_t = r_t + gamma y^(n-1)_{t+1}, and y^1_t at an end.
    """
    single = reward + gamma * bootstrap * ~terminated
    y = single
    for _ in range(steps - 1):
        y = torch.cat([torch.where(done[:, :-1], single[:, :-1], reward[:, :-1] + gamma * y[:, 1:]), single[:, -1:]], 1)
    return y
