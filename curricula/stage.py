"""A stage of a curriculum: what the game is there, and which evaluations lead on or back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from marl.errors import UserError

MEASURES = ("score", "return")


@dataclass(frozen=True)
class Stage:
    """`params` are the game's parameters in this stage, by name.

    Thresholds are on the mean of the last `window` evaluations made in the stage, of their `on`: the score (1 is the
    reference) or the return (the game's units). A mean of at least `promote` leads to the next stage, one below
    `demote` back to the one before; None: never. `demote` lies below `promote`, so that no mean leads both ways. A
    stage lasts at least `minimum_steps` environment steps.

    `reference` and `naive` are the baselines that score 1 and 0 here, and `episodes` how many evaluations take at least, so that
    five standard errors lie between the two; None: as the game and the run say.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    promote: float | None = None
    demote: float | None = None
    on: str = "score"
    window: int = 3
    minimum_steps: int = 0
    reference: str | None = None
    naive: str | None = None
    episodes: int | None = None

    def __post_init__(self) -> None:
        where = f"stage {self.name!r}"
        if not isinstance(self.name, str) or not self.name:
            raise UserError(f"{where}: a name is expected")
        if self.on not in MEASURES:
            raise UserError(f"{where}: on = {self.on!r}, legal are {', '.join(MEASURES)}")
        for name, low in (("window", 1), ("minimum_steps", 0), ("episodes", 2)):
            value = getattr(self, name)
            if value is None and name == "episodes":
                continue
            if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
                raise UserError(f"{where}: {name} = {value!r}, legal are whole numbers from {low}")
        for name in ("promote", "demote"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value)):
                raise UserError(f"{where}: {name} = {value!r} ({self.on}), a finite number or None is expected")
        if self.promote is not None and self.demote is not None and self.demote >= self.promote:
            raise UserError(f"{where}: demote = {self.demote} ({self.on}) must be below promote = {self.promote}")
        object.__setattr__(self, "params", dict(self.params))

    def move(self, mean: float) -> int:
        """+1 to the next stage, -1 to the one before, 0 to stay, at this mean of a full window."""
        if self.promote is not None and mean >= self.promote:
            return 1
        return -1 if self.demote is not None and mean < self.demote else 0
