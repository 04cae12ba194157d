"""Gymnasium spaces of the tables that name a role's columns, the tables of foreign spaces, and masks between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from marl.errors import UserError
from marl.game import B1, F4, ActionTable, Column, Discrete, Table, bounds


def narrow(table: ActionTable | Table) -> tuple[F4, F4]:
    """(low [N], high [N]) of the columns in float32; a bound beyond float32 is infinite."""
    with np.errstate(over="ignore"):
        low, high = (edge.astype(np.float32) for edge in bounds(table))
    return low, high


def box(*tables: ActionTable | Table) -> spaces.Box:
    """Box of shape (N,) in float32 over all columns of the tables in a row."""
    edges = [narrow(table) for table in tables]
    low, high = (np.concatenate(side) for side in zip(*edges))
    return spaces.Box(low, high, dtype=np.float32)


def form(table: ActionTable, flatten: bool = False) -> str:
    """How an action on these columns is written: "box", "discrete" (one choice), "choices" (several) or "named" (mixed)."""
    if flatten or all(isinstance(c, Column) for c in table.values()):
        return "box"
    if any(isinstance(c, Column) for c in table.values()):
        return "named"
    return "discrete" if len(table) == 1 else "choices"


def action_space(table: ActionTable, flatten: bool = False) -> spaces.Space[Any]:
    """Box (U,) of continuous columns, Discrete of one choice, MultiDiscrete of several, Dict by name of both kinds.

    A Dict sorts its keys, so it is read by name; its continuous entries have shape (1,). `flatten` makes a Box of any table.
    """
    written = form(table, flatten)
    if written == "box":
        return box(table)
    choices = [c.k for c in table.values() if isinstance(c, Discrete)]
    if written == "discrete":
        return spaces.Discrete(choices[0])
    if written == "choices":
        return spaces.MultiDiscrete(choices)
    return spaces.Dict({n: spaces.Discrete(c.k) if isinstance(c, Discrete) else box({n: c}) for n, c in table.items()})


def sampling_mask(table: ActionTable, mask: B1, flatten: bool = False) -> Any:
    """The row mask [M] as the action space's `sample(mask=...)` reads it: int8; a tuple for several choices; a dict for mixed columns.

    A flattened space cannot sample with a mask: there it is the row itself, one entry a choice of each Discrete column.
    """
    written, row = form(table, flatten), mask.astype(np.int8)
    if written in ("box", "discrete"):
        return row
    parts, low = {}, 0
    for name, column in table.items():
        k = column.k if isinstance(column, Discrete) else 0
        parts[name] = row[low : low + k] if k else None
        low += k
    return parts if written == "named" else tuple(parts.values())


@dataclass(frozen=True)
class Codec:
    """A foreign action space as a table of columns; `decode` turns a row in its units into the space's own action."""

    space: spaces.Space[Any]
    table: ActionTable

    def decode(self, row: npt.NDArray[np.float64]) -> Any:
        """The action of a row [U] as the space writes it."""
        return _decode(self.space, row)

    def mask(self, given: Any) -> B1:
        """A mask as the space samples with it, or as one row -> [M], one entry a choice; a column without a legal choice is left free.

        Raises ValueError where the number of entries is another.
        """
        parts = _mask_parts(self.space, given) if isinstance(given, Mapping | tuple) else [given]
        row = np.concatenate([np.asarray(part, np.bool_).reshape(-1) for part in parts])
        choices = [c.k for c in self.table.values() if isinstance(c, Discrete)]
        if len(row) != sum(choices):
            raise ValueError(f"{len(row)} entries, its choices are {sum(choices)}")
        for own in np.split(row, np.cumsum(choices)[:-1]):
            own |= not own.any()
        return row


def codec(space: spaces.Space[Any], where: str) -> Codec:
    """The table of a foreign action space: Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of these."""
    table: dict[str, Column | Discrete] = {}
    for name, part in _parts(space):
        if not isinstance(part, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
            raise UserError(f"action space of {where} is {space}: legal are Box, Discrete, MultiDiscrete, MultiBinary, and a Dict of these")
        size = int(np.prod(part.shape))
        for i in range(size):
            table[name or "action" if size == 1 else f"{name or 'action'}_{i}"] = _action_column(part, i, where)
    return Codec(space, table)


def _parts(space: spaces.Space[Any]) -> list[tuple[str, spaces.Space[Any]]]:
    if not isinstance(space, spaces.Dict):
        return [("", space)]
    return [(f"{key}_{name}" if name else str(key), leaf) for key, part in space.spaces.items() for name, leaf in _parts(part)]


def _action_column(space: spaces.Space[Any], i: int, where: str) -> Column | Discrete:
    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return Discrete(int(space.nvec.reshape(-1)[i]))
    if isinstance(space, spaces.MultiBinary):
        return Discrete(2)
    low, high = float(space.low.reshape(-1)[i]), float(space.high.reshape(-1)[i])
    if not (np.isfinite([low, high]).all() and low < high):
        raise UserError(f"action space of {where} is {space}, column {i} in [{low:g}, {high:g}]: a range with finite ends is expected")
    return Column(low, high)


def _decode(space: spaces.Space[Any], row: npt.NDArray[np.float64]) -> Any:
    if isinstance(space, spaces.Dict):
        own, low = {}, 0
        for key, part in space.spaces.items():
            width = sum(int(np.prod(leaf.shape)) for _, leaf in _parts(part))
            own[key] = _decode(part, row[low : low + width])
            low += width
        return own
    if isinstance(space, spaces.Discrete):
        return int(row[0]) + int(space.start)
    if isinstance(space, spaces.MultiDiscrete):
        return row.astype(space.dtype).reshape(space.shape) + space.start
    if isinstance(space, spaces.Box) and space.dtype.kind in "iu":
        row = np.rint(row)
    return row.astype(space.dtype).reshape(space.shape)


def _mask_parts(space: spaces.Space[Any], given: Any) -> list[Any]:
    if isinstance(space, spaces.Dict):
        return [leaf for key, part in space.spaces.items() for leaf in _mask_parts(part, given[key])]
    if isinstance(space, spaces.Box):
        return []
    return list(given) if isinstance(given, tuple) else [given]


@dataclass(frozen=True)
class Eye:
    """A foreign observation space flattened into a table; `see` flattens what it holds.

    A Dict with "observation" and "action_mask" is the former, the latter beside it.
    """

    space: spaces.Space[Any]
    table: Table
    masked: bool

    def mask(self, given: Any, info: Mapping[str, Any]) -> Any:
        """The action mask beside an observation or in its info, None where there is none."""
        return given["action_mask"] if self.masked else info.get("action_mask")

    def see(self, given: Any) -> npt.NDArray[Any]:
        """The observation as a row [O]."""
        own = given["observation"] if self.masked else given
        return np.asarray(own).reshape(-1) if isinstance(self.space, spaces.Box) else spaces.flatten(self.space, own)


def eye(space: spaces.Space[Any], where: str) -> Eye:
    """The table of a foreign observation space: anything that Gymnasium flattens into a Box."""
    masked = isinstance(space, spaces.Dict) and set(space.spaces) == {"observation", "action_mask"}
    own = space["observation"] if masked else space
    flat = spaces.flatten_space(own) if own.is_np_flattenable else None
    if not isinstance(flat, spaces.Box):
        raise UserError(f"observation space of {where} is {space}: one that flattens into a Box is expected")
    edges = zip(flat.low.reshape(-1).tolist(), flat.high.reshape(-1).tolist())
    table = {f"o{i}": Column(low, high) if low < high else Column(-inf, inf) for i, (low, high) in enumerate(edges)}
    return Eye(own, table, masked)
