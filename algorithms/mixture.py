"""What VDN and QMIX share: a value for every member, a mixer that makes the team's of them, one error on the team's reward.

J = E[(y - M(q, s))^2],  q_i = Q(o_i, a_i),  y = r + gamma M'(q', s'),  q'_i = Q'(o'_i, argmax_a Q(o'_i, a))
under double Q-learning (van Hasselt, Guez and Silver 2016), max_a Q' without. Team rows: o [n, N, width], a, q [n, N],
s [N, S], r, y [N]. A member that has left adds 0; choices that the mask forbids are not bootstrapped from.
"""

from __future__ import annotations

from typing import Any

import torch
from tianshou.algorithm.algorithm_base import LaggedNetworkPolyakUpdateAlgorithmMixin, OffPolicyAlgorithm
from tianshou.algorithm.modelfree.reinforce import SimpleLossTrainingStats
from tianshou.utils import RunningMeanStd
from torch import Tensor, nn

from algorithms import check_paid, check_serves, settings
from algorithms.choices import GreedyPolicy
from algorithms.offpolicy import Light
from algorithms.onpolicy import adam
from algorithms.recurrent_values import following, greedy_of
from marl.team import Part


class Mixture(Light, OffPolicyAlgorithm[GreedyPolicy], LaggedNetworkPolyakUpdateAlgorithmMixin):
    """Q-learning of a team's value through `mixer` (values [n, N], state [N, S]) -> [N], for one part of the agents."""

    COUNTERS = ("_iter",)
    CENTRAL = True

    def __init__(self, name: str, s: settings.VDN, part: Part, updates: int, mixer: nn.Module) -> None:
        s.check()
        check_serves(name, part.name, part.group.action, part.grid)
        check_paid(name, part.reward)
        super().__init__(policy=greedy_of(part, s))
        LaggedNetworkPolyakUpdateAlgorithmMixin.__init__(self, s.tau)
        self.s, self.mixer = s, mixer
        self.model_old, self.mixer_old = self._add_lagged_network(self.policy.model), self._add_lagged_network(mixer)
        learning = nn.ModuleList([self.policy.model, mixer])
        self.optim = self._create_optimizer(learning, adam(s.lr, s.anneal, updates), max_grad_norm=s.gradient_norm)
        self.ret_rms = RunningMeanStd()
        self._iter = 0

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        """Tensors, the team's reward and whether the team goes on."""
        reward = buffer.paid(indices)
        if self.s.standardise:
            self.ret_rms.update(reward)
            reward = self.ret_rms.norm(reward)
        here = self.policy.acted.device
        fields = {name: torch.from_numpy(batch.__dict__[name]).to(here) for name in ("obs", "obs_next", "state", "state_next")}
        alive = batch.alive
        if self.policy.state_width:  # rows of sequences: some may have no member left
            fields["obs"] = batch.slices.to(here)
        batch.__dict__.update(
            fields,
            act=torch.from_numpy(batch.act).to(here).long(),
            alive=torch.from_numpy(alive).to(here),
            alive_next=torch.from_numpy(alive & ~batch.terminated).to(here),
            reward=torch.as_tensor(reward, dtype=torch.float32, device=here),
            goes_on=torch.from_numpy(~buffer.over(indices)).to(here),
        )
        return batch

    def _values(self, batch: Any) -> Tensor:
        """What learns of the rows, [n, N, K]."""
        values: Tensor = self.policy.model(batch.obs if self.policy.state_width else batch.obs.flatten(0, 1))[0]
        return values.view(*batch.alive.shape, -1)

    def _following(self, model: nn.Module, batch: Any) -> Tensor:
        """What `model` gives of the rows that follow, [n, N, K]."""
        rows = batch.obs_next.flatten(0, 1)
        values: Tensor = following(model, batch.obs, rows) if self.policy.state_width else model(rows)[0]
        return values.view(*batch.alive.shape, -1)

    def _targets(self, batch: Any) -> Tensor:
        """y [N]."""
        with torch.no_grad():
            old = self._following(self.model_old.module, batch)
            chosen = (self._following(self.policy.model, batch) if self.s.double else old).argmax(2, keepdim=True)
            values = old.gather(2, chosen).squeeze(2) * batch.alive_next
            y: Tensor = batch.reward + self.s.gamma * batch.goes_on * self.mixer_old.module(values, batch.state_next)
            return y

    def _update_with_batch(self, batch: Any) -> SimpleLossTrainingStats:
        taken = self._values(batch).gather(2, batch.act).squeeze(2) * batch.alive
        errors = (self._targets(batch) - self.mixer(taken, batch.state)).square()
        loss = errors[batch.alive.any(0)].mean() if self.policy.state_width else errors.mean()
        self.optim.step(loss)
        self._iter += 1
        if self._iter % self.s.target == 0:
            self._polyak()
        return SimpleLossTrainingStats(loss=loss.item())
