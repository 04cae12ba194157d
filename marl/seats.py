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
        self._block: npt.NDArray[Any] = action[group.lo : group.hi, : group.action_width]
        self._target: npt.NDArray[Any] | None = self._block[:, 0] if self.form == "discrete" else self._block
        self._shape = self._target.shape

    def keep(self, alive: B1) -> None:
        """Leave only the agents for which alive [A] holds."""
        kept = [(n, r) for n, r in zip(self.names, self.rows) if alive[r]]
        self.names, self.rows = [n for n, _ in kept], [r for _, r in kept]
        self._target, self._shape = None, (len(kept), *self._shape[1:])

    def read(self, actions: Mapping[str, Any]) -> bool:
        """Write the agents' actions into their rows; False where one is missing or outside its space."""
        if not self.names:
            return True
        try:
            if self.form == "named":
                given = np.array([_by_name(actions[n], self.group.action) for n in self.names])
            else:
                given = np.array(list(map(actions.__getitem__, self.names)))
        except (KeyError, IndexError, TypeError, ValueError):
            return False
        if given.shape != self._shape or given.dtype.kind not in NUMBERS:
            return False
        if given.dtype.itemsize not in (4, 8):  # truth values and half floats, which numba does not compare
            given = given.astype(np.float64)
        if not _inside(given, self._low, self._high):
            return False
        if self.form != "box" and given.dtype.kind == "f" and not self._are_whole(given):
            return False
        if self._target is not None:
            self._target[...] = given
        else:
            self._block[[r - self.group.lo for r in self.rows]] = given.reshape(len(self.rows), -1)
        return True

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
            row = _as_array(given)
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
        if self._low[u] <= number <= self._high[u] and not (self._choices[u] and number != np.floor(number)):
            return None
        unit = "" if isinstance(column, Discrete) or not column.unit else f" {column.unit}"
        return f"action of {agent}, column {name!r} = {float(number):g}{unit}: legal range is {legal}"


def _by_name(action: Mapping[str, Any], columns: Mapping[str, Any]) -> list[Any]:
    """The values of a Dict action in table order, as plain numbers where they are arrays of one."""
    if len(action) != len(columns):
        raise KeyError("columns")
    return [value.item() if hasattr(value := action[name], "item") else value for name in columns]


def _as_array(given: Any) -> npt.NDArray[Any]:
    """The action as an array; of no numbers where rows differ in length."""
    try:
        return np.asarray(given)
    except ValueError:
        return np.array(None)
