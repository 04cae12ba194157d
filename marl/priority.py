"""Prioritised replay: rows are drawn in proportion to how wrong their last value was (Schaul, Quan, Antonoglou and Silver 2016).

P(i) = p_i / sum_k p_k with p_i = (|delta_i| + EPSILON)^alpha, delta_i the row's last error; a row not yet learned from has the
largest |delta| + EPSILON seen so far, one of an agent that did not act has p = 0. A draw of N rows takes one from each of N
equal shares of the sum. Their errors are weighed by w_i = (n P(i))^-beta over the largest w in the draw, for n rows in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from marl.joint import TeamBuffer
from marl.replay import Array, LaneBuffer

EPSILON = 1e-6
"""What is added to an error, so that no row that was once predicted well is never drawn again."""


class SumTree:
    """`size` numbers, none negative, and the sums of their halves, quarters, ... : node k is the sum of nodes 2k and 2k + 1.

    Every node is computed from the two below it, never adjusted: the tree is a function of its leaves, whatever the order
    in which they were set.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._first = 1 << max(size - 1, 1).bit_length()
        self._nodes = np.zeros(2 * self._first)

    @property
    def leaves(self) -> npt.NDArray[np.float64]:
        """The numbers, [size]: a view."""
        return self._nodes[self._first : self._first + self.size]

    @property
    def total(self) -> float:
        return float(self._nodes[1])

    def __setitem__(self, index: Array, value: Any) -> None:
        """Set the leaves `index`; the last value counts where one is named twice."""
        node = np.asarray(index) + self._first
        self._nodes[node] = value
        while node[0] > 1:  # all leaves are at one depth
            node = node >> 1
            self._nodes[node] = self._nodes[2 * node] + self._nodes[2 * node + 1]

    def rebuild(self) -> None:
        """All sums anew, after `leaves` was written to."""
        end = self._first
        while end > 1:
            half = end >> 1
            self._nodes[half:end] = self._nodes[end : 2 * end : 2] + self._nodes[end + 1 : 2 * end : 2]
            end = half

    def find(self, mass: npt.NDArray[np.float64]) -> Array:
        """The leaf, for each of mass [N] in [0, total), in which the sum of all leaves up to it first exceeds the mass; never one of 0."""
        node, mass = np.ones(len(mass), np.intp), mass.copy()
        while node[0] < self._first:
            left = 2 * node
            below = self._nodes[left]
            right = (mass >= below) & (self._nodes[left + 1] > 0)  # rounding may leave a mass beyond the last leaf
            mass -= np.where(right, below, 0.0)
            node = left + right
        return node - self._first


class Priorities:
    """Priorities of `rows` rows under the exponent `alpha`."""

    def __init__(self, rows: int, alpha: float) -> None:
        self.alpha, self._tree = alpha, SumTree(rows)
        self.forget()

    def forget(self) -> None:
        """No rows."""
        self._largest = 1.0
        self._tree.leaves[:] = 0.0
        self._tree.rebuild()

    def begin(self, index: Array, acted: Array | None) -> None:
        """Rows that were just written; of those whose agents did not act (`acted`, None if all did) none is drawn."""
        value = self._largest**self.alpha
        self._tree[index] = value if acted is None else np.where(acted, value, 0.0)

    def draw(self, count: int, generator: np.random.RandomState) -> Array:
        """`count` rows [N]."""
        if not self._tree.total:
            raise ValueError("no row to sample: none of an agent that acted is held")
        shares = (np.arange(count) + generator.random_sample(count)) / count
        return self._tree.find(shares * self._tree.total)

    def weights(self, index: Array, beta: float) -> npt.NDArray[np.float32]:
        """w of rows that were drawn, [N]: n and the sum cancel against the largest w."""
        p = self._tree.leaves[index]
        return ((p / p.min()) ** -beta).astype(np.float32)

    def update(self, index: Array, error: Any) -> None:
        """Errors [N] of rows that were learned from: an array, or a tensor."""
        size = np.abs(np.asarray(error.detach().cpu() if hasattr(error, "detach") else error, np.float64)) + EPSILON
        self._largest = max(self._largest, float(size.max()))
        self._tree[index] = size**self.alpha

    def state_dict(self) -> dict[str, Any]:
        """The leaves and the largest error."""
        return {"leaves": self._tree.leaves.copy(), "largest": self._largest}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self._tree.leaves[:] = saved["leaves"]
        self._tree.rebuild()
        self._largest = saved["largest"]


class _Prioritised(LaneBuffer):
    """Put before a ring of rows: their priorities, `alpha` their exponent."""

    def __init__(self, agents: int, copies: int, rows: int, *shape: int, alpha: float, **how: Any) -> None:
        self.priorities = Priorities(self._lines(agents, copies) * rows, alpha)
        super().__init__(agents, copies, rows, *shape, **how)

    def _lines(self, agents: int, copies: int) -> int:
        """Rings that are written side by side."""
        return agents * copies

    def _acted(self, living: Array) -> Array:
        """living [B, n] by ring."""
        return living.T.ravel()

    def reset(self, keep_statistics: bool = False) -> None:
        """Forget all rows."""
        super().reset(keep_statistics)
        self.priorities.forget()

    def write(self, values: Mapping[str, Array], ended: Array | None, living: Array | None) -> None:
        """As its parent's; new rows have the largest priority."""
        index = np.arange(self._lines(self.agents, self.copies)) * self.rows + self._at
        super().write(values, ended, living)
        self.priorities.begin(index, None if living is None else self._acted(living))

    def weights(self, index: Array, beta: float) -> npt.NDArray[np.float32]:
        """By how much the errors of drawn rows count, [N] in (0, 1]."""
        return self.priorities.weights(index, beta)

    def update_weight(self, index: Array, error: Any) -> None:
        """Tianshou's name for what an update ends with: the errors [N] of the rows drawn for it."""
        self.priorities.update(index, error)

    def state_dict(self) -> dict[str, Any]:
        """As its parent's, with the priorities."""
        return super().state_dict() | {"priorities": self.priorities.state_dict()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        super().load_state_dict(saved)
        self.priorities.load_state_dict(saved["priorities"])


class PrioritisedBuffer(_Prioritised):
    """A LaneBuffer whose rows are drawn by priority."""

    def sample_indices(self, batch_size: int | None) -> npt.NDArray[np.intp]:
        """Rows by priority; all rows in order for 0, or in random order for None."""
        if not batch_size:
            return super().sample_indices(batch_size)
        return self.priorities.draw(batch_size, self._random_state)


class PrioritisedTeamBuffer(_Prioritised, TeamBuffer):
    """A TeamBuffer whose team rows are drawn by priority."""

    def _lines(self, agents: int, copies: int) -> int:
        return copies

    def _acted(self, living: Array) -> Array:
        return np.asarray(living.any(1))

    def draw_rows(self, count: int) -> Array:
        """Team rows [N] by priority."""
        return self.priorities.draw(count, self._random_state)
