"""The deviation of PPO's continuous columns where it is not learned but falls over a run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from algorithms.schedules import linear


class FallingDeviation(nn.Module):
    """log s_k = log s_0 + (log s_end - log s_0) min(1, k / (q K)) at update k of K, q `log_std_share`: from exploring to nearly certain.

    A learned deviation stops shrinking where a tick says little about one action, and what is best beside others' trembling (or one's
    own) is not what is best without it: bids are too high, stock too large. Hollenstein et al. 2022 (Transactions on Machine Learning
    Research, "Action noise in off-policy deep reinforcement learning") advise to let the impact of exploration fall over a run.
    `first` and `ends` are log s_0 and log s_end of the columns, of which a column without an end goes on being learned.
    """

    passed: Tensor

    def __init__(self, share: float, updates: int, first: Sequence[float], ends: Sequence[float | None]) -> None:
        super().__init__()
        self._paths = {c: (start, end) for c, (start, end) in enumerate(zip(first, ends, strict=True)) if end is not None}
        self._fall = max(share * updates, 1.0)
        self.register_buffer("passed", torch.tensor(0, dtype=torch.int64))

    def hold(self, log_std: nn.Parameter) -> None:
        """Keep gradients from the actor's [C] where it falls."""
        learned = torch.tensor([float(c not in self._paths) for c in range(len(log_std))])
        if learned.any():
            log_std.register_hook(lambda gradient: gradient * learned.to(gradient))
        else:
            log_std.requires_grad_(False)

    def fall(self, log_std: Tensor) -> None:
        """After the gradient steps of an update: set the actor's, which no gradient moves and which is saved with it."""
        self.passed += 1
        with torch.no_grad():
            for c, (first, end) in self._paths.items():
                log_std[c] = linear(first, end, int(self.passed), self._fall)
