"""Window: the rows that the n-step targets of a draw read, as the buffer that Tianshou's estimator asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from marl.replay import LaneBuffer

Array = npt.NDArray[Any]


class Window:
    """Row k * N + j is what came k ticks after row j of the N drawn, or the last row before an end or the newest, which stay.

    The estimator copies flags of the whole buffer that it is given; this one holds N * `steps` rows. `rew` may be replaced.
    """

    def __init__(self, buffer: LaneBuffer, index: Array, steps: int) -> None:
        rows = [index]
        for _ in range(steps - 1):
            rows.append(buffer.next(rows[-1]))
        self.buffer, self._drawn = buffer, len(index)
        self.rows = np.concatenate(rows)
        self.rew, (self.terminated, self.done) = buffer.rew[self.rows], buffer.ends(self.rows)
        self.obs_next: Any = _Following(self)

    @property
    def index(self) -> Array:
        """The drawn rows in here, [N]."""
        return np.arange(self._drawn)

    def next(self, index: Array) -> Array:
        """A tick on; asked `steps` - 1 times."""
        return index + self._drawn

    def unfinished_index(self) -> Array:
        """Rows that are the newest of their lane."""
        newest = self.rows % self.buffer.rows == (self.buffer._at - 1) % self.buffer.rows
        return np.flatnonzero(newest & ~self.done)


class _Following:
    """The observations that rows of a window led to, gathered when asked for."""

    def __init__(self, window: Window) -> None:
        self._window = window

    def __getitem__(self, index: Array) -> Array:
        found: Array = self._window.buffer.obs_next[self._window.rows[index]]
        return found
