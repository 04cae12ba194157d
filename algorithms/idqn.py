"""Independent DQN: Tianshou's DQN on lanes, its loss unchanged.

J = E[(y - Q(o, a))^2] (or Huber's loss),  y = sum_{i < n} gamma^i r_{t+i} + gamma^n Q'(o_{t+n}, a*),  a* = argmax_a Q(o_{t+n}, a)
under double Q-learning (van Hasselt, Guez and Silver 2016) and argmax_a Q' without (Mnih et al. 2015); Q' is set to Q every
`target` updates, or tau of it enters. Q may have a dueling head (Wang et al. 2016). A choice that the mask forbids is never
explored, taken or bootstrapped from. Rows [N, width], Q [N, K], a, y [N]: every agent learns from its own observation and reward alone
(IQL, Tan 1993). Under a team's reward a row after which the agent left is followed by what those expect who are there
(`algorithms.death`). With memory, rows are those of sequences (`algorithms.recurrent_values`);
with `priority` they are drawn by |y - Q| and weighed (`marl.priority`), with `hindsight` relabelled (`marl.hindsight`).
Preprocessing is overridden for tensors and for targets without exploration.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tianshou.algorithm import DQN
from tianshou.utils import RunningMeanStd
from tianshou.utils.torch_utils import policy_within_training_step
from torch import Tensor

from algorithms import check_goal, check_serves, settings
from algorithms.choices import GreedyPolicy
from algorithms.death import bequeathed, inherited
from algorithms.offpolicy import Light, rising
from algorithms.onpolicy import adam
from algorithms.recurrent_values import following, greedy_of, n_step_targets
from marl.team import Part, seen


class IDQN(Light, DQN[GreedyPolicy]):
    """DQN for one part of the agents. `updates` is the number of updates in the run."""

    Settings = settings.IDQN
    COUNTERS = ("_iter",)

    def __init__(self, s: settings.IDQN, part: Part, updates: int) -> None:
        s.check()
        check_serves("idqn", part.name, part.group.action, part.grid)
        check_goal(s.hindsight, part.name, part.aims, part.reward)
        self.s, self._updates, self.tau = s, updates, s.tau
        super().__init__(
            policy=greedy_of(part, s),
            optim=adam(s.lr, s.anneal, updates),
            gamma=s.gamma,
            n_step_return_horizon=s.n_step,
            target_update_freq=s.target,
            is_double=s.double,
            huber_loss_delta=s.huber,
        )
        self.standardises = s.standardise
        if s.standardise:
            self.ret_rms = RunningMeanStd(clip_max=None)

    def _create_policy_optimizer(self, optim: Any) -> Any:
        return self._create_optimizer(self.policy, optim, max_grad_norm=self.s.gradient_norm)

    def _update_lagged_network_weights(self) -> None:
        if self.tau == 1.0:
            super()._update_lagged_network_weights()
        else:
            self._polyak()

    def _here(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(self.policy.acted.device)

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        """n-step targets by Tianshou, on tensors; of sequences, those of `algorithms.recurrent_values`."""
        if self.policy.state_width:
            return self._sequences(batch, buffer, indices)
        window = buffer.window(batch, indices, self.n_step)
        if self.s.standardise:
            self.ret_rms.update(batch.rew)
            window.rew = self.ret_rms.norm(window.rew).astype(np.float32)
        if self.s.priority:
            batch.__dict__["weight"] = buffer.weights(indices, rising(self.s.beta, self._iter, self._updates))
        with policy_within_training_step(self.policy, enabled=False):
            batch = super()._preprocess_batch(batch, window, window.index)
        batch.__dict__.update(obs=self._here(batch.obs), act=self._here(batch.act[:, 0]).long())
        return batch

    def _along(self, slices: Any, after: Any) -> Tensor:
        """Values [N] of the rows [N, width] that follow those of slices."""
        rows = self._here(after)
        values = following(self.model_old, slices, rows)
        chosen = (following(self.policy.model, slices, rows) if self.is_double else values).argmax(1, keepdim=True)
        return values.gather(1, chosen).squeeze(1)

    def _sequences(self, batch: Any, buffer: Any, indices: Any) -> Any:
        slices = batch.slices.to(self.policy.acted.device)
        if self.s.standardise:
            self.ret_rms.update(batch.rew if batch.slices.kept is None else batch.rew[batch.slices.kept])
            batch.__dict__["rew"] = self.ret_rms.norm(batch.rew).astype(np.float32)
        shape = (-1, buffer.stretch.length)
        ends = (batch.rew, *buffer.ends(indices))
        reward, terminated, done = (self._here(field).view(shape) for field in ends)
        bootstrap = inherited(buffer, indices, self._along(slices, batch.obs_next).view(shape))
        y = n_step_targets(reward, terminated, done, bootstrap, self.gamma, self.n_step).flatten()
        act, kept = self._here(batch.act[:, 0]).long(), slice(None) if slices.kept is None else slices.kept
        batch.__dict__.update(obs=slices, act=act[kept], returns=y[kept])
        return batch

    def _target_q(self, buffer: Any, indices: Any) -> Tensor:
        return bequeathed(buffer, indices, self._value(buffer, indices))

    def _value(self, buffer: Any, indices: Any) -> Tensor:
        """Values [N] of what follows rows."""
        following = seen(self._here(buffer.obs_next[indices]))
        values: Tensor = self.policy(following, model=self.model_old.module).logits
        if not self.is_double:
            return values.max(1).values
        return values.gather(1, self.policy(following).act.unsqueeze(1)).squeeze(1)

    def expects(self, buffer: Any, index: Any) -> Any:
        """Values [K] of what follows rows; with memory [K, length] along slices of rows [K, whole] (`marl.survivors`)."""
        with torch.no_grad(), policy_within_training_step(self.policy, enabled=False):
            if not self.policy.state_width:
                return self._value(buffer, index).cpu().numpy()
            learned = index[:, buffer.stretch.burn_in :]
            slices = buffer.slices(index).to(self.policy.acted.device)
            return self._along(slices, buffer.obs_next[learned.ravel()]).view(learned.shape).cpu().numpy()

    def _update_with_batch(self, batch: Any) -> Any:
        with policy_within_training_step(self.policy, enabled=False):
            return super()._update_with_batch(batch)
