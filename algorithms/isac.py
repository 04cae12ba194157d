"""Independent SAC: Tianshou's SAC on lanes.

J_Q = E[(Q(o, a) - r - gamma (min_i Q_i'(o', a') - alpha log pi(a'|o')))^2],  J_pi = E[alpha log pi(a|o) - min_i Q_i(o, a)]
(Haarnoja et al. 2018), with alpha learned toward a target entropy (arXiv 1812.05905). An action row is the tanh of a
normal for each continuous column, reparameterised, then a one-hot segment for each Discrete column, drawn. A critic has seen
choices alone, so its slope between them means nothing, and no gradient passes a drawn choice: over a Discrete column the
expectation is taken instead (Delalleau et al. 2019, arXiv 1912.11077), in both losses as `MixedSAC` says, and in
log pi, which is the sum over the columns, a Discrete one standing there with sum_k p_k log p_k. Continuous rows alone have Tianshou's
losses unchanged (`RowSAC`), a single Discrete column those of its DiscreteSAC (Christodoulou 2019): all expectations exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from tianshou.algorithm import SAC
from tianshou.algorithm.modelfree.discrete_sac import DiscreteSAC
from tianshou.algorithm.modelfree.sac import AutoAlpha, SACTrainingStats
from tianshou.data import Batch
from torch import Tensor
from torch.nn import functional

from algorithms import check_goal, settings
from algorithms.death import bequeathed
from algorithms.gumbel import SegmentActor
from algorithms.networks import Columns, Critic
from algorithms.onpolicy import adam
from algorithms.soft import ChoicePolicy, SoftPolicy
from marl.team import Part


class Temperature(AutoAlpha):
    """The learned temperature. Without a target entropy given, half the log of the choices that a batch's masks allow is aimed at.

    A target above what the masks leave possible would raise the temperature without end.
    """

    def __init__(self, s: settings.ISAC, part: Part) -> None:
        columns = Columns(part.group.action)
        self._choices, self._bottom, self._observed = columns.choices, -float(len(columns.continuous)), part.observed
        self._moves = s.target_entropy is None and part.mask_width > 0
        start = self._bottom + sum(0.5 * math.log(k) for k in columns.choices)
        super().__init__(start if s.target_entropy is None else s.target_entropy, 0.0, adam(s.lr, False, 0))

    def aim(self, rows: Tensor) -> None:
        """Set the target to the mean over the masks of rows [N, width]."""
        if self._moves:
            legal = rows[:, self._observed :].split(self._choices, -1)
            self._target_entropy = self._bottom + sum(0.5 * float(x.sum(-1).clamp(min=1.0).log().mean()) for x in legal)


class _Lanes:
    """What both SACs add to Tianshou's: tensors made once a batch, and next values gathered from the lanes."""

    Settings = settings.ISAC
    FIELDS: tuple[str, ...] = ()

    def record(self, rows: Tensor, out: Any) -> dict[str, Tensor]:
        """Nothing: SAC's update needs only the row."""
        return {}

    def _here(self, array: Any) -> Tensor:
        return torch.from_numpy(array).to(next(self.policy.parameters()).device)  # type: ignore[attr-defined]

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        """n-step targets by Tianshou, on tensors."""
        window = buffer.window(batch, indices, self.n_step_return_horizon)  # type: ignore[attr-defined]
        batch = super()._preprocess_batch(batch, window, window.index)  # type: ignore[misc]
        batch.__dict__.update({name: self._here(batch.__dict__[name]) for name in ("obs", "act")})
        if isinstance(self.alpha, Temperature):  # type: ignore[attr-defined]
            self.alpha.aim(batch.obs)  # type: ignore[attr-defined]
        return batch

    def _target_q(self, buffer: Any, indices: Any) -> Tensor:
        return bequeathed(buffer, indices, self._value(buffer, indices))

    def expects(self, buffer: Any, index: Any) -> Any:
        """Soft values [K, 1] of what follows rows (`marl.survivors`)."""
        with torch.no_grad():
            return self._value(buffer, index).cpu().numpy()

    def _value(self, buffer: Any, indices: Any) -> Tensor:
        """Soft values of what follows rows."""
        following = Batch(obs=self._here(buffer.obs_next[indices]), info=Batch())
        chosen = self._target_q_compute_action(following)  # type: ignore[attr-defined]
        value: Tensor = self._target_q_compute_value(following, chosen)  # type: ignore[attr-defined]
        return value


def _shared(s: settings.ISAC, part: Part, updates: int, outputs: int, actions: int) -> dict[str, Any]:
    def optimiser() -> Any:
        return adam(s.lr, s.anneal, updates)

    def critic() -> Critic:
        return Critic(part, s.hidden, s.activation, outputs, actions)

    alpha = Temperature(s, part) if s.alpha is None else float(s.alpha)
    own = {"policy_optim": optimiser(), "critic": critic(), "critic_optim": optimiser(), "critic2": critic(), "critic2_optim": optimiser()}
    return {**own, "tau": s.tau, "gamma": s.gamma, "alpha": alpha, "n_step_return_horizon": s.n_step}


def alternatives(act: Tensor, free: int, choices: Sequence[int]) -> Tensor:
    """Rows [N, K_1 + K_2 + ..., row]: of act [N, row] one Discrete column at a time takes each of its choices, the others stay as drawn.

    `free` continuous columns stand before the segments of `choices` columns.
    """
    own = torch.block_diag(*(act.new_ones(k, k) for k in choices))
    put = functional.pad(torch.eye(len(own), dtype=act.dtype, device=act.device), (free, 0))
    return act.unsqueeze(1) * functional.pad(1.0 - own, (free, 0), value=1.0) + put


class RowSAC(_Lanes, SAC):
    """SAC on continuous rows."""

    def __init__(self, s: settings.ISAC, part: Part, updates: int) -> None:
        policy = SoftPolicy(SegmentActor(part, s, 2))
        super().__init__(policy=policy, **_shared(s, part, updates, 1, policy.row_width))


class MixedSAC(RowSAC):
    """SAC where Discrete columns stand beside others, the expectation over each of them taken: no gradient passes a drawn choice.

    With x the continuous columns, k_1 .. k_D the choices of D Discrete ones, all drawn, and
        q_d(k) = min_i Q_i(o, x, k_1, .., k_d := k, .., k_D):  K_1 + K_2 + ... rows of each critic, K_d the choices of column d,
    the gradient of E[Q] with respect to the probabilities p_d of one column is that of E[sum_k p_d(k) q_d(k)], q_d held fixed, and with
    respect to x that of any one of these sums, of which the mean is taken. Hence, held fixed where it stands in [],
        J_pi = E[alpha log pi - 1/D sum_d sum_k [p_d(k)] q_d(k)  (through x)  - sum_d sum_k p_d(k) [q_d(k)]  (through p)],
        V(o) = E[1/D sum_d sum_k p_d(k) q_d'(k) - alpha log pi]  in the critics' target, with the target networks' q_d',
        log pi = log pi(x) + sum_d sum_k p_d(k) log p_d(k).
    All are unbiased; with D = 1 what is drawn is x alone and the expectation over choices is exact (Delalleau et al. 2019). What the
    mask forbids has p_d(k) = 0. The loss that is reported counts Q once.
    """

    def _valued(self, obs: Tensor, drawn: Any, *critics: Any) -> Tensor:
        """q_d(k) [N, K_1 + K_2 + ...], the least over the critics, of observation rows [N, width] and what the policy drew there."""
        actor = self.policy.actor
        rows = alternatives(drawn.act, actor.free, actor.columns.choices)
        seen, acts = obs.repeat_interleave(rows.shape[1], 0), rows.flatten(0, 1)
        return torch.min(*(critic(seen, acts) for critic in critics)).view(rows.shape[:2])

    def _target_q_compute_value(self, obs_batch: Any, act_batch: Any) -> Tensor:
        """V(o) [N, 1]."""
        q = self._valued(obs_batch.obs, act_batch, self.critic_old, self.critic2_old)
        value = (act_batch.chances * q).sum(-1, keepdim=True) / len(self.policy.actor.columns.choices)
        return value - self.alpha.value * act_batch.log_prob

    def _actor_loss(self, obs: Tensor, drawn: Any) -> Tensor:
        """J_pi of rows [N, width] and what the policy drew there."""
        with torch.set_grad_enabled(self.policy.actor.free > 0):
            q = self._valued(obs, drawn, self.critic, self.critic2)
        through_x = (drawn.chances.detach() * q).sum(-1) / len(self.policy.actor.columns.choices)
        through_p = (drawn.chances * q.detach()).sum(-1)
        return (self.alpha.value * drawn.log_prob.flatten() - through_x - (through_p - through_p.detach())).mean()

    def _update_with_batch(self, batch: Any) -> SACTrainingStats:
        """The critics' step, the actor's, the temperature's, as SAC's own."""
        losses = [
            self._minimize_critic_squared_loss(batch, *pair)[1]
            for pair in ((self.critic, self.critic_optim), (self.critic2, self.critic2_optim))
        ]
        drawn = self.policy(batch)
        actor = self._actor_loss(batch.obs, drawn)
        self.policy_optim.step(actor)
        alpha_loss = self.alpha.update(-drawn.log_prob.detach())
        self._update_lagged_network_weights()
        first, second = (loss.item() for loss in losses)
        return SACTrainingStats(
            actor_loss=actor.item(), critic1_loss=first, critic2_loss=second, alpha=self.alpha.value, alpha_loss=alpha_loss
        )


class ChoiceSAC(_Lanes, DiscreteSAC):
    """SAC on one Discrete column, the expectation over choices taken exactly."""

    def __init__(self, s: settings.ISAC, part: Part, updates: int) -> None:
        policy = ChoicePolicy(SegmentActor(part, s, 2))
        super().__init__(policy=policy, **_shared(s, part, updates, policy.actor.columns.choices[0], 0))

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        batch = super()._preprocess_batch(batch, buffer, indices)
        batch.__dict__["act"] = batch.act[:, 0]
        return batch


class ISAC:
    """SAC for one part of the agents. `updates` is the number of updates in the run."""

    Settings = settings.ISAC
    FIELDS: tuple[str, ...] = ()

    def __new__(cls, s: settings.ISAC, part: Part, updates: int) -> Any:
        """A `ChoiceSAC` for one Discrete column alone, a `RowSAC` for continuous ones, else a `MixedSAC`."""
        s.check()
        check_goal(s.hindsight, part.name, part.aims, part.reward)
        columns = Columns(part.group.action)
        mixed = MixedSAC if columns.discrete else RowSAC
        return (ChoiceSAC if columns.count == 1 and columns.discrete else mixed)(s, part, updates)
