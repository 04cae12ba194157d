"""Gymnasium spaces of the tables that name a role's columns, and masks in the form that these spaces sample with."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

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
