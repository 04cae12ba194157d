"""Any PettingZoo ParallelEnv as the same arrays as a compiled game."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from marl import plugins, replies, rng
from marl.convention import LONGEST
from marl.copies import action_bounds, checked
from marl.errors import UserError
from marl.game import B1, F4, RUNNING, TERMINATED, TRUNCATED, Component, Discrete
from marl.replayed import Replayed
from marl.replies import Malformed
from marl.roster import Roster
from marl.runner import Failure, InTurn, Runner, Together, attempt

log = logging.getLogger("marl.external")

MEMBERS = ("possible_agents", "observation_space", "action_space", "reset", "step")
WIDE = 4_096
"""Numbers of an observation or a state above which it is said that networks here have no convolutions."""


class ExternalCopies(Replayed):
    """`n_envs` environments that `make_env()` makes; see `marl.copies.Copies` for the arrays.

    Agents with the same name stem and spaces form a group; rows are ordered by group, `agents` holds the environment's own names.
    Each agent ends in its own way (`own_ends`), also before the others: alive then turns False. `status` of an episode whose last agents
    end in both ways is TRUNCATED. `reset` and `step` may be coroutines: copies are then stepped together, each within `timeout` seconds.

    `on_error` says what happens when an environment raises, takes too long or breaks the PettingZoo contract: "raise" (the default,
    for ordinary environments) refuses; "restart" (the default for coroutines) makes the copy anew in a new episode, TRUNCATED in
    that row, and counts it in `restarts` [B]. A step is never repeated, for it may have happened; a reset is tried `retries` times more.

    An episode that goes on after `longest` ticks is cut there (TRUNCATED). `own_state`: whether the environment's `state()` is the
    global state, else its observations are; one that fails when nobody is left has its last good answer. What is cut or replaced is
    said once (a warning of the logger marl.external) for all that have the set `words` in common.
    """

    def __init__(
        self,
        make_env: Callable[[], Any],
        n_envs: int = 1,
        *,
        on_error: str | None = None,
        timeout: float = 60.0,
        retries: int = 2,
        longest: int = LONGEST,
        own_state: bool = True,
        words: set[str] | None = None,
    ) -> None:
        if on_error not in (None, "raise", "restart") or not timeout > 0 or not (isinstance(retries, int) and retries >= 0):
            raise UserError(
                f"on_error = {on_error!r}, timeout = {timeout} s, retries = {retries}: legal are raise or restart, above 0, from 0"
            )
        if not isinstance(longest, int) or longest < 1:
            raise UserError(f"longest = {longest!r} ticks: legal are whole numbers from 1")
        self._make, self.longest, self._words = make_env, longest, set() if words is None else words
        self._options: dict[str, Any] = {"on_error": on_error, "timeout": timeout, "retries": retries, "longest": longest}
        self._options |= {"own_state": own_state, "words": self._words}
        self.name = getattr(make_env, "__name__", "environment")
        first = self._new()
        self.name = str((getattr(first, "metadata", None) or {}).get("name", type(first).__name__))
        together = inspect.iscoroutinefunction(first.reset) or inspect.iscoroutinefunction(first.step)
        self.on_error = on_error or ("restart" if together else "raise")
        self.retries, self._closed = retries, False
        self._runner: Runner = Together(timeout) if together else InTurn()
        try:
            self._build(first, n_envs, own_state)
        except Exception:
            self._runner.close()
            raise

    def _build(self, first: Any, n_envs: int, own_state: bool) -> None:
        self._roster = Roster(first, self.name)
        columns = self._probe(first, own_state)
        self._own_state = columns > 0
        self._allocate(self._roster.roles, n_envs, components={"reward": Component()}, state_columns=columns)
        self._tell_of_images(columns)
        self.own_ends: tuple[B1, B1] = np.zeros_like(self.alive), np.zeros_like(self.alive)
        self.agents, self._row = self._roster.agents, self._roster.row
        self._envs = [first, *(self._new() for _ in range(n_envs - 1))]
        self._low, self._high, self._whole = action_bounds([v.group for v in self.groups.values()], self.action.shape[2])
        self.key, self.episode = np.zeros(n_envs, np.uint64), np.zeros(n_envs, np.int64)
        self.restarts = np.zeros(n_envs, np.int64)
        self._acting: list[list[Any]] = [[] for _ in range(n_envs)]  # in the environment's own order
        self._taken: list[list[npt.NDArray[np.float64]]] = [[] for _ in range(n_envs)]

    def _new(self) -> Any:
        env = attempt(self._make)
        if isinstance(env, Failure):
            raise UserError(f"{self.name} cannot be made: {env}") from env.error
        lacking = [m for m in MEMBERS if not hasattr(env, m)]
        if lacking or hasattr(env, "agent_iter"):
            reason = f"lacks {lacking[0]}" if lacking else "takes turns: pettingzoo.utils.aec_to_parallel may convert it"
            raise UserError(f"{self.name} made a {type(env).__name__}, which is not a PettingZoo ParallelEnv: it {reason}")
        return env

    def _probe(self, env: Any, own_state: bool) -> int:
        """Columns of the environment's own global state, 0 where it has none or is not asked; notes whether it masks choices."""
        result = self._runner.run([partial(env.reset, seed=0)])[0]
        try:
            observations, infos = replies.opening(result)
            acting = replies.present(env, self._roster.row)
            self.masked = any(self._roster.legal(a, observations, infos) is not None for a in acting)
            if not own_state:
                return 0
            given = attempt(lambda: env.state())
            if given is None or (isinstance(given, Failure) and isinstance(given.error, NotImplementedError | AttributeError)):
                return 0  # PettingZoo's ways to say that there is none
            return len(self._state_of(given))
        except Malformed as error:
            raise UserError(f"{self.name}, first reset: {error}") from (result.error if isinstance(result, Failure) else error)

    def _state_of(self, given: Any) -> F4:
        """What `state()` gave, as a row [S]. Raises Malformed."""
        if isinstance(given, Failure):
            raise Malformed(f"state(): {given}; the global state as an array is expected")
        return replies.row_of("state()", given)

    def _tell_of_images(self, columns: int) -> None:
        for name, view in self.groups.items():
            if view.group.width > WIDE:
                shape = self._roster.images[name] or "several parts"
                self._say(
                    f"observations of {name}, {shape}, are flattened to {view.group.width:,} numbers: networks here have no convolutions, "
                    f"above {WIDE:,} they are slow and learn little of an image; make it smaller with a wrapper (supersuit.resize_v1)"
                )
        if columns > WIDE:
            self._say(f"state() has {columns:,} numbers: critics here have no convolutions, above {WIDE:,} they are slow and learn little")

    def _say(self, text: str) -> None:
        """Warn, once for each text."""
        if text not in self._words:
            self._words.add(text)
            log.warning("%s: %s", self.name, text)

    def reset(self, seed: int, first: int = 0) -> F4:
        """Start episode 0 of copies first .. first + B - 1 of a run with this seed; returns obs [B, A, O]."""
        self.key[:] = rng.keys(checked(seed), first, self.n_envs)
        self.episode[:], self.restarts[:] = 0, 0
        self._begun = True
        return self._start(range(self.n_envs))

    def next_episode(self, copies: Sequence[int] | npt.NDArray[np.int64] | None = None) -> F4:
        """Leave the episode of the named copies (all by default) where it is and start their next one; returns obs."""
        chosen = self._chosen(copies).tolist()
        self.episode[chosen] += 1
        return self._start(chosen)

    def _start(self, copies: Sequence[int]) -> F4:
        self._open(copies)
        rows = list(copies)
        self.final_obs[rows], self.final_mask[rows] = self.obs[rows], self.action_mask[rows]
        self.status[rows] = RUNNING
        self._gather_state()
        self.final_state[rows] = self.state[rows]
        return self.obs

    def _seed(self, b: int) -> int:
        """The 31-bit seed of copy b's present episode."""
        return rng.derive(int(self.key[b]), f"episode {self.episode[b]}") & 0x7FFFFFFF

    def _open(self, copies: Sequence[int]) -> None:
        """Reset the environments of these copies to their present episodes."""
        waiting = list(copies)
        for retry in range(self.retries + 1):
            results = self._runner.run([partial(self._envs[b].reset, seed=self._seed(b)) for b in waiting])
            faults = {b: fault for b, result in zip(waiting, results) if (fault := self._enter(b, result))}
            waiting = list(faults)
            if not waiting:
                return
            if self.on_error == "raise" or retry == self.retries:
                times = "" if self.on_error == "raise" else f" {retry + 1} times in a row"
                raise UserError(
                    f"{self.name}, copy {waiting[0]}, reset of episode {self.episode[waiting[0]]} failed{times}: {faults[waiting[0]]}"
                )
            for b in waiting:
                self._replace(b)

    def _replace(self, b: int) -> None:
        """A new environment for copy b, whose old one broke: what its close says is of no use any more."""
        if hasattr(self._envs[b], "close"):
            self._runner.run([self._envs[b].close])
        self._envs[b] = self._new()
        self.restarts[b] += 1

    def _enter(self, b: int, result: Any) -> str | None:
        """Write what a reset gave into the rows of copy b; returns what is wrong with it."""
        self._taken[b] = []
        try:
            observations, infos = replies.opening(result)
            agents = replies.present(self._envs[b], self._row)
            if not agents:
                raise Malformed("nobody is among its agents after reset")
            self._show(b, agents, observations, infos, first=True)
            self._look(b, over=False)
        except Malformed as error:
            return str(error)
        self._seat(b, agents)
        return None

    def _seat(self, b: int, agents: list[Any]) -> None:
        """Who acts next: the environment's present agents."""
        self._acting[b] = agents
        self.alive[b] = False
        self.alive[b, [self._row[agent] for agent in agents]] = True

    def _show(self, b: int, agents: Sequence[Any], observations: Mapping[Any, Any], infos: Mapping[Any, Any], first: bool = False) -> None:
        """Write observations and masks of these agents into the rows of copy b. Raises Malformed."""
        self.obs[b], self.action_mask[b] = 0.0, True
        for agent in agents:
            row, seen = self._row[agent], self._roster.see(agent, observations)
            self.obs[b, row, : len(seen)] = seen
            legal = self._roster.legal(agent, observations, infos)
            if legal is None:
                continue
            if not self.masked:
                when = "a later reset" if first else "a step"
                raise Malformed(f"action mask of {agent}: there was none after the first reset, a mask that comes with {when} is not seen")
            self.action_mask[b, row, : len(legal)] = legal

    def _look(self, b: int, over: bool) -> None:
        """Write the environment's own state into the row of copy b; where nobody is left, the last good one may stay. Raises Malformed."""
        if not self._own_state:
            return
        try:
            row = self._state_of(attempt(lambda: self._envs[b].state()))
            if len(row) != self.state.shape[1]:
                raise Malformed(f"state() has {len(row)} numbers, it had {self.state.shape[1]} after the first reset")
        except Malformed as error:
            if not over:
                raise
            self._say(f"{error}; nobody is left, its last good answer stands for it")
            return
        self.state[b] = row

    def step(self, action: Any) -> None:
        """One tick of all copies. action [B, A, U] in the units of the action table; what is outside is clipped into it."""
        self._check(action)
        self.action[:] = self._settled(np.asarray(action, np.float64))
        self.reward[:], self.status[:] = 0.0, RUNNING
        before = self.obs.copy(), self.action_mask.copy(), self.state.copy()
        terminated, truncated = self.own_ends
        results = self._advance(range(self.n_envs))
        broken = []
        for b, result in enumerate(results):
            fault = str(result) if isinstance(result, Failure) else self._take(b, result)
            if fault and self.on_error == "raise":
                raise UserError(f"{self.name}, copy {b}, step {len(self._taken[b])} of episode {self.episode[b]}: {fault}")
            if fault:
                self.obs[b], self.action_mask[b], self.state[b] = (array[b] for array in before)
                self.reward[b], self.status[b] = 0.0, TRUNCATED
                terminated[b], truncated[b] = False, self.alive[b]
                broken.append(b)
        self.components[:, :, 0] = self.reward
        self.final_obs[:], self.final_mask[:] = self.obs, self.action_mask
        if self._own_state:
            self.final_state[:] = self.state
        ended = np.flatnonzero(self.status != RUNNING)
        self.episode[ended] += 1
        for b in broken:
            self._replace(b)
        self._open(ended.tolist())
        self._gather_state()

    def _settled(self, action: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Actions inside the table: clipped, choices rounded, an illegal one replaced by the lowest legal one."""
        clipped = np.clip(action, self._low, self._high)
        clipped = np.where(self._whole, np.floor(clipped + 0.5), clipped)
        for view in self.groups.values():
            group, begin = view.group, 0
            for u, column in enumerate(group.action.values()):
                if isinstance(column, Discrete):
                    legal = view.action_mask[:, :, begin : begin + column.k]
                    chosen = clipped[:, group.lo : group.hi, u]
                    taken = np.take_along_axis(legal, chosen[:, :, None].astype(np.int64), 2)[:, :, 0]
                    chosen[:] = np.where(taken, chosen, legal.argmax(2))
                    begin += column.k
        return clipped

    def _advance(self, copies: Sequence[int]) -> list[Any]:
        """Step the environments of these copies with what stands in `action`, which is kept for a replay."""
        calls = []
        for b in copies:
            codecs = {agent: self._roster.codecs[agent] for agent in self._acting[b]}
            given = {a: c.decode(self.action[b, self._row[a], : len(c.table)]) for a, c in codecs.items()}
            calls.append(partial(self._envs[b].step, given))
            self._taken[b].append(self.action[b].copy())
        return self._runner.run(calls)

    def _take(self, b: int, result: Any) -> str | None:
        """Write what a step gave into the rows of copy b; returns what is wrong with it."""
        acted = self._acting[b]
        try:
            said = replies.reply(result, acted, self._row)
            agents = replies.present(self._envs[b], self._row)
            going = replies.who_goes_on(acted, said, agents)
            joined = [agent for agent in agents if agent not in acted]
            stays = [agent for agent in acted if agent in agents and agent not in going]
            over = not (going or joined)
            self._show(b, [*acted, *joined], said.observations, said.infos)
            self._look(b, over)
        except Malformed as error:
            return str(error)
        for agent, paid in said.rewards.items():
            self.reward[b, self._row[agent]] = paid
        if stays and going:
            self._say(f"{stays[0]} is told to have ended, but is still among the agents: it goes on, as long as others do")
        late = not over and len(self._taken[b]) >= self.longest
        if late:
            self._say(f"an episode goes on after {self.longest:,} ticks (env.longest): such a one is cut there, truncated")
        self._end(b, said, agents, over or late)
        return None

    def _end(self, b: int, said: replies.Reply, agents: list[Any], over: bool) -> None:
        """Note who ended and how; of an episode that is `over`, whoever did not terminate is cut."""
        acted, (ended, cut) = self._acting[b], self.own_ends
        gone = [agent for agent in acted if over or agent not in agents]
        rows = [self._row[agent] for agent in gone]
        ended[b] = cut[b] = False
        ended[b, rows] = [said.terminated[agent] for agent in gone]
        cut[b, rows] = [not said.terminated[agent] for agent in gone]
        if over:
            self.status[b] = TRUNCATED if cut[b].any() else TERMINATED
        else:
            self._seat(b, agents)

    def close(self) -> None:
        """Close all environments and the event loop; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        self._runner.run([env.close for env in self._envs if hasattr(env, "close")])
        self._runner.close()


def _bind(make: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Raise TypeError where `make` does not take the arguments; built-in functions do not tell."""
    try:
        signature = inspect.signature(make)
    except ValueError:
        return
    signature.bind(**arguments)


def vectorize(make_env: Callable[[], Any], n_envs: int = 1, **options: Any) -> ExternalCopies:
    """`n_envs` environments of `make_env()` as copies; options are those of `ExternalCopies`. Raises UserError."""
    legal = [name for name in inspect.signature(ExternalCopies).parameters if name not in ("make_env", "n_envs")]
    unknown = [name for name in options if name not in legal]
    if unknown:
        raise UserError(f"vectorize has no option {unknown[0]!r}: legal are {', '.join(legal)}")
    return ExternalCopies(make_env, n_envs, **options)


def from_factory(
    factory: str,
    n_envs: int = 1,
    *,
    on_error: str | None = None,
    timeout: float = 60.0,
    retries: int = 2,
    copies: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> ExternalCopies:
    """Copies of the environment that `module:function` makes, called with `arguments`. What is wrong with it is one line.

    `copies`: further options of `ExternalCopies`, under a name that an environment's own arguments hardly have.
    """
    make = plugins.load_attribute(factory, "env.factory")
    if not callable(make):
        raise UserError(f"env.factory = {factory!r} is a {type(make).__name__}: a function is expected")
    try:
        _bind(make, arguments)
    except TypeError as error:
        raise UserError(f"env.factory = {factory!r} with {arguments}: {error}") from error
    named = partial(make, **arguments)
    named.__name__ = factory  # type: ignore[attr-defined]  # what refusals call it
    return vectorize(named, n_envs, on_error=on_error, timeout=timeout, retries=retries, **(copies or {}))
