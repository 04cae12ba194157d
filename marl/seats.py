"""The agents of one group that act in a PettingZoo view: how their actions are read, and what is wrong with one that is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from marl import spaces
from marl.copies import Group
from marl.game import B1, Discrete

NUMBERS = "fiub"
"""Kinds of NumPy arrays that count as numbers."""
ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""Of a column's largest bound: by so much a policy that is squashed into the column in float32 may miss its ends."""


@njit(cache=True)
def _inside(given: Any, low: Any, high: Any) -> bool:
    """Whether each row [N, U] (or number [N] of a single column) lies in [low, high] [U]; NaN does not. NumPy takes ten times longer."""
    for row in given.reshape(-1, len(low)):
        for u in range(len(low)):
            if not low[u] <= row[u] <= high[u]:
                return False
    return True


class Seats:
    """`names` and `rows` of the group's agents that still act. Actions are written into action [A, U] of the one copy."""

    def __init__(self, group: Group, agents: tuple[str, ...], action: npt.NDArray[Any], flatten: bool) -> None:
        self.group, self.form = group, spaces.form(group.action, flatten)
        self.names = list(agents[group.lo : group.hi])
        self.rows = list(range(group.lo, group.hi))
        self.low, self.high = spaces.narrow(group.action)
        largest = np.finfo(np.float32).max
        self._low, self._high = np.maximum(self.low, -largest), np.minimum(self.high, largest)
        choices = np.array([isinstance(c, Discrete) for c in group.action.values()])
        self._choices = choices & (self.form != "box")
        ends = np.stack([self.low, self.high]).astype(np.float64)
        slack = np.where(self._choices, 0.0, ROUNDING * np.abs(np.where(np.isfinite(ends), ends, 0.0)).max(0))
        self._near = self._low - slack, self._high + slack
        self._block: npt.NDArray[Any] = action[group.lo : group.hi, : group.action_width]
        self._target: npt.NDArray[Any] | None = self._block[:, 0] if self.form == "discrete" else self._block
        self._shape = self._target.shape

    def keep(self, alive: B1) -> None:
        """Leave only the agents for which alive [A] holds."""
        kept = [(n, r) for n, r in zip(self.names, self.rows) if alive[r]]
        self.names, self.rows = [n for n, _ in kept], [r for _, r in kept]
        self._target, self._shape = None, (len(kept), *self._shape[1:])

    def read(self, actions: Mapping[str, Any]) -> bool:
        """Write the agents' actions into their rows; False where one is missing or outside its space.

        Shapes may have axes of one too many or too few; what rounding put beside a bound is taken as the bound.
        """
        if not self.names:
            return True
        try:
            given = self._gathered(actions)
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError):
            return False
        if given.shape != self._shape or given.dtype.kind not in NUMBERS:
            return False
        if given.dtype.itemsize not in (4, 8):  # truth values and half floats, which numba does not compare
            given = given.astype(np.float64)
        if not _inside(given, self._low, self._high):
            if not _inside(given, *self._near):
                return False
            given = np.clip(given.reshape(len(given), -1), self._low, self._high).reshape(given.shape)
        if self.form != "box" and given.dtype.kind == "f" and not self._are_whole(given):
            return False
        if self._target is not None:
            self._target[...] = given
        else:
            self._block[[r - self.group.lo for r in self.rows]] = given.reshape(len(self.rows), -1)
        return True

    def _gathered(self, actions: Mapping[str, Any]) -> npt.NDArray[Any]:
        """The actions as one array of `_shape`, where they are as many numbers in a row."""
        if self.form == "named":
            return np.array([_by_name(actions[n], self.group.action) for n in self.names])
        rows = list(map(actions.__getitem__, self.names))
        if len({np.shape(row) for row in rows}) == 1:
            given = np.array(rows)
            if given.shape == self._shape:
                return given
        return np.array([_straight(np.asarray(row), self._shape[1:]) for row in rows])

    def _are_whole(self, given: npt.NDArray[Any]) -> bool:
        chosen = given.reshape(len(given), -1)[:, self._choices]
        return bool((chosen == np.floor(chosen)).all())

    def fault(self, agent: str, given: Any) -> str | None:
        """What is wrong with one agent's action, None where nothing is."""
        names = list(self.group.action)
        if self.form == "named":
            if not isinstance(given, Mapping):
                return f"action of {agent} = {given!r}: a dict is expected, with the columns {', '.join(names)}"
            wrong = sorted(set(given) ^ set(names))
            if wrong:
                fault = "missing" if wrong[0] in names else "unknown"
                return f"action of {agent}, column {wrong[0]!r}: {fault}, the columns are {', '.join(names)}"
            values = [np.asarray(given[n]) for n in names]
        else:
            row = _straight(_as_array(given), self._shape[1:])
            if row.shape != self._shape[1:] or row.dtype.kind not in NUMBERS:
                what = f"shape {row.shape}" if row.dtype.kind in NUMBERS else "no numbers"
                return f"action of {agent} = {given!r} has {what}: expected are numbers of shape {self._shape[1:]} for {', '.join(names)}"
            values = list(row.reshape(-1))
        return next((text for u, v in enumerate(values) if (text := self._column_fault(agent, u, np.asarray(v)))), None)

    def _column_fault(self, agent: str, u: int, value: npt.NDArray[Any]) -> str | None:
        name, column = list(self.group.action.items())[u]
        legal = f"whole numbers from 0 to {column.high:g}" if self._choices[u] else f"[{self.low[u]:g}, {self.high[u]:g}]"
        if value.size != 1 or value.dtype.kind not in NUMBERS:
            return f"action of {agent}, column {name!r} = {value.tolist()!r}: one number is expected, legal range is {legal}"
        number = value.reshape(-1)[0]
        if self._near[0][u] <= number <= self._near[1][u] and not (self._choices[u] and number != np.floor(number)):
            return None
        unit = "" if isinstance(column, Discrete) or not column.unit else f" {column.unit}"
        short = f"{float(number):g}"
        seen = f"{float(number):.9g}" if self._low[u] <= float(short) <= self._high[u] else short
        return f"action of {agent}, column {name!r} = {seen}{unit}: legal range is {legal}"


def _by_name(action: Mapping[str, Any], columns: Mapping[str, Any]) -> list[Any]:
    """The values of a Dict action in table order, as plain numbers where they are arrays or lists of one."""
    if len(action) != len(columns):
        raise KeyError("columns")
    return [value if isinstance(value := action[name], float | int) else np.asarray(value).item() for name in columns]


def _straight(row: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The action in this shape where it differs by axes of one; else as it is."""
    alike = [n for n in row.shape if n > 1] == [n for n in shape if n > 1]
    return row.reshape(shape) if alike and row.size else row


def _as_array(given: Any) -> npt.NDArray[Any]:
    """The action as an array; of no numbers where rows differ in length."""
    try:
        return np.asarray(given)
    except ValueError:
        return np.array(None)
