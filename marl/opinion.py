"""What a policy would do and how sure it is of it, in terms that policies of different algorithms share.

A policy that knows more than its action has `opinion(rows, out, temperature) -> Opinion`, with `out` its answer to the rows; of any
other only the action is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tianshou.algorithm.algorithm_base import Policy
from torch import Tensor

from marl.errors import UserError
from marl.game import F8, Column
from marl.team import seen


@dataclass(frozen=True)
class Opinion:
    """Of one policy on N rows.

    action [N, U]: its mode, in the units of the action table. variance [N, C]: of the continuous columns, in squared shares of
    a column's range on its scale. chances: the probabilities [N, k] of each Discrete column's choices. None where the policy
    does not say: it then stands for its action alone.
    """

    action: F8
    variance: F8 | None = None
    chances: tuple[F8, ...] | None = None


def opinion_of(policy: Policy, rows: Tensor, temperature: float, state: Tensor | None = None) -> tuple[Opinion, Tensor | None]:
    """A policy's opinion on rows [N, width], and what it remembers then, where it remembered `state` [N, S] before (`marl.recall`).

    `temperature`, in units of values, is that of a softmax over values, where it has values. Raises UserError where a policy
    answers to other rows than it was asked about.
    """
    own: Any = policy
    device = next(policy.parameters(), rows).device
    here = rows.to(device)
    with torch.no_grad():
        out = policy(seen(here)) if state is None else policy(seen(here), state.to(device))
        if hasattr(policy, "opinion"):
            found: Opinion = own.opinion(here, out, temperature)
        else:
            found = Opinion(np.asarray(policy.map_action(out.act), np.float64))
    if found.action.ndim != 2 or len(found.action) != len(rows):
        raise UserError(f"opinion of {type(policy).__name__} has actions of shape {found.action.shape}: expected [{len(rows)}, columns]")
    return found, None if state is None else out.state


def on_scale(column: Column, values: F8) -> F8:
    """Values in units as the column's scale spreads them: as they are, or their logarithms."""
    return np.log(values) if column.scale == "log" else values


def in_units(column: Column, values: F8) -> F8:
    """The inverse of `on_scale`, inside the column's range."""
    return np.clip(np.exp(values) if column.scale == "log" else values, column.low, column.high)


def share(column: Column, values: F8) -> F8:
    """Values in units as shares of the column's range on its scale."""
    low, high = (on_scale(column, np.array(edge, np.float64)) for edge in (column.low, column.high))
    return (on_scale(column, values) - low) / (high - low)
