"""Action masks in foreign environments, whatever they are called: found by name, and read only where no other reading is possible.

PettingZoo calls a mask `action_mask`; RLlib's, SMAC's and others' environments say `avail_actions`, `available_actions`,
`action_masks` or `mask`, in the observation or in the infos. One that is not seen would be learned around, or become a part of
the observation, without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

STANDARD = "action_mask"
"""PettingZoo's name, which counts before all others."""

SURE, LISTED, PERHAPS, NONE = "sure", "listed", "perhaps", ""
"""What a name tells: a mask; the legal choices, as a mask or by their numbers; a mask if it looks like one; nothing of the kind."""

ACTIONS = {"action", "actions", "move", "moves", "choice", "choices"}
LEGAL = {"legal", "valid", "allowed", "possible", "feasible"}


@lru_cache(maxsize=4096)
def kind(name: Any) -> str:
    """What the name of an entry tells of it: SURE, LISTED, PERHAPS or NONE."""
    words = set(re.sub(r"([a-z])([A-Z])", r"\1_\2", str(name)).lower().replace("-", "_").split("_"))
    masks, actions = bool(words & {"mask", "masks"}), bool(words & ACTIONS)
    if words & {"invalid", "illegal", "forbidden"}:
        return LISTED if masks or actions else NONE  # which way round it is cannot be told
    if actions and (masks or words & {"avail", "available"}):
        return SURE
    if actions and words & LEGAL:
        return LISTED
    return PERHAPS if words <= {"mask", "masks", "legal", "valid"} and masks else NONE


def best(names: Iterable[Any]) -> Any:
    """The name among these that most surely is a mask's, None where there is none."""
    found = [name for name in names if kind(name)]
    order = {SURE: 1, LISTED: 2, PERHAPS: 3}
    return min(found, key=lambda name: 0 if name == STANDARD else order[kind(name)], default=None)


def binary(given: Any, choices: int) -> bool:
    """Whether this can only be a mask of so many choices: as many zeros and ones, not the numbers of two choices."""
    try:
        row = np.asarray(given)
    except ValueError:
        return False
    if row.size != choices or row.dtype.kind not in "fiub" or not np.isin(row, (0, 1)).all():
        return False
    return bool(row.dtype.kind == "b" or not (np.diff(row.reshape(-1).astype(np.int64)) > 0).all())
