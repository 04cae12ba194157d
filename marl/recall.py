"""What a policy with memory carries from tick to tick: a row of numbers a lane, `state_width` of them, forgotten where an episode ends.

Such a policy has `state_width`, `initial(n) -> [n, S]`, `forward(rows, state)` whose answer has the next `state`, and
`advance(rows, state) -> state` for ticks in which it watches without acting. A policy without memory has none of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tianshou.algorithm.algorithm_base import Policy

from marl.errors import UserError
from marl.team import seen


class Recall:
    """The states [N, S] of N lanes that `policy` plays; S is 0 without memory, and nothing is kept."""

    def __init__(self, policy: Policy, lanes: int) -> None:
        self._policy: Any = policy
        self.width = int(getattr(policy, "state_width", 0))
        self.state = self._fresh(lanes)

    def _fresh(self, lanes: int) -> torch.Tensor:
        return self._policy.initial(lanes) if self.width else torch.empty(lanes, 0)

    def ask(self, policy: Policy, rows: torch.Tensor) -> Any:
        """The answer of the policy, or of another of its kind, to rows [N, width]; `keep` it once the lanes go on."""
        return policy(seen(rows), self.state) if self.width else policy(seen(rows))

    def keep(self, out: Any) -> None:
        """Go on from an answer."""
        if self.width:
            self.state = out.state

    def watch(self, policy: Any, rows: torch.Tensor) -> None:
        """Go on from rows [N, width] that were not answered."""
        if self.width:
            self.state = policy.advance(rows, self.state)

    def forget(self, over: npt.NDArray[np.bool_]) -> None:
        """Begin again in the lanes marked in over [N]."""
        if self.width and over.any():
            here = torch.from_numpy(np.flatnonzero(over)).to(self.state.device)
            self.state = self.state.index_copy(0, here, self._fresh(len(here)))

    def rows(self) -> npt.NDArray[np.float32]:
        """The states [N, S]: a copy."""
        found: npt.NDArray[np.float32] = self.state.cpu().numpy().copy()
        return found

    def load(self, rows: npt.NDArray[np.float32]) -> None:
        """Continue from `rows`. Raises UserError where they are of another policy or of other lanes."""
        if rows.shape != tuple(self.state.shape):
            raise UserError(f"saved hidden states are {rows.shape}: expected (lanes, columns) = {tuple(self.state.shape)}")
        self.state = torch.from_numpy(rows.copy()).to(self.state.device)
