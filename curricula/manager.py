"""A curriculum: a sequence of stages, walked by what evaluations say, and resumed exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from statistics import mean
from typing import Any

from curricula.stage import Stage
from marl.errors import UserError
from marl.game import Game

Check = Callable[[Mapping[str, Any]], Any]
"""A stage's parameters -> what learners see of the game, which must be equal in all stages. Raises UserError for bad ones."""

STATE = ("stages", "index", "since", "step", "values", "history")


def same_columns(game: Game, given: Mapping[str, Any] | None = None) -> Check:
    """The check of stages of `game`: parameters are legal beside those `given` for the whole run, and roles keep their columns."""

    def seen(params: Mapping[str, Any]) -> Any:
        made = game.params_of(None, {**(given or {}), **params})
        return [(role.name, list(role.observation), list(role.action.items())) for role in game.at(made).roles(made)]

    return seen


class Curriculum:
    """Where a run stands in its stages. `observe` is told every evaluation, in order; nothing else moves it.

    After a change the window is empty: a stage is judged by evaluations of its own. `check` (see `same_columns`) is
    called with the parameters of every stage at construction.
    """

    def __init__(self, stages: Sequence[Stage], check: Check | None = None) -> None:
        self.stages = tuple(stages)
        _check_order(self.stages)
        if check is not None:
            _check_params(self.stages, check)
        self.index = 0
        self.history: list[tuple[int, str, str]] = []
        """(environment step, stage left, stage entered) of every change."""
        self._since, self._step = 0, 0
        self._values: list[float] = []

    @property
    def stage(self) -> Stage:
        """The present stage."""
        return self.stages[self.index]

    @property
    def on(self) -> str:
        """What the present stage is judged by: "score" or "return"."""
        return self.stage.on

    @property
    def reference(self) -> str | None:
        """The baseline that scores 1 in the present stage; None: the game's."""
        return self.stage.reference

    @property
    def naive(self) -> str | None:
        """The baseline that scores 0 in the present stage; None: the game's."""
        return self.stage.naive

    @property
    def episodes(self) -> int:
        """Least number of episodes of an evaluation in the present stage."""
        return self.stage.episodes or 0

    @property
    def name(self) -> str:
        """Name of the present stage."""
        return self.stage.name

    @property
    def params(self) -> Mapping[str, Any]:
        """The game's parameters in the present stage, by name."""
        return self.stage.params

    def observe(self, step: int, value: float | None) -> bool:
        """An evaluation's `stage.on` at an environment step; True where the stage changed. A refused score (None) is an error."""
        where = f"curriculum stage {self.stage.name!r}"
        if not isinstance(step, Integral) or isinstance(step, bool) or step < self._step:
            raise UserError(f"{where}: step = {step!r}, legal are whole numbers from {self._step}, the evaluation before")
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            raise UserError(f"{where}: {self.stage.on} = {value!r} at step {step}, a finite number is expected")
        self._step = int(step)
        self._values = [*self._values, float(value)][-self.stage.window :]
        if len(self._values) < self.stage.window or step - self._since < self.stage.minimum_steps:
            return False
        move = self.stage.move(mean(self._values))  # rounded once: that of equal values is that value, and reaches its threshold
        if move:
            left = self.stage.name
            self.index += move
            self.history.append((self._step, left, self.stage.name))
            self._since, self._values = self._step, []
        return move != 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        names, history = [s.name for s in self.stages], [list(change) for change in self.history]
        return dict(zip(STATE, (names, self.index, self._since, self._step, list(self._values), history), strict=True))

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken; of other stages it is refused."""
        missing = [name for name in STATE if name not in saved]
        if missing:
            raise UserError(f"saved curriculum lacks {missing[0]!r}: {', '.join(STATE)} are expected")
        names = [s.name for s in self.stages]
        if list(saved["stages"]) != names:
            raise UserError(f"saved curriculum has stages {', '.join(saved['stages'])}: expected {', '.join(names)}")
        if saved["index"] not in range(len(names)):
            raise UserError(f"saved curriculum is at stage {saved['index']!r}: legal range is [0, {len(names) - 1}]")
        self.index, self._since, self._step = saved["index"], saved["since"], saved["step"]
        self._values = list(saved["values"])
        self.history = [(step, left, entered) for step, left, entered in saved["history"]]


def _check_order(stages: tuple[Stage, ...]) -> None:
    names = [s.name for s in stages]
    if not names or len(set(names)) < len(names):
        raise UserError(f"stages of a curriculum = {', '.join(names) or 'none'}: at least one is expected, each under its own name")
    for stage in stages[:-1]:
        if stage.promote is None:
            raise UserError(
                f"stage {stage.name!r}: promote = None, a threshold is expected in front of stage {names[names.index(stage.name) + 1]!r}"
            )
    if stages[-1].promote is not None:
        raise UserError(f"stage {names[-1]!r}: promote = {stages[-1].promote}, None is expected in the last stage")
    if stages[0].demote is not None:
        raise UserError(f"stage {names[0]!r}: demote = {stages[0].demote}, None is expected in the first stage")


def _check_params(stages: tuple[Stage, ...], check: Check) -> None:
    """Call `check` with each stage's parameters and compare what it returns. Raises UserError with the stage's name."""
    first: Any = None
    for i, stage in enumerate(stages):
        try:
            seen = check(stage.params)
        except UserError as error:
            raise UserError(f"stage {stage.name!r}: {error}") from error
        first = seen if i == 0 else first
        if seen != first:
            raise UserError(f"stage {stage.name!r}: learners see {seen}, in stage {stages[0].name!r} {first}; the same is expected")
