"""Rainbow (Hessel et al. 2018): Tianshou's Rainbow on lanes, its loss unchanged.

A return's distribution p(o, a) [K, atoms] over the values z_1 < ... < z_M (Bellemare, Dabney and Munos 2017), and
J = E[-w sum_m T_m log p_m(o, a)],  T = projection of sum_{i < n} gamma^i r_{t+i} + gamma^n z on the atoms, with the mass
p'(o_{t+n}, a*),  a* = argmax_a sum_m z_m p_m(o_{t+n}, a): double Q-learning. A value beyond the outer atoms counts as the
outer one. The network has dueling heads, p = softmax_m(V + A - mean_a A) (Wang et al. 2016), with noisy weights in place of
epsilon (Fortunato et al. 2018): noise is drawn anew for every forward in collection and every update, there is none outside.
Rows are drawn by their cross-entropy and weighed by w (`marl.priority`). A choice that the mask forbids is never taken.
Tianshou takes the distribution one tick on whatever n is; here it is the one n ticks on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from gymnasium import spaces
from tianshou.algorithm import RainbowDQN
from tianshou.algorithm.modelfree.c51 import C51Policy
from tianshou.utils.net.discrete import NoisyLinear
from tianshou.utils.torch_utils import policy_within_training_step
from torch import Tensor, nn

from algorithms import check_serves, settings
from algorithms.choices import Choices, ChoosingPolicy, ValueNet
from algorithms.death import bequeathed
from algorithms.networks import features
from algorithms.offpolicy import Light, rising
from algorithms.onpolicy import adam
from algorithms.opinions import of_values
from marl.opinion import Opinion
from marl.team import Part, seen


class NoisyHeads(nn.Module):
    """Observations [N, O] -> probabilities [N, K, atoms], by noisy dueling heads of one trunk."""

    def __init__(self, inputs: int, choices: int, s: settings.Rainbow) -> None:
        super().__init__()
        last = s.hidden[-1]
        self.trunk = features(inputs, s.hidden, s.activation)
        self.value, self.advantage = NoisyLinear(last, s.atoms, s.noise), NoisyLinear(last, choices * s.atoms, s.noise)

    def forward(self, obs: Tensor) -> Tensor:
        """[N, K, atoms]."""
        trunk = self.trunk(obs)
        value = self.value(trunk).unsqueeze(1)
        advantage = self.advantage(trunk).view(len(obs), -1, value.shape[2])
        return torch.softmax(value + advantage - advantage.mean(1, keepdim=True), -1)


class Distribution(ValueNet):
    """Rows [N, width] -> (probabilities [N, K, atoms], state)."""

    def __init__(self, part: Part, choices: Choices, s: settings.Rainbow) -> None:
        super().__init__(part, choices, s)
        self.net = NoisyHeads(part.observed, len(choices), s)

    def forward(self, obs: Any, state: Any = None, info: Any = None) -> tuple[Tensor, Any]:
        """(probabilities [N, K, atoms], state)."""
        rows = torch.as_tensor(obs)
        return self.net(rows[:, : self.observed]), state


class NoisyPolicy(ChoosingPolicy, C51Policy):
    """The choice of the highest expected return, under noisy weights within a training step."""

    def __init__(self, part: Part, s: settings.Rainbow) -> None:
        self.choices, self._table, self._learns = Choices(part), part.group.action, False
        net, space = Distribution(part, self.choices, s), spaces.Discrete(len(self.choices))
        super().__init__(model=net, action_space=space, num_atoms=s.atoms, v_min=s.lowest, v_max=s.highest)

    @contextmanager
    def learning(self) -> Iterator[None]:
        """An update: networks have the noise that was drawn for it."""
        self._learns = True
        try:
            with policy_within_training_step(self, enabled=False):
                yield
        finally:
            self._learns = False

    def forward(self, batch: Any, state: Any = None, model: nn.Module | None = None, **_: Any) -> Any:
        """Batch(logits [N, K, atoms], the probabilities; act [N]; values [N, K])."""
        net = self.model if model is None else model
        net.train(self._learns or self.is_within_training_step)
        if self.is_within_training_step:
            with torch.no_grad():
                RainbowDQN._sample_noise(net)
        probabilities, state = net(batch.obs, state)
        values = self.model.masks((probabilities * self.support).sum(2), torch.as_tensor(batch.obs))
        out = seen(batch.obs)
        out.__dict__.update(logits=probabilities, act=values.argmax(1), values=values, state=state)
        return out

    def random_action(self, obs: Tensor) -> Tensor:
        """Uniform over the legal choices, [N]: what is collected before the first update."""
        return self.uniform(obs)

    def opinion(self, rows: Tensor, out: Any, temperature: float) -> Opinion:
        """Its best choice, and its values: softmax(Q / temperature)."""
        return of_values(self.map_action(out.act), out.values, self.choices.actions, self._table, temperature)


class Rainbow(Light, RainbowDQN):
    """Rainbow for one part of the agents. `updates` is the number of updates in the run."""

    Settings = settings.Rainbow
    COUNTERS = ("_iter",)

    def __init__(self, s: settings.Rainbow, part: Part, updates: int) -> None:
        s.check()
        check_serves("rainbow", part.name, part.group.action, part.grid)
        self.s, self._updates = s, updates
        super().__init__(
            policy=NoisyPolicy(part, s),
            optim=adam(s.lr, s.anneal, updates),
            gamma=s.gamma,
            n_step_return_horizon=s.n_step,
            target_update_freq=s.target,
        )

    def _here(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(self.policy.support.device)

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        """n-step values of the atoms by Tianshou, on tensors; what follows is what came n ticks on."""
        window = buffer.window(batch, indices, self.n_step)
        if self.s.priority:
            batch.__dict__["weight"] = buffer.weights(indices, rising(self.s.beta, self._iter, self._updates))
        batch = super()._preprocess_batch(batch, window, window.index)
        last = window.index + (self.n_step - 1) * len(indices)
        following, left = window.obs_next[last], buffer.outlived(window.rows[last])
        if left.any():
            theirs = bequeathed(window, last, torch.zeros_like(batch.returns))
            batch.__dict__.update(left=self._here(left), theirs=theirs)
        batch.__dict__.update(obs=self._here(batch.obs), act=self._here(batch.act[:, 0]).long(), obs_next=self._here(following))
        return batch

    def expects(self, buffer: Any, index: Any) -> Any:
        """Probabilities [K, atoms] of what follows rows, without noise (`marl.survivors`, whose mean of them is a distribution)."""
        following = seen(self._here(buffer.obs_next[index]))
        with torch.no_grad(), policy_within_training_step(self.policy, enabled=False):
            act = self.policy(following).act
            return self.policy(following, model=self.model_old).logits[torch.arange(len(act)), act].cpu().numpy()

    def _target_dist(self, batch: Any) -> Tensor:
        """Tianshou's projection; the team's distribution where a member had left (`algorithms.death`)."""
        target = super()._target_dist(batch)
        if "left" in batch.__dict__:
            at, atoms = batch.returns.clamp(self.s.lowest, self.s.highest).unsqueeze(1), self.policy.support.view(1, -1, 1)
            own = ((1.0 - (at - atoms).abs() / self.delta_z).clamp(0.0, 1.0) * batch.theirs.unsqueeze(1)).sum(-1)
            target = torch.where(batch.left.unsqueeze(1), own, target)
        return target

    def _update_with_batch(self, batch: Any) -> Any:
        with self.policy.learning():
            return super()._update_with_batch(batch)
