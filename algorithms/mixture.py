"""What VDN and QMIX share: a value for every member, a mixer that makes the team's of them, one error on the team's reward.

J = E[w (y - M(q, s))^2],  q_i = Q(o_i, a_i),  y = r + gamma M'(q', s'),  q'_i = Q'(o'_i, argmax_a Q(o'_i, a))
under double Q-learning (van Hasselt, Guez and Silver 2016), max_a Q' without; after n steps y = sum_{k < n} gamma^k r_{t+k}
+ gamma^n M'. w is 1, or what rows drawn by priority are weighed with (`marl.priority`). Team rows: o [n, N, width], a, q [n, N],
s [N, S], r, y [N]. A member that has left adds 0, M' is what others of the team expect while no member is there
(`algorithms.death`); choices that the mask forbids are not bootstrapped from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tianshou.algorithm.algorithm_base import LaggedNetworkPolyakUpdateAlgorithmMixin, OffPolicyAlgorithm
from tianshou.algorithm.modelfree.reinforce import SimpleLossTrainingStats
from tianshou.utils import RunningMeanStd
from torch import Tensor, nn

from algorithms import check_serves, check_team, settings
from algorithms.choices import GreedyPolicy
from algorithms.death import inherited
from algorithms.offpolicy import Light, rising
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
        check_team(name, part.reward)
        super().__init__(policy=greedy_of(part, s))
        LaggedNetworkPolyakUpdateAlgorithmMixin.__init__(self, s.tau)
        self.s, self.mixer, self._updates = s, mixer, updates
        self.model_old, self.mixer_old = self._add_lagged_network(self.policy.model), self._add_lagged_network(mixer)
        learning = nn.ModuleList([self.policy.model, mixer])
        self.optim = self._create_optimizer(learning, adam(s.lr, s.anneal, updates), max_grad_norm=s.gradient_norm)
        self.standardises = s.standardise
        self.ret_rms = RunningMeanStd(clip_max=None)
        self._iter = 0

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        """Tensors; the team's discounted rewards, and by how much what follows the last of them counts."""
        reward, held, last = buffer.ahead(indices, self.s.n_step)
        later = batch if self.s.n_step == 1 else buffer.team_rows(last)
        if self.s.standardise:
            self.ret_rms.update(reward[0])
            reward = self.ret_rms.norm(reward)
        here = self.policy.acted.device
        left, shape = buffer.outlived(last), (-1, buffer.stretch.length) if self.policy.state_width else (-1,)
        beyond = inherited(buffer, last, torch.zeros(len(last)).view(shape)).flatten().numpy()
        fields = {
            "left": left,
            "beyond": beyond,
            "obs": batch.obs,
            "obs_next": later.obs_next,
            "state": batch.state,
            "state_next": later.state_next,
        }
        fields |= {"alive": batch.alive, "alive_next": later.alive & ~later.terminated}
        fields["reward"] = (reward * held * self.s.gamma ** np.arange(len(held))[:, None]).sum(0).astype(np.float32)
        fields["follows"] = (self.s.gamma ** held.sum(0)).astype(np.float32) * ~buffer.over(last)
        if self.s.priority:
            fields["weight"] = buffer.weights(indices, rising(self.s.beta, self._iter, self._updates))
        batch.__dict__.update({name: torch.from_numpy(field).to(here) for name, field in fields.items()})
        batch.__dict__["act"] = torch.from_numpy(batch.act).to(here).long()
        if self.policy.state_width:  # rows of sequences: some may have no member left
            batch.__dict__["obs"] = batch.slices.to(here)
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

    def _mixed(self, batch: Any) -> Tensor:
        """M' [N] of what follows the rows."""
        old = self._following(self.model_old.module, batch)
        chosen = (self._following(self.policy.model, batch) if self.s.double else old).argmax(2, keepdim=True)
        mixed: Tensor = self.mixer_old.module(old.gather(2, chosen).squeeze(2) * batch.alive_next, batch.state_next)
        return mixed

    def _targets(self, batch: Any) -> Tensor:
        """y [N]."""
        with torch.no_grad():
            y: Tensor = batch.reward + batch.follows * torch.where(batch.left, batch.beyond, self._mixed(batch))
            return y

    def expects(self, buffer: Any, index: Any) -> Any:
        """M' [K] of what follows team rows; with memory [K, length] along slices of them [K, whole] (`marl.survivors`)."""
        here = self.policy.acted.device
        learned = index[:, buffer.stretch.burn_in :] if self.policy.state_width else index
        batch = buffer.team_rows(learned.ravel())
        batch.__dict__["alive_next"] = batch.alive & ~batch.terminated
        for name in ("obs_next", "state_next", "alive", "alive_next"):
            batch.__dict__[name] = torch.from_numpy(batch.__dict__[name]).to(here)
        if self.policy.state_width:
            batch.__dict__["obs"] = buffer.slices(index).to(here)
        with torch.no_grad():
            return self._mixed(batch).view(learned.shape).cpu().numpy()

    def _update_with_batch(self, batch: Any) -> SimpleLossTrainingStats:
        taken = self._values(batch).gather(2, batch.act).squeeze(2) * batch.alive
        off = self._targets(batch) - self.mixer(taken, batch.state)
        errors = off.square() * batch.weight if self.s.priority else off.square()
        loss = errors[batch.alive.any(0)].mean() if self.policy.state_width else errors.mean()
        self.optim.step(loss)
        self._iter += 1
        if self._iter % self.s.target == 0:
            self._polyak()
        if self.s.priority:
            batch.__dict__["weight"] = off  # what the buffer's priorities follow
        return SimpleLossTrainingStats(loss=loss.item())
