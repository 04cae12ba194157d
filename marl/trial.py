"""What the contract checks run on: a game at some parameters, actions to try on it, comparison and digest of what it shows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from marl.copies import SHOWN, Copies, action_bounds
from marl.errors import UserError
from marl.game import Game
from marl.parallel import ParallelGame
from marl.params import Params
from marl.vector import VectorGame

Array = npt.NDArray[Any]

SEED = 20
"""Seed of the trials."""

FAR = 1e6
"""How far beyond its bounds a hostile action lies, and where an action without bounds is drawn."""


@dataclass(frozen=True)
class Trial:
    """A game at some parameters; `make(n_envs, threads)` makes copies and `view()` a PettingZoo view of it."""

    game: Game
    params: Params
    make: Callable[[int, int], VectorGame]
    view: Callable[[], ParallelGame]

    @classmethod
    def of(cls, game: Game, params: Params) -> Trial:
        """The trial of a game as VectorGame and ParallelGame show it."""
        game = game.at(params)
        return cls(game, params, lambda n, threads: VectorGame(game, n, params, threads=threads), lambda: ParallelGame(game, params=params))

    def start(self, n_envs: int, seed: int = SEED, first: int = 0, threads: int = 1) -> VectorGame:
        """Copies, reset."""
        copies = self.make(n_envs, threads)
        copies.reset(seed, first)
        return copies

    def refuse(self, text: str) -> UserError:
        """The error that names the game."""
        return UserError(f"{self.game.name}: {text}")


def drawn(copies: Copies, generator: np.random.Generator, hostile: bool = False) -> Array:
    """Actions [B, A, U]: uniform over the columns, or hostile: at the bounds, far outside, and between choices."""
    low, high, whole = action_bounds([view.group for view in copies.groups.values()], copies.action.shape[2])
    low, high = np.maximum(low, -FAR), np.minimum(high, FAR)
    shape = copies.action.shape
    if not hostile:
        chosen = low + (high - low + whole * (1.0 - 1e-9)) * generator.random(shape)
        return np.where(whole, np.floor(chosen), chosen)
    kinds = np.broadcast_arrays(low, high, low - FAR, high + FAR, low + 0.5 * (high - low), high - 0.5, np.zeros(low.shape))
    return np.choose(generator.integers(len(kinds), size=shape), [np.broadcast_to(k, shape) for k in kinds])


def played(copies: Copies, steps: int, hostile: bool = False, seed: int = SEED) -> Iterator[Array]:
    """Step the copies `steps` times with drawn actions; yields who was alive before, [B, A], after each."""
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        before = copies.alive.copy()
        copies.step(drawn(copies, generator, hostile))
        yield before


def digest(copies: Copies, steps: int, seed: int = SEED, hostile: bool = False) -> str:
    """SHA-256 of all that copies show from here on, over `steps` steps with actions drawn from `seed`."""
    whole = hashlib.sha256()
    for _ in played(copies, steps, hostile, seed):
        for name in SHOWN:
            whole.update(np.ascontiguousarray(getattr(copies, name)).tobytes())
    return whole.hexdigest()


def difference(left: Copies, right: Copies, rows: Any = slice(None), names: Iterable[str] = SHOWN) -> str | None:
    """The first array that differs bit for bit between `left`'s rows and `right`, and where; None where all agree."""
    for name in names:
        a, b = getattr(left, name)[rows], getattr(right, name)
        if a.shape == b.shape and a.tobytes() == b.tobytes():
            continue
        apart = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        where = tuple(int(i) for i in np.argwhere(apart)[0]) if apart.any() else ()
        return f"{name}{list(where)} is {a[where]} and {b[where]}" if where else f"{name} differs in the sign of a zero"
    return None
