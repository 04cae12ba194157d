"""VectorGame: B copies of a compiled game stepped together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numba
import numpy as np
import numpy.typing as npt

from marl import driver, rng
from marl.copies import SHOWN, Copies, action_bounds, checked
from marl.errors import UserError
from marl.game import F4, Discrete, Game, Params

PARALLEL_FROM = 64
"""Copies from which a second thread pays for its launch (1-15 ms on a busy machine)."""


class VectorGame(Copies):
    """Copies of `game`; see `marl.copies.Copies` for the arrays.

    `params` is the game's dataclass, or leave it out and give parameters by name. `weights` replaces default weights
    of reward components by name. `threads` above 1 uses that many threads from 64 copies on, with the same numbers.
    """

    def __init__(
        self,
        game: Game,
        n_envs: int = 1,
        params: Params | None = None,
        *,
        threads: int = 1,
        weights: Mapping[str, float] | None = None,
        preset: str | None = None,
        **given: Any,
    ) -> None:
        if params is not None and (given or preset):
            raise UserError(f"{game.name}: give params or parameters by name, not both")
        self.params = params if params is not None else game.make_params(preset, **given)
        game = game.at(self.params)
        self.game, self.name, self.masked = game, game.name, game.mask is not None
        if not isinstance(threads, int | np.integer) or not 1 <= threads <= numba.config.NUMBA_NUM_THREADS:
            raise UserError(f"threads = {threads!r}: legal range here is [1, {numba.config.NUMBA_NUM_THREADS}]")
        self.threads = threads
        self._allocate(
            game.roles(self.params),
            n_envs,
            components=game.reward,
            cost=tuple(game.cost),
            metrics=tuple(game.metrics),
            residuals=len(game.audit),
            state_columns=len(game.state_table),
        )
        self._driver = driver.load(game)
        numbers = self.params.numbers()
        self._p = self._driver.Numbers(**{name: numbers[name] for name in self._driver.Numbers._fields})
        self._check_room(self._state_bytes())
        self._s = self._driver.State(**self._state_arrays())
        self._o = self._driver.Out(**self._out_arrays(self._weights(weights)))
        self._spread = threads > 1 and n_envs >= PARALLEL_FROM
        self._advance: Callable[..., None] | None = None
        self._start = _quiet(self._driver.start)

    def __reduce__(self) -> Any:
        """Pickled and deep-copied as what they were made of and what `state_dict` holds: arrays that are views of others stay so."""
        return _rebuilt, (
            type(self),
            self.game,
            self.n_envs,
            self.params,
            self.threads,
            self.weights,
            self.state_dict() if self._begun else None,
        )

    def _state_arrays(self) -> dict[str, npt.NDArray[Any]]:
        b = self.n_envs
        arrays: dict[str, npt.NDArray[Any]] = {"key": np.zeros(b, np.uint64), "episode": np.zeros(b, np.int64), "t": np.zeros(b, np.int64)}
        for name, (dtype, dims) in self.game.state_fields().items():
            arrays[name] = np.zeros((b, *(self._size(name, d) for d in dims)), dtype)
        return arrays

    def _state_bytes(self) -> int:
        """What the states of all copies take."""
        fields = self.game.state_fields().items()
        return self.n_envs * sum(np.dtype(dtype).itemsize * math.prod(self._size(name, d) for d in dims) for name, (dtype, dims) in fields)

    def _size(self, field: str, dim: str | int) -> int:
        if isinstance(dim, int):
            return dim
        size = self.n_agents if dim == "agents" else getattr(self.params, dim, None)
        if not isinstance(size, int) or size < 0:
            raise UserError(f"state field {field!r} of {self.name}: dim {dim!r} is neither 'agents' nor a whole-numbered parameter")
        return size

    def _weights(self, given: Mapping[str, float] | None) -> npt.NDArray[np.float64]:
        weights = self.game.default_weights(self.params)
        for name, value in (given or {}).items():
            if name not in weights:
                raise UserError(f"{self.name}.weights has no component {name!r}: legal are {', '.join(weights)}")
            if not isinstance(value, int | float | np.number) or not np.isfinite(value):
                raise UserError(f"{self.name}.weights.{name} = {value!r}: a finite number is expected")
            weights[name] = float(value)
        self.weights = weights
        return np.array(list(weights.values()))

    def _out_arrays(self, weight: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[Any]]:
        groups = [v.group for v in self.groups.values()]
        low, high, whole = action_bounds(groups, self.action.shape[2])
        offset = np.full(low.shape, -1, np.int64)
        for g in groups:
            begin = 0
            for u, column in enumerate(g.action.values()):
                if isinstance(column, Discrete):
                    offset[g.lo : g.hi, u] = begin
                    begin += column.k
        self._low, self._high = low, high
        own = {"low": low, "high": high, "whole": whole, "offset": offset, "weight": weight, "mask": self.action_mask}
        return {name: own[name] if name in own else getattr(self, name) for name in driver.OUT}

    def reset(self, seed: int, first: int = 0) -> F4:
        """Start episode 0 of copies first .. first + B - 1 of a run with this seed; returns obs [B, A, O]."""
        self._s.key[:] = rng.keys(checked(seed), first, self.n_envs)
        self._s.episode[:] = 0
        self._open(np.arange(self.n_envs))
        return self.obs

    def next_episode(self, copies: Sequence[int] | npt.NDArray[np.int64] | None = None) -> F4:
        """Leave the episode of the named copies (all by default) where it is and start their next one; returns obs."""
        chosen = self._chosen(copies)
        self._s.episode[chosen] += 1
        self._open(chosen)
        return self.obs

    def _open(self, copies: npt.NDArray[np.int64]) -> None:
        if not self._begun:
            driver.ready(self.game, self._driver, "start", (self._p, self._s, self._o, copies))
        self._start(self._p, self._s, self._o, copies)
        self.final_obs[copies], self.final_mask[copies] = self.obs[copies], self.action_mask[copies]
        self.status[copies] = 0
        self._gather_state()
        self.final_state[copies] = self.state[copies]
        self._begun = True

    def step(self, action: Any) -> None:
        """One tick of all copies. action [B, A, U] in the units of the action table; what is outside is clipped into it."""
        self._check(action)
        self.action[:] = action
        self.tick()

    def tick(self) -> None:
        """One tick with what stands in `self.action` [B, A, U]: for callers that wrote it there and checked it."""
        if self._spread:
            numba.set_num_threads(self.threads)
        (self._advance or self._compiled())(self._p, self._s, self._o)
        if self._state_parts:
            self._gather_state()

    def _compiled(self) -> Callable[..., None]:
        """The driver's loop for arrays of these types, found once: numba's dispatch looks at every array in every call (4.5 of 9 us)."""
        loop = "parallel" if self._spread else "serial"
        self._advance = _quiet(driver.ready(self.game, self._driver, loop, (self._p, self._s, self._o)))
        return self._advance

    @property
    def address(self) -> rng.Address:
        """Key, episode and tick [B] of the copies."""
        return self._s.key, self._s.episode, self._s.t

    @property
    def world(self) -> Any:
        """The state of all copies: a NamedTuple of arrays, read it and leave it."""
        return self._s

    def _kept(self) -> dict[str, npt.NDArray[Any]]:
        return {**{f"world.{k}": v for k, v in self._s._asdict().items()}, **{k: getattr(self, k) for k in SHOWN}}

    def fork(self, copies: Sequence[int] | npt.NDArray[np.int64] | None = None) -> Self:
        """Copies that continue from here on their own, meeting the same draws; a subset where `copies` names one."""
        chosen = self._chosen(copies)
        other = type(self)(self.game, len(chosen), self.params, threads=self.threads, weights=self.weights)
        mine, theirs = self._kept(), other._kept()
        for name, values in mine.items():
            theirs[name][:] = values[chosen]
        other._begun = self._begun
        return other

    def restore(self, source: Self, copies: Sequence[int] | npt.NDArray[np.int64] | None = None) -> None:
        """Set the named copies (all by default) to those of `source`, in order: undo to an earlier fork."""
        chosen = self._chosen(copies)
        if source.game is not self.game or source.params != self.params or source.n_envs != len(chosen):
            raise UserError(f"restore of {self.name}: a fork of the same game and parameters with {len(chosen)} copies is expected")
        theirs = source._kept()
        for name, values in self._kept().items():
            values[chosen] = theirs[name]
        self._begun = source._begun

    def state_dict(self) -> dict[str, Any]:
        """Copies of all arrays that the future depends on or that the last step showed."""
        return {name: values.copy() for name, values in self._kept().items()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken; shapes must agree."""
        self._load(self._kept(), saved)
        self._begun = True


def _quiet(function: Callable[..., None]) -> Callable[..., None]:
    """The function as it is; uncompiled (NUMBA_DISABLE_JIT=1), where the hash of `marl.rng` overflows loudly, without that noise."""
    if not numba.config.DISABLE_JIT:
        return function

    def call(*arguments: Any) -> None:
        with np.errstate(over="ignore"):
            function(*arguments)

    return call


def _rebuilt(kind: type[VectorGame], game: Game, n_envs: int, params: Params, threads: int, weights: Any, saved: Any) -> VectorGame:
    copies = kind(game, n_envs, params, threads=threads, weights=weights)
    if saved is not None:
        copies.load_state_dict(saved)
    return copies
