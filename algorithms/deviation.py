"""The deviation of PPO's continuous columns where it is not learned but falls over a run."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from algorithms import settings
from algorithms.schedules import linear


class FallingDeviation(nn.Module):
    """log s_k = log s_0 + (log s_end - log s_0) min(1, k / (q K)) at update k of K, q `log_std_share`: from exploring to nearly certain.

    A learned deviation stops shrinking where a tick says little about one action, and what is best beside others' trembling (or one's
    own) is not what is best without it: bids are too high, stock too large. Hollenstein et al. 2022 (Transactions on Machine Learning
    Research, "Action noise in off-policy deep reinforcement learning") advise to let the impact of exploration fall over a run.
    """

    passed: Tensor

    def __init__(self, s: settings.Proximal, updates: int) -> None:
        super().__init__()
        assert s.log_std_end is not None
        self._first, self._end, self._fall = s.log_std, s.log_std_end, max(s.log_std_share * updates, 1.0)
        self.register_buffer("passed", torch.tensor(0, dtype=torch.int64))

    def fall(self, log_std: Tensor) -> None:
        """After the gradient steps of an update: set the actor's, which no gradient moves and which is saved with it."""
        self.passed += 1
        log_std.fill_(linear(self._first, self._end, int(self.passed), self._fall))
