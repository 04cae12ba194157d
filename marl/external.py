"""Any PettingZoo ParallelEnv as the same arrays as a compiled game, with an exact resume where the environment is deterministic."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from marl import plugins, rng, spaces
from marl.copies import SHOWN, Copies, action_bounds
from marl.errors import UserError
from marl.game import B1, F4, RUNNING, TERMINATED, TRUNCATED, Component, Discrete, Role
from marl.runner import Failure, InTurn, Runner, Together, attempt

MEMBERS = ("possible_agents", "observation_space", "action_space", "reset", "step")


class InexactResume(UserWarning):
    """An environment that did not repeat its episode when it was replayed."""


class ExternalCopies(Copies):
    """`n_envs` environments that `make_env()` makes; see `marl.copies.Copies` for the arrays.

    Agents with the same name stem and spaces form a group; rows are ordered by group, `agents` holds the environment's own names.
    Each agent ends in its own way (`own_ends`), also before the others: alive then turns False. `status` of an episode whose last agents
    end in both ways is TRUNCATED. `reset` and `step` may be coroutines: copies are then stepped together, each within `timeout` seconds.

    `on_error` says what happens when an environment raises, takes too long or breaks the PettingZoo contract: "raise" (the default,
    for ordinary environments) refuses; "restart" (the default for coroutines) makes the copy anew in a new episode, TRUNCATED in
    that row, and counts it in `restarts` [B]. A step is never repeated, for it may have happened; a reset is tried `retries` times more.
    """

    def __init__(
        self, make_env: Callable[[], Any], n_envs: int = 1, *, on_error: str | None = None, timeout: float = 60.0, retries: int = 2
    ) -> None:
        if on_error not in (None, "raise", "restart") or not timeout > 0 or not (isinstance(retries, int) and retries >= 0):
            raise UserError(
                f"on_error = {on_error!r}, timeout = {timeout} s, retries = {retries}: legal are raise or restart, above 0, from 0"
            )
        self._make = make_env
        self._options: dict[str, Any] = {"on_error": on_error, "timeout": timeout, "retries": retries}
        self.name = getattr(make_env, "__name__", "environment")
        first = self._new()
        self.name = str(getattr(first, "metadata", {}).get("name", type(first).__name__))
        together = inspect.iscoroutinefunction(first.reset) or inspect.iscoroutinefunction(first.step)
        self.on_error = on_error or ("restart" if together else "raise")
        self.retries, self._closed = retries, False
        self._runner: Runner = Together(timeout) if together else InTurn()
        try:
            self._build(first, n_envs)
        except Exception:
            self._runner.close()
            raise

    def _build(self, first: Any, n_envs: int) -> None:
        roles = self._arrange(first)
        self._own_state = (columns := self._probe(first)) > 0
        self._allocate(roles, n_envs, components={"reward": Component()}, state_columns=columns)
        self.own_ends: tuple[B1, B1] = np.zeros_like(self.alive), np.zeros_like(self.alive)
        self.agents = tuple(a for names in self._members for a in names)
        self._row = {agent: row for row, agent in enumerate(self.agents)}
        self._envs = [first, *(self._new() for _ in range(n_envs - 1))]
        self._low, self._high, self._whole = action_bounds([v.group for v in self.groups.values()], self.action.shape[2])
        self.key, self.episode = np.zeros(n_envs, np.uint64), np.zeros(n_envs, np.int64)
        self.restarts = np.zeros(n_envs, np.int64)
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

    def _probe(self, env: Any) -> int:
        """Columns of the environment's own global state, 0 where it has none; notes whether it masks choices."""
        result = self._runner.run([partial(env.reset, seed=0)])[0]
        if isinstance(result, Failure):
            raise UserError(f"{self.name}, first reset: {result}") from result.error
        observations, infos = result
        self.masked = any(self._eyes[a].mask(observations[a], infos.get(a) or {}) is not None for a in observations)
        try:
            return int(np.size(env.state()))
        except (NotImplementedError, AttributeError):  # PettingZoo's way to say that there is none
            return 0

    def _arrange(self, env: Any) -> list[Role]:
        """Roles of agents with the same stem and spaces, and what reads and writes their spaces."""
        traits: list[tuple[str, Any, Any]] = []
        self._members: list[list[Any]] = []
        for agent in env.possible_agents:
            trait = (_stem(agent), env.observation_space(agent), env.action_space(agent))
            if trait not in traits:
                traits.append(trait)
                self._members.append([])
            self._members[traits.index(trait)].append(agent)
        self._eyes = {a: spaces.eye(env.observation_space(a), f"{a} in {self.name}") for a in env.possible_agents}
        self._codecs = {a: spaces.codec(env.action_space(a), f"{a} in {self.name}") for a in env.possible_agents}
        stems = [_stem(names[0]) for names in self._members]
        labels = [stem if stems.count(stem) == 1 else str(n[0]) for n, stem in zip(self._members, stems)]
        tables = [(self._eyes[names[0]].table, self._codecs[names[0]].table) for names in self._members]
        return [Role(label, len(names), *own) for label, names, own in zip(labels, self._members, tables)]

    def reset(self, seed: int, first: int = 0) -> F4:
        """Start episode 0 of copies first .. first + B - 1 of a run with this seed; returns obs [B, A, O]."""
        self.key[:] = rng.keys(seed, first, self.n_envs)
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
        if isinstance(result, Failure):
            return str(result)
        observations, infos = result
        fault = self._show(b, self._envs[b].agents, observations, infos)
        if not fault:
            self._seat(b)
        return fault

    def _seat(self, b: int) -> None:
        """Who acts next: the environment's present agents."""
        self.alive[b] = False
        self.alive[b, [self._row[agent] for agent in self._envs[b].agents]] = True

    def _show(self, b: int, agents: Sequence[str], observations: Mapping[str, Any], infos: Mapping[str, Any]) -> str | None:
        self.obs[b], self.action_mask[b] = 0.0, True
        for agent in agents:
            if agent not in self._row:
                return f"agent {agent!r} is none of possible_agents"
            if agent not in observations:
                return f"observation of {agent} is missing"
            row, eye = self._row[agent], self._eyes[agent]
            seen = eye.see(observations[agent])
            if seen.shape != (len(eye.table),):
                return f"observation of {agent} has {seen.size} numbers, its space {len(eye.table)}"
            if not np.isfinite(seen).all():
                return f"observation of {agent} is not finite, number {int(np.argmin(np.isfinite(seen)))}"
            self.obs[b, row, : len(seen)] = seen
            if (mask := eye.mask(observations[agent], infos.get(agent) or {})) is not None:
                try:
                    legal = self._codecs[agent].mask(mask)
                except (ValueError, KeyError) as error:
                    return f"action mask of {agent}: {error}"
                self.action_mask[b, row, : len(legal)] = legal
        if self._own_state:
            self.state[b] = np.asarray(self._envs[b].state()).reshape(-1)
        return None

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
            rows = {agent: self._row[agent] for agent in self.agents if self.alive[b, self._row[agent]]}
            codecs = {agent: self._codecs[agent] for agent in rows}
            given = {a: c.decode(self.action[b, rows[a], : len(c.table)]) for a, c in codecs.items()}
            calls.append(partial(self._envs[b].step, given))
            self._taken[b].append(self.action[b].copy())
        return self._runner.run(calls)

    def _take(self, b: int, result: Any) -> str | None:
        """Write what a step gave into the rows of copy b; returns what is wrong with it."""
        observations, rewards, terminated, truncated, infos = result
        acted = [agent for agent, row in self._row.items() if self.alive[b, row]]
        for name, given in (("reward", rewards), ("termination", terminated), ("truncation", truncated)):
            missing = [agent for agent in acted if agent not in given]
            if missing:
                return f"{name} of {missing[0]} is missing"
        joined = [agent for agent in self._envs[b].agents if agent not in acted]
        fault = self._show(b, acted + joined, observations, infos)
        if fault:
            return fault
        for agent in acted:
            self.reward[b, self._row[agent]] = rewards[agent]
        if not np.isfinite(self.reward[b]).all():
            return f"reward of {self.agents[int(np.argmin(np.isfinite(self.reward[b])))]} is not finite"
        going = [agent for agent in acted if not (terminated[agent] or truncated[agent])]
        if going and not self._envs[b].agents:
            return f"no agents are left, but {going[0]} neither terminated nor truncated"
        over, (ended, cut) = not (going or joined), self.own_ends
        if not over:
            self._seat(b)
        gone = [agent for agent in acted if over or not self.alive[b, self._row[agent]]]
        rows = [self._row[agent] for agent in gone]
        ended[b] = cut[b] = False
        ended[b, rows] = [terminated[agent] for agent in gone]
        cut[b, rows] = [truncated[agent] and not terminated[agent] for agent in gone]
        if over:
            self.status[b] = TRUNCATED if cut[b].any() else TERMINATED
        return None

    @property
    def address(self) -> rng.Address:
        """Key, episode and tick [B] of the copies."""
        return self.key, self.episode, np.array([len(actions) for actions in self._taken], np.int64)

    def _records(self) -> dict[str, npt.NDArray[Any]]:
        return {"key": self.key, "episode": self.episode, "restarts": self.restarts, **{name: getattr(self, name) for name in SHOWN}}

    def state_dict(self) -> dict[str, Any]:
        """The arrays, and for each copy the actions since its reset, from which it can be replayed: taken [sum of lengths, A, U]."""
        taken = [action for actions in self._taken for action in actions]
        shape = (0, *self.action.shape[1:])
        own = {"length": np.array([len(a) for a in self._taken]), "taken": np.array(taken) if taken else np.zeros(shape)}
        return {name: values.copy() for name, values in self._records().items()} | own

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken, by replaying each copy's episode from its seed.

        Warns with `InexactResume` where a copy does not come out bit for bit: it goes on from what it now shows, or from the
        beginning of its next episode where this one ended.
        """
        for name in ("length", "taken"):
            if name not in saved:
                raise UserError(f"saved state of {self.name} lacks {name!r}")
        self._load(self._records(), saved)
        self._begun = True
        lost = self._replay(np.asarray(saved["length"]), np.asarray(saved["taken"]))
        shown = ("obs", "alive", "action_mask", "state")
        differ = {b for name in shown for b in range(self.n_envs) if not np.array_equal(getattr(self, name)[b], saved[name][b])}
        self._load({name: values for name, values in self._records().items() if name not in shown}, saved)
        if lost:
            self.next_episode(sorted(lost))
        if lost | differ:
            text = ", ".join(str(b) for b in sorted(lost | differ))
            warnings.warn(
                f"{self.name} did not repeat its episode in copies {text}: it is not deterministic, the resume is not exact",
                InexactResume,
                stacklevel=2,
            )

    def _replay(self, lengths: npt.NDArray[Any], taken: npt.NDArray[Any]) -> set[int]:
        """Replay all copies; returns those whose episode broke or ended on the way."""
        starts = np.cumsum(lengths) - lengths
        self._open(range(self.n_envs))
        lost: set[int] = set()
        for t in range(int(lengths.max())):
            copies = [b for b in range(self.n_envs) if lengths[b] > t and b not in lost]
            for b in copies:
                self.action[b] = taken[starts[b] + t]
            self.status[copies] = RUNNING
            for b, result in zip(copies, self._advance(copies)):
                fault = str(result) if isinstance(result, Failure) else self._take(b, result)
                if fault or self.status[b] != RUNNING:
                    lost.add(b)
        self._gather_state()
        return lost

    def fork(self, copies: Sequence[int] | npt.NDArray[np.int64] | None = None) -> Self:
        """Copies that continue from here on their own, replayed in new environments; a subset where `copies` names one."""
        chosen = self._chosen(copies)
        other = type(self)(self._make, len(chosen), **self._options)
        if not self._begun:
            return other
        mine = self.state_dict()
        ends = np.cumsum(mine["length"])
        picked = [mine["taken"][ends[b] - mine["length"][b] : ends[b]] for b in chosen]
        theirs = {name: values[chosen] for name, values in mine.items() if name != "taken"}
        other.load_state_dict(theirs | {"taken": np.concatenate(picked)})
        return other

    def close(self) -> None:
        """Close all environments and the event loop; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        self._runner.run([env.close for env in self._envs if hasattr(env, "close")])
        self._runner.close()


def _stem(agent: Any) -> str:
    return re.sub(r"_?\d+$", "", str(agent)) or str(agent)


def _bind(make: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    """Raise TypeError where `make` does not take the arguments; built-in functions do not tell."""
    try:
        signature = inspect.signature(make)
    except ValueError:
        return
    signature.bind(**arguments)


def vectorize(make_env: Callable[[], Any], n_envs: int = 1, **options: Any) -> ExternalCopies:
    """`n_envs` environments of `make_env()` as copies; options are those of `ExternalCopies`."""
    return ExternalCopies(make_env, n_envs, **options)


def from_factory(
    factory: str, n_envs: int = 1, *, on_error: str | None = None, timeout: float = 60.0, retries: int = 2, **arguments: Any
) -> ExternalCopies:
    """Copies of the environment that `module:function` makes, called with `arguments`. What is wrong with it is one line."""
    make = plugins.load_attribute(factory, "env.factory")
    if not callable(make):
        raise UserError(f"env.factory = {factory!r} is a {type(make).__name__}: a function is expected")
    try:
        _bind(make, arguments)
    except TypeError as error:
        raise UserError(f"env.factory = {factory!r} with {arguments}: {error}") from error
    named = partial(make, **arguments)
    named.__name__ = factory  # type: ignore[attr-defined]  # what refusals call it
    return ExternalCopies(named, n_envs, on_error=on_error, timeout=timeout, retries=retries)
