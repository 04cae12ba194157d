"""Networks with memory over lanes' sequences: hidden layers, then a memory (`algorithms.memory`), then the heads.

They take either rows of one tick with the state of every lane, as in collection, or `marl.sequences.Slices`, which they
unroll from the stored state; then their outputs are flat, those of the rows that are learned from. So the losses of
algorithms without memory serve unchanged. Actor and critic have a memory each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from algorithms import settings
from algorithms.memory import memory_of
from algorithms.networks import Actor, Critic, features, mlp
from algorithms.onpolicy import ActorPolicy
from marl.sequences import Slices
from marl.team import Part


class Trunk(nn.Module):
    """Observations [n, O] and state [n, S] -> memory's output [n, W] and the next state."""

    eyes: ClassVar[tuple[str, ...]] = ("layers",)

    def __init__(self, inputs: int, s: settings.Remembering) -> None:
        super().__init__()
        self.observed = inputs
        self.layers = features(inputs, s.hidden, s.activation)
        self.memory = memory_of(s.memory, s.hidden[-1], s.memory_width, s.memory_length)
        self.width = s.memory_width

    def step(self, rows: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """One tick of rows [n, width], whose first columns are observed; from the initial state where there is none."""
        before = self.memory.initial(len(rows)) if state is None else state
        return self.memory.step(self.layers(rows[:, : self.observed]), before)

    def unroll(self, s: Slices, every: bool = False) -> tuple[Tensor, Tensor]:
        """(outputs [M * L, W], states after them [M * L, S] with `every`) of the rows after the burn-in, slice by slice."""
        rows, reset, state = s.rows[:, :, : self.observed].transpose(0, 1), s.reset.T, s.state
        if s.burn_in:
            with torch.no_grad():
                _, state = self.memory.unroll(self.layers(rows[: s.burn_in]), state, reset[: s.burn_in])
        out, states = self.memory.unroll(self.layers(rows[s.burn_in :]), state, reset[s.burn_in :], every)
        return out.transpose(0, 1).flatten(0, 1), states.transpose(0, 1).flatten(0, 1) if every else states

    def kept(self, s: Slices) -> Tensor:
        """Outputs of the rows to learn from, [K, W]."""
        out = self.unroll(s)[0]
        return out if s.kept is None else out[s.kept]


def learned_rows(s: Slices) -> Tensor:
    """The rows [K, width] to learn from."""
    rows: Tensor = s.rows[:, s.burn_in :].flatten(0, 1)
    return rows if s.kept is None else rows[s.kept]


class RecurrentActor(Actor):
    """An `Actor` whose means and logits are linear in its memory's output."""

    def __init__(self, part: Part, s: Any) -> None:
        super().__init__(part, [], s.activation, s.log_std)
        self.trunk = Trunk(part.observed, s)
        self.net = mlp(self.trunk.width, sum(self._sizes), [], s.activation, 0.01)
        self.state_width = self.trunk.memory.state_width

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        """(means and logits [n, P], next state [n, S]) of rows [n, width]; of Slices (those of the rows to learn from, None)."""
        if isinstance(obs, Slices):
            own = replace(obs, state=obs.state[:, : self.state_width])
            return self.legal(self.net(self.trunk.kept(own)), learned_rows(own)), None
        out, after = self.trunk.step(obs, state)
        return self.legal(self.net(out), obs), after


class RecurrentCritic(nn.Module):
    """V of rows and state, or of Slices -> [K, 1], linear in its memory's output. Of a lane's state it has the `columns`."""

    columns: slice

    def __init__(self, part: Part, s: settings.Remembering) -> None:
        super().__init__()
        self.trunk = Trunk(part.observed, s)
        self.net = mlp(self.trunk.width, 1, [], s.activation, 1.0)
        self.state_width = self.trunk.memory.state_width

    def step(self, rows: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(V [n], the next state of its columns) of rows [n, width] and a lane's whole state [n, S]."""
        out, after = self.trunk.step(rows, state[:, self.columns])
        return self.net(out).squeeze(1), after

    def forward(self, obs: Slices) -> Tensor:
        """V of the rows to learn from, [K, 1]."""
        values: Tensor = self.net(self.trunk.kept(replace(obs, state=obs.state[:, self.columns])))
        return values


class MemoryPolicy(ActorPolicy):
    """An ActorPolicy with memory: a lane's state [S] is the actor's columns, then those of critics, which learners move on in `record`."""

    def __init__(self, actor: RecurrentActor) -> None:
        super().__init__(actor)
        self._own = self.state_width = actor.state_width

    def join(self, critic: nn.Module) -> None:
        """Keep a critic's columns as well."""
        assert isinstance(critic, RecurrentCritic)
        critic.columns = slice(self.state_width, self.state_width + critic.state_width)
        self.state_width += critic.state_width

    def initial(self, n: int) -> Tensor:
        """States of n lanes whose episode begins, [n, S]."""
        return self.actor.log_std.new_zeros(n, self.state_width)

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        """As its parent's, with the next state [n, S]; of Slices, without a state."""
        if isinstance(batch.obs, Slices):
            return super().forward(batch)
        before = self.initial(len(batch.obs)) if state is None else state
        out = super().forward(batch, before[:, : self._own])
        out.__dict__["state"] = torch.cat([out.__dict__["state"], before[:, self._own :]], 1)
        return out


def actor_of(part: Part, s: Any) -> Actor:
    """The actor that the settings ask for."""
    return Actor(part, s.hidden, s.activation, s.log_std) if s.memory == "none" else RecurrentActor(part, s)


def critic_of(part: Part, s: Any) -> nn.Module:
    """The critic of observation rows that the settings ask for: with a memory where the actor has one."""
    own = s.of_critic()
    return Critic(part, own.hidden, own.activation) if own.memory == "none" else RecurrentCritic(part, own)


def policy_of(actor: Actor) -> ActorPolicy:
    """The policy of an actor."""
    return MemoryPolicy(actor) if isinstance(actor, RecurrentActor) else ActorPolicy(actor)


def joined_fields(policy: Any, **critics: nn.Module) -> tuple[str, ...]:
    """The fields that collection records values in, for critics with memory, whose states are kept beside the policy's own."""
    if not isinstance(policy, MemoryPolicy):
        return ()
    for critic in critics.values():
        policy.join(critic)
    return tuple(critics)
