"""Stage transitions of journeys, fitted to paths of users: what the rules' push, push_click and fade are in a log."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from marl.errors import UserError
from marl.game import F8, I8

NOTHING, EXPOSED, CLICKED = 0, 1, 2
INTENT, CONVERTED = 3, 4


class Moves(NamedTuple):
    """Rates of the rules, with their standard errors [3]."""

    push: float  # an exposure moves an unaware or aware user on
    push_click: float  # a click moves a user below intent on
    fade: float  # a user falls back a stage in a step without an ad
    error: F8


def fitted_moves(stage: I8, event: I8, after: I8) -> Moves:
    """Maximum likelihood of steps [N]: stage (0 to 4) before, event (0 nothing, 1 exposure, 2 click without a conversion), stage after.

    Steps into `converted` from below are conversions and say nothing of the rates. Raises UserError where a rate has no step to be seen in.
    """
    before, then, what = (np.asarray(x, np.int64) for x in (stage, after, event))
    plain = (then != CONVERTED) | (before == CONVERTED)
    trials = (
        ("push", plain & (what == EXPOSED) & (before < 2), then == before + 1),
        ("push_click", plain & (what == CLICKED) & (before < INTENT), then == before + 1),
        ("fade", plain & (what == NOTHING) & (before > 0), np.where(before == CONVERTED, then == 0, then == before - 1)),
    )
    rates, errors = [], []
    for name, seen, moved in trials:
        count = int(seen.sum())
        if count == 0:
            raise UserError(f"fit of {name}: none of {len(before)} steps is one in which it could be seen")
        rate = float(moved[seen].mean())
        rates.append(rate)
        errors.append(np.sqrt(max(rate * (1 - rate), 1e-12) / count))
    return Moves(rates[0], rates[1], rates[2], np.array(errors))
