"""Choosing from a finite set of actions by their values: the set, its network and the epsilon-greedy policy.

The set is a part's Discrete column, or the rows of the game's action grid where its columns are others. A raw action row
is [choice]. Of several Discrete columns under a mask, a row of the grid is legal where all its choices are.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from torch import Tensor, nn

from algorithms import settings
from algorithms.hyperparameters import Settings
from algorithms.networks import ILLEGAL, Dueling, mlp
from algorithms.opinions import of_values
from algorithms.schedules import linear
from marl.game import Discrete
from marl.opinion import Opinion
from marl.team import LightPolicy, Part, seen

SMALL = 0.01
"""Gain of the last layer: values that are large before anything is learned keep the best choice wrong for long."""


class Choices:
    """K actions in the units of the action table, `actions` [K, U], and which columns of the mask each needs, `needs` [K, D]."""

    def __init__(self, part: Part) -> None:
        columns = list(part.group.action.values())
        if part.grid is not None and not (len(columns) == 1 and isinstance(columns[0], Discrete)):
            self.actions = part.grid
        else:
            self.actions = np.arange(columns[0].k, dtype=np.float64)[:, None]  # type: ignore[union-attr]
        discrete = [(u, c.k) for u, c in enumerate(columns) if isinstance(c, Discrete)] if part.masked else []
        starts = np.cumsum([0, *(k for _, k in discrete)])
        self.needs = torch.tensor([[int(row[u]) + int(start) for (u, _), start in zip(discrete, starts)] for row in self.actions])

    def __len__(self) -> int:
        return len(self.actions)


class ValueNet(nn.Module):
    """Rows [N, width] -> (values [N, K], state), an illegal choice at `ILLEGAL`."""

    needs: Tensor

    eyes: ClassVar[tuple[str, ...]] = ("net",)

    def __init__(self, part: Part, choices: Choices, s: Settings, dueling: bool = False) -> None:
        super().__init__()
        self.observed, self.masked = part.observed, part.mask_width > 0
        self.register_buffer("needs", choices.needs, persistent=False)
        shape = part.observed, len(choices), s.hidden, s.activation
        self.net: nn.Module = Dueling(*shape, SMALL) if dueling else mlp(*shape, SMALL)

    def legal(self, rows: Tensor) -> Tensor:
        """[N, K]; all where none is, as of an agent that has left."""
        legal = (rows[:, self.observed :] > 0.5)[:, self.needs].all(-1)
        return legal | ~legal.any(-1, keepdim=True)

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        """(values [N, K], state)."""
        rows = torch.as_tensor(obs)
        return self.masks(self.net(rows[:, : self.observed] if self.masked else rows), rows), state

    def masks(self, values: Tensor, rows: Tensor) -> Tensor:
        """Values [N, K], an illegal choice's at `ILLEGAL` by the masks of the rows [N, width]."""
        return values.masked_fill(~self.legal(rows), ILLEGAL) if self.masked else values


class ChoosingPolicy(LightPolicy):
    """What policies share that choose from the set: a raw row of one column, and the way into the action table's units."""

    row_width = 1
    certain = "it takes the choice of the highest value, others only to explore"
    choices: Choices
    model: Any

    def uniform(self, obs: Tensor) -> Tensor:
        """Uniform over the legal choices, [N]."""
        if not self.model.masked:
            return torch.randint(len(self.choices), (len(obs),), device=obs.device)
        return torch.multinomial(self.model.legal(obs).float(), 1).squeeze(1)

    def map_action(self, act: Any) -> npt.NDArray[np.float64]:
        """Choices [N] -> the units of the action table [N, U]."""
        return self.choices.actions[np.asarray(self._action_to_numpy(act), np.int64).reshape(-1)]


class GreedyPolicy(ChoosingPolicy, DiscreteQLearningPolicy):
    """The choice of the highest value; within a training step a random legal one with probability epsilon.

    epsilon falls linearly over `epsilon_steps` env steps. `acted` counts the rows that explored, n of them an env step; it is
    saved with the networks, so that a resumed run explores as the whole one.
    """

    acted: Tensor

    def __init__(self, part: Part, s: settings.Exploring) -> None:
        self.choices, self._table = Choices(part), part.group.action
        super().__init__(model=self._network(part, s), action_space=spaces.Discrete(len(self.choices)))
        self._first, self._last, self._rows = s.epsilon, s.epsilon_end, s.epsilon_steps * part.n
        self.register_buffer("acted", torch.zeros((), dtype=torch.int64))

    def _network(self, part: Part, s: settings.Exploring) -> ValueNet:
        return ValueNet(part, self.choices, s, s.dueling)

    @property
    def epsilon(self) -> float:
        """Probability of a random choice now."""
        return linear(self._first, self._last, int(self.acted), self._rows)

    def forward(self, batch: Any, state: Any = None, model: nn.Module | None = None, **_: Any) -> Any:
        """Batch(logits [N, K], act [N]), by `model` (the target network, say) or the one that learns."""
        values, state = (self.model if model is None else model)(batch.obs, state)
        act = values.argmax(1)
        if self.is_within_training_step:
            explore = torch.rand(len(act), device=act.device) < self.epsilon
            act = torch.where(explore, self.random_action(torch.as_tensor(batch.obs)), act)
        out = seen(batch.obs)
        out.__dict__.update(logits=values, act=act, state=state)
        return out

    def random_action(self, obs: Tensor) -> Tensor:
        """Uniform over the legal choices, [N]; counted in `acted`."""
        self.acted += len(obs)
        return self.uniform(obs)

    def opinion(self, rows: Tensor, out: Any, temperature: float) -> Opinion:
        """Its best choice, and its values: softmax(Q / temperature)."""
        return of_values(self.map_action(out.act), out.logits, self.choices.actions, self._table, temperature)
