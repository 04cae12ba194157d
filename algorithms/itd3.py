"""Independent TD3: Tianshou's TD3 on lanes, its losses unchanged.

J_Q = E[(Q_i(o, a) - y)^2],  y = r + gamma min_i Q_i'(o', clip(mu'(o') + clip(e, -c, c), -1, 1)),  e ~ N(0, s^2), for both
critics, and J_mu = -E[Q_1(o, mu(o))] every `delay` updates (Fujimoto, van Hoof and Meger 2018). Rows [N, width], actions
[N, U] in [-1, 1], Q [N, 1]. Tianshou leaves target actions outside [-1, 1]; they are clipped here as in the paper's code.
With delay 1 and no noise on targets this is DDPG with two critics (Lillicrap et al. 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from tianshou.algorithm import TD3
from tianshou.algorithm.modelfree.ddpg import ContinuousDeterministicPolicy
from torch import Tensor, nn

from algorithms import check_serves, settings
from algorithms.death import bequeathed
from algorithms.networks import Columns, Critic, mlp
from algorithms.onpolicy import adam
from marl.team import LightPolicy, Part, seen


class SquashedActor(nn.Module):
    """Rows [N, width] -> (actions [N, U] in (-1, 1), state)."""

    eyes: ClassVar[tuple[str, ...]] = ("net",)

    def __init__(self, part: Part, hidden: Sequence[int], activation: str) -> None:
        super().__init__()
        self.columns = Columns(part.group.action)
        self.net = mlp(part.observed, self.columns.count, hidden, activation, 0.01)

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        """(actions, state)."""
        return torch.tanh(self.net(torch.as_tensor(obs))), state


class NoisyPolicy(LightPolicy, ContinuousDeterministicPolicy):
    """The actor's action; within a training step with Gaussian noise, where no other network or `eps` is asked for."""

    certain = "its actor gives one action, noise is only to explore"

    noise: Tensor

    def __init__(self, actor: SquashedActor, noise: float | None) -> None:
        self.row_width = actor.columns.count
        box = spaces.Box(-1.0, 1.0, (actor.columns.count,), np.float32)
        super().__init__(actor=actor, action_space=box, action_scaling=False, action_bound_method=None)
        self.register_buffer("noise", torch.tensor(actor.columns.noises(noise)), persistent=False)

    def forward(self, batch: Any, state: Any = None, model: nn.Module | None = None, eps: float | None = None, **_: Any) -> Any:
        """Batch(act [N, U])."""
        act, state = (self.actor if model is None else model)(batch.obs)
        if self.is_within_training_step and model is None and eps is None:
            act = (act + self.noise * torch.randn_like(act)).clamp(-1.0, 1.0)
        out = seen(batch.obs)
        out.__dict__.update(act=act, state=state)
        return out

    def random_action(self, obs: Tensor) -> Tensor:
        """Uniform in [-1, 1], [N, U]: what is collected before the first update."""
        return 2.0 * torch.rand(len(obs), self.row_width, device=obs.device) - 1.0

    def map_action(self, act: Any) -> Any:
        """Raw rows -> the units of the action table."""
        return self.actor.columns.to_units(self._action_to_numpy(act))


class ITD3(TD3):
    """TD3 for one part of the agents. `updates` is the number of updates in the run."""

    Settings = settings.ITD3
    FIELDS: tuple[str, ...] = ()
    COUNTERS = ("_cnt", "_last")

    def __init__(self, s: settings.ITD3, part: Part, updates: int) -> None:
        s.check()
        check_serves("itd3", part.name, part.group.action, part.grid)
        policy = NoisyPolicy(SquashedActor(part, s.hidden, s.activation), s.noise)
        critic, critic2 = (Critic(part, s.hidden, s.activation, 1, policy.row_width) for _ in range(2))
        optim = adam(s.lr, s.anneal, updates)
        super().__init__(
            policy=policy,
            policy_optim=adam(s.lr, s.anneal, updates),
            critic=critic,
            critic_optim=optim,
            critic2=critic2,
            critic2_optim=optim,
            tau=s.tau,
            gamma=s.gamma,
            policy_noise=s.target_noise,
            update_actor_freq=s.delay,
            noise_clip=s.noise_clip,
            n_step_return_horizon=s.n_step,
        )

    def record(self, rows: Tensor, out: Any) -> dict[str, Tensor]:
        """Nothing: the update needs only the row."""
        return {}

    def _here(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(next(self.critic.parameters()).device)

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        """n-step targets by Tianshou, on tensors."""
        window = buffer.window(batch, indices, self.n_step_return_horizon)
        batch = super()._preprocess_batch(batch, window, window.index)
        batch.__dict__.update(obs=self._here(batch.obs), act=self._here(batch.act))
        return batch

    def _target_q(self, buffer: Any, indices: Any) -> Tensor:
        return bequeathed(buffer, indices, self._value(buffer, indices))

    def expects(self, buffer: Any, index: Any) -> Any:
        """Values [K, 1] of what follows rows (`marl.survivors`)."""
        with torch.no_grad():
            return self._value(buffer, index).cpu().numpy()

    def _value(self, buffer: Any, indices: Any) -> Tensor:
        """Values of what follows rows."""
        following = seen(self._here(buffer.obs_next[indices]))
        value: Tensor = self._target_q_compute_value(following, self._target_q_compute_action(following))
        return value

    def _target_q_compute_action(self, obs_batch: Any) -> Any:
        chosen = super()._target_q_compute_action(obs_batch)
        chosen.__dict__["act"] = chosen.act.clamp(-1.0, 1.0)
        return chosen
