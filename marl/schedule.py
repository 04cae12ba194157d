"""How long a run is, what happens when, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from marl.copies import Copies
from marl.errors import UserError

MakeCopies = Callable[[Mapping[str, Any], int], Copies]
"""(parameters that replace the run's own, number of copies) -> copies."""

COMPLETE = "complete"
"""Why a run ended that reached its total."""


class Curriculum(Protocol):
    """What a run asks of a curriculum (`curricula.manager`)."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Parameters of the present stage."""

    @property
    def on(self) -> str:
        """What the present stage is judged by: "score" or "return"."""

    @property
    def index(self) -> int:
        """Number of the present stage."""

    @property
    def name(self) -> str:
        """Name of the present stage."""

    @property
    def reference(self) -> str | None:
        """The baseline that scores 1 in the present stage; None: the game's."""

    @property
    def naive(self) -> str | None:
        """The baseline that scores 0 in the present stage; None: the game's."""

    @property
    def episodes(self) -> int:
        """Least number of episodes of an evaluation in the present stage."""

    def observe(self, step: int, value: float) -> bool:
        """Take an evaluation's result; True where the stage changes."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, saved: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Schedule:
    """How long a run is and what happens when, in its `unit`: "steps" (ticks of one copy) or "episodes".

    `total` is rounded up to whole epochs. `patience`: without a better evaluation for so long the run stops; 0: never.
    `keep`: numbered checkpoints beside last.pt and best.pt.
    """

    total: int
    unit: str = "steps"
    evaluation_every: int = 50_000
    evaluation_episodes: int = 32
    checkpoint_every: int = 50_000
    keep: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        if self.unit not in ("steps", "episodes"):
            raise UserError(f"unit = {self.unit!r}: legal are steps, episodes")
        lowest = {"keep": 0, "patience": 0, "evaluation_episodes": 2}
        for name in ("total", "evaluation_every", "evaluation_episodes", "checkpoint_every", "keep", "patience"):
            if getattr(self, name) < lowest.get(name, 1):
                raise UserError(f"{name} = {getattr(self, name)}: legal are whole numbers from {lowest.get(name, 1)}")


@dataclass(frozen=True)
class Progress:
    """What a run tells whoever watches: done of total in the schedule's unit, env steps, and its latest row."""

    done: int
    total: int
    steps: int
    row: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """A finished run: steps taken, its best evaluation after the first update (score where there is one, else return) and when, and
    why it ended. `chosen`: that policy is kept as the run's best, and is what the run learned."""

    steps: int
    best: float
    best_step: int
    ended: str
    chosen: bool
