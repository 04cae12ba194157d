"""Gymnasium spaces of the tables that name a role's columns, the tables of foreign spaces, and masks between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from marl import masks
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


def sampling_mask(table: ActionTable, mask: B1) -> Any:
    """The row mask [M] as the action space's `sample(mask=...)` reads it: int8; a tuple for several choices; a dict for mixed columns.

    A flattened space cannot sample with a mask.
    """
    written, parts = form(table), _by_column(table, mask)
    if written == "discrete":
        return next(iter(parts.values()))
    return {name: parts.get(name) for name in table} if written == "named" else tuple(parts.values())


def told_mask(table: ActionTable, mask: B1, flatten: bool = False) -> dict[str, Any]:
    """Entries of an info that hold the row mask [M]: "action_mask" of choices alone, else "action_mask/<column>" of every choice.

    Others that find "action_mask" beside a Dict or a Box take it for something that they know how to use (torchrl).
    """
    if form(table, flatten) in ("discrete", "choices"):
        return {masks.STANDARD: sampling_mask(table, mask)}
    return {f"{masks.STANDARD}/{name}": part for name, part in _by_column(table, mask).items()}


def _by_column(table: ActionTable, mask: B1) -> dict[str, npt.NDArray[np.int8]]:
    """Discrete column -> its part [k] of the row mask [M]."""
    parts, low, row = {}, 0, mask.astype(np.int8)
    for name, column in table.items():
        if isinstance(column, Discrete):
            parts[name] = row[low : low + column.k]
            low += column.k
    return parts


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

        Raises ValueError where the number of entries is another, or one is neither 0 nor 1.
        """
        parts = _mask_parts(self.space, given) if isinstance(given, Mapping | tuple) else [given]
        row = np.concatenate([np.zeros(0), *(np.asarray(part).reshape(-1) for part in parts if part is not None)])
        if len(row) != self.choices:
            raise ValueError(f"{len(row)} entries, its choices are {self.choices}")
        if row.dtype.kind not in "fiub" or not np.isin(row, (0, 1)).all():
            raise ValueError(f"{row.tolist()!r}: a 0 or 1 for each choice is expected")
        legal: B1 = row.astype(np.bool_)
        for own in np.split(legal, np.cumsum([c.k for c in self.table.values() if isinstance(c, Discrete)])[:-1]):
            own |= not own.any()
        return legal

    @property
    def choices(self) -> int:
        """Entries of a mask: the choices of all Discrete columns."""
        return sum(c.k for c in self.table.values() if isinstance(c, Discrete))


def codec(space: spaces.Space[Any], where: str) -> Codec:
    """The table of a foreign action space: Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these."""
    table: dict[str, Column | Discrete] = {}
    for name, part in _parts(space):
        if not isinstance(part, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
            legal = "legal are Box, Discrete, MultiDiscrete, MultiBinary, and a Dict or Tuple of these"
            raise UserError(f"action space of {where} is {_told(space)}: {legal}")
        size = int(np.prod(part.shape))
        for i in range(size):
            table[name or "action" if size == 1 else f"{name or 'action'}_{i}"] = _action_column(part, i, where)
    if not table:
        raise UserError(f"action space of {where} is {_told(space)}: at least one number to choose is expected")
    return Codec(space, table)


def _told(space: Any) -> str:
    """A space in words; what is none (an old gym space, a method that was not called) by its type."""
    return str(space) if isinstance(space, spaces.Space) else f"a {type(space).__module__}.{type(space).__name__}, no gymnasium space"


def _entries(space: spaces.Dict | spaces.Tuple) -> list[tuple[Any, spaces.Space[Any]]]:
    """The entries of a Dict by key, of a Tuple by number."""
    return list(space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces))


def _parts(space: spaces.Space[Any]) -> list[tuple[str, spaces.Space[Any]]]:
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        return [("", space)]
    return [(f"{key}_{name}" if name else str(key), leaf) for key, part in _entries(space) for name, leaf in _parts(part)]


def _action_column(space: spaces.Space[Any], i: int, where: str) -> Column | Discrete:
    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return Discrete(int(space.nvec.reshape(-1)[i]))
    if isinstance(space, spaces.MultiBinary):
        return Discrete(2)
    low, high = float(space.low.reshape(-1)[i]), float(space.high.reshape(-1)[i])
    if not (np.isfinite([low, high]).all() and low < high):
        remedy = "a range with finite ends is expected, as a wrapper that rescales actions gives"
        raise UserError(f"action space of {where} is {space}, column {i} in [{low:g}, {high:g}]: {remedy}")
    return Column(low, high)


def _decode(space: spaces.Space[Any], row: npt.NDArray[np.float64]) -> Any:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        own, low = {}, 0
        for key, part in _entries(space):
            width = sum(int(np.prod(leaf.shape)) for _, leaf in _parts(part))
            own[key] = _decode(part, row[low : low + width])
            low += width
        return own if isinstance(space, spaces.Dict) else tuple(own.values())
    if isinstance(space, spaces.Discrete):
        return space.dtype.type(int(row[0]) + int(space.start))  # what the space's own sample is
    if isinstance(space, spaces.MultiDiscrete):
        return row.astype(space.dtype).reshape(space.shape) + space.start
    if isinstance(space, spaces.Box) and space.dtype.kind in "iu":
        row = np.rint(row)
    return row.astype(space.dtype).reshape(space.shape)


def _mask_parts(space: spaces.Space[Any], given: Any) -> list[Any]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return [leaf for key, part in _entries(space) for leaf in _mask_parts(part, given[key])]
    if isinstance(space, spaces.Box):
        return []
    return list(given) if isinstance(given, tuple) else [given]


@dataclass(frozen=True)
class Eye:
    """A foreign observation space flattened into a table; `see` flattens what it holds.

    Of a Dict with a mask among its entries (`marl.masks`) the observation is the rest, `kept`; `masked_by` is the mask's key.
    """

    space: spaces.Space[Any]
    table: Table
    masked_by: str | None = None
    kept: tuple[str, ...] = ()

    def beside(self, given: Any) -> Any:
        """The action mask beside an observation, None where its space has none."""
        return None if self.masked_by is None else given[self.masked_by]

    def see(self, given: Any) -> npt.NDArray[Any]:
        """The observation as a row [O]. Raises ValueError for what are no numbers, and whatever a space's own flattening raises."""
        own = given
        if self.masked_by is not None:
            own = given[self.kept[0]] if len(self.kept) == 1 else {key: given[key] for key in self.kept}
        row = np.asarray(own).reshape(-1) if isinstance(self.space, spaces.Box) else spaces.flatten(self.space, own)
        if row.dtype.kind not in "fiub":
            raise ValueError("numbers are expected")
        return row


def eye(space: spaces.Space[Any], where: str, choices: int = 0) -> Eye:
    """The table of a foreign observation space: anything that Gymnasium flattens into a Box. `choices`: entries of its agent's mask."""
    own, (masked_by, kept) = space, _mask_entry(space, where, choices)
    if masked_by is not None and isinstance(space, spaces.Dict):
        own = space[kept[0]] if len(kept) == 1 else spaces.Dict({key: space[key] for key in kept})
    flat = spaces.flatten_space(own) if isinstance(own, spaces.Space) and own.is_np_flattenable else None
    if not isinstance(flat, spaces.Box):
        raise UserError(f"observation space of {where} is {_told(space)}: one that flattens into a Box is expected")
    if not flat.shape[0]:
        raise UserError(f"observation space of {where} is {space}: at least one number to see is expected")
    edges = zip(flat.low.reshape(-1).tolist(), flat.high.reshape(-1).tolist())
    table = {f"o{i}": Column(low, high) if low < high else Column(-inf, inf) for i, (low, high) in enumerate(edges)}
    return Eye(own, table, masked_by, kept)


def _mask_entry(space: spaces.Space[Any], where: str, choices: int) -> tuple[str | None, tuple[str, ...]]:
    """(the entry that is the action mask, None where none is; the entries that are the observation). Raises UserError.

    An entry that only may be a mask is one where it is as wide as the choices and of zeros and ones.
    """
    if not isinstance(space, spaces.Dict):
        return None, ()
    entry = masks.best(key for key, part in space.spaces.items() if masks.kind(key) != masks.PERHAPS or _is_mask(part, choices))
    if entry is None:
        inside = [f"{key}.{deep}" for key, part in space.spaces.items() if isinstance(part, spaces.Dict) and (deep := masks.best(part))]
        if inside and masks.kind(inside[0].rpartition(".")[2]) == masks.SURE:
            raise UserError(f"observation of {where} has {inside[0]!r}: an action mask stands in the outermost dict, as {masks.STANDARD!r}")
        return None, tuple(space.spaces)
    if not choices:
        raise UserError(f"observation of {where} has {entry!r}, but its actions are no choices that a mask could forbid: take it out")
    if masks.kind(entry) == masks.LISTED and not _is_mask(space[entry], choices):
        wanted = f"{masks.STANDARD!r} with a 0 or 1 for each of the {choices} choices"
        raise UserError(f"observation of {where} has {entry!r}, which is {space[entry]}: a mask is {wanted}")
    kept = tuple(key for key in space.spaces if key != entry)
    if not kept:
        raise UserError(f"observation of {where} is its mask {entry!r} alone: something to see is expected beside it")
    return entry, kept


def _is_mask(space: spaces.Space[Any], choices: int) -> bool:
    """Whether a space is that of a mask: as many zeros and ones as there are choices."""
    if isinstance(space, spaces.Box):
        return space.shape == (choices,) and bool((space.low == 0).all() and (space.high == 1).all())
    return isinstance(space, spaces.MultiBinary) and space.shape == (choices,)
