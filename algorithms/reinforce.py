"""REINFORCE: Tianshou's on lanes, its loss unchanged.

L = -E[log pi(a|o) G],  G_t = sum_{i >= t} gamma^(i-t) r_i to the end of the episode (Williams 1992). Rows [N, width], G and
log pi [N]. There is no critic: with `standardise` (Tianshou's default is off) G is shifted and scaled by the running moments
of the returns, and what an unfinished episode has still to give is taken to be their mean; without, it is taken to be 0,
so that `rollout` had better be a whole number of episodes. Only `_preprocess_batch` is overridden: rows become tensors, the
moments are those of rows in which agents acted, and under a team's reward G goes on for who has left (`algorithms.death`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tianshou.algorithm import Reinforce
from torch import Tensor

from algorithms import settings
from algorithms.death import left_behind, team_rows
from algorithms.onpolicy import adam, rows_of
from algorithms.recurrent import actor_of, policy_of
from marl.replay import LaneBuffer
from marl.team import Part


class REINFORCE(Reinforce):
    """REINFORCE for one part of the agents. `updates` is the number of rollouts in the run."""

    Settings = settings.Reinforce
    FIELDS: tuple[str, ...] = ()
    minibatches = 1

    def __init__(self, s: settings.Reinforce, part: Part, updates: int) -> None:
        s.check()
        super().__init__(
            policy=policy_of(actor_of(part, s)),
            gamma=s.gamma,
            return_standardization=s.standardise,
            optim=adam(s.lr, s.anneal, updates),
        )
        self.ret_rms, self._gamma, self._standardises = self.discounted_return_computation.ret_rms, s.gamma, s.standardise

    def record(self, rows: Tensor, out: Any) -> dict[str, Tensor]:
        """Nothing: the update computes log pi(a|o) itself, with its gradient."""
        return {}

    def expects(self, buffer: LaneBuffer, index: Any) -> Any:
        """What is taken to come after rows, [K] (`marl.survivors`)."""
        return np.full(len(index), float(self.ret_rms.mean))

    def _returns(self, batch: Any, buffer: LaneBuffer, indices: Any, kept: Any) -> Any:
        """G [N] by Tianshou's estimator, standardised by the moments before; the rows `kept` enter them."""
        rows: Any = batch
        estimator: Any = buffer
        if left_behind(buffer) is not None:
            rows = estimator = team_rows(buffer, batch.rew)
        ahead = np.full(len(indices), self.ret_rms.mean)
        returns, _ = self.compute_episodic_return(rows, estimator, indices, v_s_=ahead, gamma=self._gamma, gae_lambda=1.0)
        if not self._standardises:
            return returns
        found = (returns - self.ret_rms.mean) / np.sqrt(self.ret_rms.var + self.discounted_return_computation.eps)
        self.ret_rms.update(returns[kept])
        return found

    def _preprocess_batch(self, batch: Any, buffer: Any, indices: Any) -> Any:
        """Discounted returns; rows of agents that had left are dropped."""
        kept = slice(None) if buffer.alive.all() else np.flatnonzero(buffer.alive)
        device = self.policy.actor.log_std.device
        fields = {"act": batch.act, "returns": self._returns(batch, buffer, indices, kept)}
        tensors = {k: torch.from_numpy(np.ascontiguousarray(v[kept], np.float32)).to(device) for k, v in fields.items()}
        return rows_of(buffer, batch.obs, kept, tensors)
