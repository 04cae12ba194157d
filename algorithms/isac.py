"""Independent SAC: Tianshou's SAC on lanes, its losses unchanged.

J_Q = E[(Q(o, a) - r - gamma (min_i Q_i'(o', a') - alpha log pi(a'|o')))^2],  J_pi = E[alpha log pi(a|o) - min_i Q_i(o, a)]
(Haarnoja et al. 2018), with alpha learned toward a target entropy (arXiv 1812.05905). An action row is the tanh of a
normal for each continuous column, then a one-hot segment for each Discrete column, drawn by the Gumbel-max trick with
the straight-through gradient of its softmax (Jang, Gu and Poole 2017), so that hybrid rows are reparameterised as a
whole; log pi is the sum over the columns, where a Discrete column stands with its expectation sum_k p_k log p_k: that of a
drawn choice has the same mean, but a gradient of mean 0. Where the action is a single Discrete column the expectation
over its choices is exact in all terms and Tianshou's DiscreteSAC (Christodoulou 2019) is used instead.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from tianshou.algorithm import SAC
from tianshou.algorithm.modelfree.discrete_sac import DiscreteSAC, DiscreteSACPolicy
from tianshou.algorithm.modelfree.sac import AutoAlpha, SACPolicy
from tianshou.data import Batch
from torch import Tensor
from torch.nn import functional

from algorithms import check_goal, settings
from algorithms.death import bequeathed
from algorithms.gumbel import SegmentActor, SegmentPolicy, any_of, straight_through
from algorithms.networks import HALF_LOG_TWO_PI, Columns, Critic
from algorithms.onpolicy import adam
from algorithms.opinions import of_squashed
from marl.opinion import Opinion
from marl.team import LightPolicy, Part

LOWEST, HIGHEST = -20.0, 2.0
"""Bounds of a log standard deviation, as in the paper's code."""


class SoftPolicy(SegmentPolicy, SACPolicy):
    """SAC's policy over action rows: [tanh of continuous columns | one-hot segments of discrete ones]."""

    def __init__(self, actor: SegmentActor) -> None:
        self.row_width = actor.free + sum(actor.columns.choices)
        super().__init__(actor=actor, action_scaling=False, action_space=spaces.Box(-1.0, 1.0, (self.row_width,), np.float32))

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        """Batch(act [N, row], log_prob [N, 1]: of the drawn continuous columns, expected over discrete ones); the mode outside training."""
        free, columns = self.actor.free, self.actor.columns
        out, state = self.actor(batch.obs, state)
        mean, log_std, *logits = out.split([free, free, *columns.choices], -1)
        log_std = log_std.clamp(LOWEST, HIGHEST)
        drawn = mean + log_std.exp() * torch.randn_like(mean) if self.is_within_training_step else mean
        squashed = torch.tanh(drawn)
        # log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2x)) holds its precision where tanh saturates
        correction = 2.0 * (math.log(2.0) - drawn - functional.softplus(-2.0 * drawn))
        z = (drawn - mean) * (-log_std).exp()
        log_prob = (-0.5 * z.square() - log_std - HALF_LOG_TWO_PI - correction).sum(-1, keepdim=True)
        segments = [squashed]
        for l in logits:
            log_probs = torch.log_softmax(l, -1)
            segments.append(straight_through(log_probs, 1.0, self.is_within_training_step))
            log_prob = log_prob + (log_probs.exp() * log_probs).sum(-1, keepdim=True)
        row = torch.cat(segments, -1) if logits else squashed
        return Batch(act=row, log_prob=log_prob, state=state)

    def opinion(self, rows: Tensor, out: Any, temperature: float) -> Opinion:
        """Its mode, and the distribution that it explores with."""
        free = self.actor.free
        mean, log_std, *logits = self.actor(rows)[0].split([free, free, *self.actor.columns.choices], -1)
        return of_squashed(self.map_action(out.act), mean, log_std.clamp(LOWEST, HIGHEST), logits)


class ChoicePolicy(LightPolicy, DiscreteSACPolicy):
    """DiscreteSAC's policy over one Discrete column; an action row is [choice]."""

    def __init__(self, actor: SegmentActor) -> None:
        self.row_width = 1
        super().__init__(actor=actor, action_space=spaces.Discrete(actor.columns.choices[0]))

    def map_action(self, act: Any) -> Any:
        """[N, 1] choices."""
        return self._action_to_numpy(act).reshape(-1, 1)

    def opinion(self, rows: Tensor, out: Any, temperature: float) -> Opinion:
        """Its mode, and the probabilities that it explores with."""
        none = out.logits[:, :0]
        return of_squashed(self.map_action(out.act), none, none, [out.logits])

    def random_action(self, obs: Tensor) -> Tensor:
        """Uniform over the legal choices, [N]."""
        k = self.actor.columns.choices[0]
        return any_of(obs[:, self.actor.observed :] if self.actor.masked else obs.new_ones(len(obs), k))


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
        device = next(self.policy.parameters()).device  # type: ignore[attr-defined]
        return torch.from_numpy(array).to(device)

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        """n-step targets by Tianshou, on tensors."""
        window = buffer.window(batch, indices, self.n_step_return_horizon)  # type: ignore[attr-defined]
        batch = super()._preprocess_batch(batch, window, window.index)  # type: ignore[misc]
        for name in ("obs", "act"):
            batch.__dict__[name] = self._here(batch.__dict__[name])
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


class RowSAC(_Lanes, SAC):
    """SAC on continuous and hybrid rows."""

    def __init__(self, s: settings.ISAC, part: Part, updates: int) -> None:
        policy = SoftPolicy(SegmentActor(part, s, 2))
        super().__init__(policy=policy, **_shared(s, part, updates, 1, policy.row_width))


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
        """A `ChoiceSAC` for one Discrete column, else a `RowSAC`."""
        s.check()
        check_goal(s.hindsight, part.name, part.aims, part.reward)
        columns = Columns(part.group.action)
        return (ChoiceSAC if columns.count == 1 and columns.discrete else RowSAC)(s, part, updates)
