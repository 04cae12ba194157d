"""Probe: what one agent of a role earns along each of its continuous columns, held at a constant while all else follows the reference.

Whoever explores draws from a column's whole range. Where most of it is a plateau, a cliff or a needle, nothing is learned; where a
constant earns more than the reference, that is no reference. All values meet the same episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from marl.errors import UserError
from marl.evaluate import evaluate
from marl.game import F8, Column, Game
from marl.judge import naive_policies
from marl.team import ScriptedPolicy, parts, scripted

VALUES = 21
"""Values of a column, evenly on its scale, ends included."""
EPISODES = 96
NEAR, LEAST = 0.25, 0.2
"""Values whose return is within NEAR of the gap from the best must cover at least LEAST of the range."""
STILL, MOST = 0.01, 0.5
"""A step to the next value that moves the return by less than STILL of the gap is flat; at most MOST of the steps may be."""
ERRORS = 5.0
"""Standard errors of the paired difference by which no constant may beat the reference."""


@dataclass(frozen=True)
class Scan:
    """A column's values [V], what agent 0 of its role earns at each [V, E], and what it earns by the reference and the naive policy [E]."""

    role: str
    name: str
    column: Column
    values: F8
    returns: F8
    reference: F8
    naive: F8

    @property
    def means(self) -> F8:
        """Mean return at each value, [V]."""
        mean: F8 = self.returns.mean(1)
        return mean

    @property
    def gap(self) -> float:
        """From the naive policy to the best of the column's values and of the reference."""
        return float(max(self.means.max(), self.reference.mean()) - self.naive.mean())

    @property
    def near(self) -> float:
        """Share of the range whose return, interpolated between the values, is within NEAR of the gap from the column's best."""
        fine = np.interp(np.linspace(0.0, len(self.values) - 1.0, 1_000), np.arange(len(self.values)), self.means)
        return float((fine >= self.means.max() - NEAR * abs(self.gap)).mean())

    @property
    def flat(self) -> float:
        """Share of the steps from value to value that move the return by less than STILL of the gap."""
        return float((np.abs(np.diff(self.means)) < STILL * abs(self.gap)).mean())

    @property
    def beaten(self) -> float | None:
        """The constant that beats the reference by most standard errors, if by ERRORS at least."""
        ahead = self.returns - self.reference
        error = ahead.std(1, ddof=1) / ahead.shape[1] ** 0.5
        with np.errstate(divide="ignore", invalid="ignore"):
            by = np.where(ahead.mean(1) > 1e-9 * max(abs(self.gap), 1e-9), ahead.mean(1) / error, 0.0)
        return float(self.values[by.argmax()]) if by.max() >= ERRORS else None

    def faults(self) -> list[str]:
        """What is wrong with the column's range or with the reference, in words; empty where nothing is."""
        found = []
        if self.near < LEAST:
            found.append(f"a needle: {self.near:.0%} of the range is within a quarter of the gap from the best, {LEAST:.0%} is asked")
        if self.flat > MOST:
            found.append(f"a plateau: {self.flat:.0%} of the range is flat, at most {MOST:.0%} is asked")
        if self.beaten is not None:
            found.append(f"no reference: the constant {self.beaten:g} earns more")
        return found


class _Held(ScriptedPolicy):
    """A baseline with one column of its actions held at a value."""

    def __init__(self, own: ScriptedPolicy, column: int, value: float) -> None:
        def held(params: Any, obs: Any, generator: np.random.Generator) -> npt.NDArray[Any]:
            actions = np.array(own._baseline(params, obs, generator), np.float64).reshape(len(obs), -1)
            actions[:, column] = value
            return actions

        super().__init__(held, own._params, own._seed)


def scan(make: Callable[[int], Any], episodes: int = EPISODES, values: int = VALUES, seed: int = 0) -> Iterator[Scan]:
    """Scan every continuous column of every role of a game's copies `make(n)`. Raises UserError where the game has no reference."""
    sample = make(1)
    game: Game = sample.game
    if game.reference is None:
        raise UserError(f"{game.name} has no reference in this setting: nothing to probe its columns at")
    reference = game.reference(sample.params)
    plan = parts(sample, "group", learners=1)
    seats = {name: scripted(sample, part, reference, seed) for name, part in plan.items()}
    for role, view in sample.groups.items():

        def played(policy: ScriptedPolicy, role: str = role, agent: int = view.group.lo) -> F8:
            returns: F8 = evaluate(make, plan, {**seats, role: policy}, episodes, seed).returns[:, agent]
            return returns

        columns = [(u, name, c) for u, (name, c) in enumerate(view.group.action.items()) if isinstance(c, Column)]
        if not columns:
            continue
        best = played(seats[role])
        naive = max((played(scripted(sample, plan[role], name, seed)) for name in naive_policies(game)), key=lambda x: float(x.mean()))
        for u, name, column in columns:
            at = spread(column, values)
            returns = np.array([played(_Held(seats[role], u, value)) for value in at])
            yield Scan(role, name, column, at, returns, best, naive)


def spread(column: Column, n: int) -> F8:
    """n values from a column's low to its high, evenly on its scale."""
    share = np.linspace(0.0, 1.0, n)
    if column.scale == "log":
        values: F8 = column.low * (column.high / column.low) ** share
        return values
    return column.low + (column.high - column.low) * share
