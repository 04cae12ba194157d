"""What algorithms share that learn from a replay with networks that have no mode: no dropout, no batch normalisation."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from algorithms.schedules import linear


class Light:
    """Put before one of Tianshou's off-policy algorithms: nothing recorded in collection, and no walk over modules in an update.

    Tianshou sets the mode of every module before and after an update, and of a target network in every forward; the
    networks here act the same in each. Targets are moved in place. Same numbers.
    """

    FIELDS: tuple[str, ...] = ()
    training: bool
    tau: float
    _lagged_networks: Any

    def record(self, rows: Tensor, out: Any) -> dict[str, Tensor]:
        """Nothing: the update needs only the row."""
        return {}

    def train(self, mode: bool = True) -> Self:
        """Only the flag."""
        self.training = mode
        return self

    def _polyak(self) -> None:
        """theta' <- tau theta + (1 - tau) theta' of every target network."""
        with torch.no_grad():
            for pair in self._lagged_networks._lagged_network_pairs:
                for old, new in zip(pair.target.parameters(), pair.source.parameters(), strict=True):
                    old.mul_(1 - self.tau).add_(self.tau * new)


def rising(beta: float, done: int, updates: int) -> float:
    """beta at the first of so many updates, rising linearly to 1 at the last."""
    return linear(beta, 1.0, done, max(updates, 1))
