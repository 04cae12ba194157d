"""Checks of whole episodes: ends, beginnings, agents that leave, forks, names that a game promises, and the PettingZoo view."""

from __future__ import annotations

from typing import Any

import numpy as np

from marl.copies import SHOWN
from marl.errors import UserError
from marl.game import RUNNING, TRUNCATED, bounds
from marl.trial import SEED, Array, Trial, difference, drawn, played

COPIES, STEPS, LIMIT = 16, 100, 5_000
"""Copies and steps of a check, and the ticks within which some episode must have ended."""


def check_ends(trial: Trial) -> None:
    """Episodes end; a cut (TRUNCATED) of a continuing game cannot be seen coming, so that its final observation is an ordinary one."""
    copies = trial.start(2 * COPIES)
    ordinary: dict[str, list[Array]] = {name: [view.obs.reshape(-1, view.group.width).copy()] for name, view in copies.groups.items()}
    cut: dict[str, list[Array]] = {name: [] for name in copies.groups}
    ends = 0
    for _ in played(copies, LIMIT):
        rows = copies.status == RUNNING
        for name, view in copies.groups.items():
            ordinary[name].append(view.final_obs[rows].reshape(-1, view.group.width))
            cut[name].append(view.final_obs[copies.status == TRUNCATED].reshape(-1, view.group.width))
        ends += int((~rows).sum())
        if ends >= copies.n_envs:
            break
    if not ends:
        raise trial.refuse(f"no episode ended within {LIMIT} ticks: check it with parameters of shorter episodes")
    for name, view in copies.groups.items():
        _unforeseen(trial, name, list(view.group.observation), np.concatenate(ordinary[name]), np.concatenate(cut[name]))


def _unforeseen(trial: Trial, role: str, columns: list[str], ordinary: Array, cut: Array) -> None:
    if not len(cut):
        return
    apart = (cut.min(0) > ordinary.max(0)) | (cut.max(0) < ordinary.min(0))
    if apart.any():
        c = int(np.argmax(apart))
        seen = f"{cut[:, c].min():g} to {cut[:, c].max():g} there and {ordinary[:, c].min():g} to {ordinary[:, c].max():g} before"
        raise trial.refuse(
            f"an episode is TRUNCATED where {role} sees its end in column {columns[c]!r} ({seen}): an observed end is TERMINATED, "
            "and the final observation of a cut looks like an ordinary one"
        )


def check_begin(trial: Trial) -> None:
    """An episode after an auto-reset is the one that a fresh copy plays: `begin` sets every field that matters."""
    copies = trial.start(COPIES)
    for _ in played(copies, LIMIT):
        ended = np.flatnonzero(copies.status != RUNNING)
        if len(ended):
            break
    else:
        return
    b = int(ended[0])
    fresh = trial.start(1, first=b)
    fresh.next_episode()
    text = difference(copies, fresh, slice(b, b + 1), ("obs", "alive", "action_mask", "state"))
    generator = np.random.default_rng(SEED)
    for _ in range(STEPS):
        if text:
            raise trial.refuse(f"an episode after an auto-reset is not that of a fresh copy ({text}): begin leaves something over")
        action = drawn(copies, generator)
        copies.step(action)
        fresh.step(action[b : b + 1])
        text = difference(copies, fresh, slice(b, b + 1), [name for name in SHOWN if name != "metrics"])


def check_final(trial: Trial) -> None:
    """The observation that an episode ended with survives the auto-reset, in a game whose observations change at all."""
    copies = trial.start(COPIES)
    first, moved, stale = copies.obs.copy(), False, []
    for _ in played(copies, LIMIT):
        ended = copies.status != RUNNING
        moved = moved or bool((copies.final_obs != first)[~ended].any())
        stale += [np.array_equal(copies.obs[b], copies.final_obs[b]) for b in np.flatnonzero(ended)]
        first[ended] = copies.obs[ended]
        if len(stale) >= COPIES:
            break
    if moved and stale and all(stale):
        raise trial.refuse("final_obs is the next episode's first observation: the one that the episode ended with is due")


def check_living(trial: Trial) -> None:
    """An agent that left stays away for the episode and is paid nothing; somebody acts while the episode runs."""
    copies = trial.start(COPIES)
    for before in played(copies, 2 * STEPS):
        running = copies.status == RUNNING
        back = running[:, None] & copies.alive & ~before
        if back.any():
            raise trial.refuse(f"{copies.agents[np.argwhere(back)[0][1]]} left and came back in the same episode")
        if (copies.reward[~before] != 0).any():
            raise trial.refuse(f"{copies.agents[np.argwhere((copies.reward != 0) & ~before)[0][1]]} is paid after it left")
        if (running & ~copies.alive.any(1)).any():
            raise trial.refuse("all agents left, but the episode goes on: it is TERMINATED")


def check_fork(trial: Trial) -> None:
    """A fork, a restored copy and copies loaded from `state_dict` go on as the original does."""
    copies = trial.start(COPIES)
    for _ in played(copies, STEPS // 4):
        pass
    saved, origin, some = copies.state_dict(), copies.fork(), copies.fork([3, 1])
    loaded = trial.make(COPIES, 1)
    loaded.load_state_dict(saved)
    generator = np.random.default_rng(SEED + 1)
    actions = [drawn(copies, generator) for _ in range(STEPS)]
    shown = []
    for action in actions:
        copies.step(action)
        loaded.step(action)
        some.step(action[[3, 1]])
        for other, rows, name in ((loaded, slice(None), "copies loaded from state_dict differ"), (some, [3, 1], "a fork differs")):
            text = difference(copies, other, rows)
            if text:
                raise trial.refuse(f"{name}: {text}; all that the future depends on is in the state's arrays")
        shown.append(copies.obs.copy())
    copies.restore(origin)
    for action, obs in zip(actions, shown):
        copies.step(action)
        if not np.array_equal(copies.obs, obs):
            raise trial.refuse("restored copies differ from what they were: all that the future depends on is in the state's arrays")


def check_names(trial: Trial) -> None:
    """The baselines that a game names exist, presets are legal, known values are finite, the action grid is inside the table."""
    game, params = trial.game, trial.params
    named = {"naive": game.naive} | ({"reference": game.reference(params)} if game.reference else {})
    for use, name in named.items():
        if name != "random" and name not in game.baselines:
            raise trial.refuse(f"{use} baseline {name!r}: legal are {', '.join([*game.baselines, 'random'])}")
    for preset in game.presets:
        game.make_params(preset)
    for name, value in (game.known(params) if game.known else {}).items():
        if not np.isfinite(value):
            raise trial.refuse(f"known value {name!r} is {value}")
    tables = {role.name: role.action for role in game.roles(params)}
    for role, rows in (game.action_grid(params) if game.action_grid else {}).items():
        if role not in tables:
            raise trial.refuse(f"action_grid of {role!r}: roles are {', '.join(tables)}")
        low, high = bounds(tables[role])
        if rows.ndim != 2 or rows.shape[1] != len(low) or (rows < low).any() or (rows > high).any():
            raise trial.refuse(f"action_grid of {role} is not [K, {len(low)}] rows inside its action table")


def check_view(trial: Trial) -> None:
    """The PettingZoo view keeps the contract of `check_parallel` and shows what the copies show."""
    check_parallel(trial.view(), STEPS)
    view, copies = trial.view(), trial.start(1)
    seen, infos = view.reset(seed=SEED)
    for _ in range(STEPS):
        row = {agent: a for a, agent in enumerate(copies.agents) if agent in view.agents}
        seen, rewards, terminated, truncated, infos = view.step(_sampled(view, infos))
        copies.step(view.copies.action)
        status = copies.status[0]
        for agent, a in row.items():
            width = len(seen[agent])
            if not np.array_equal(seen[agent], copies.final_obs[0, a, :width]) or rewards[agent] != copies.reward[0, a]:
                raise trial.refuse(f"view and copies show {agent} something else")
            ended = terminated[agent] or truncated[agent]
            if truncated[agent] != (status == TRUNCATED) or ended != (status != RUNNING or not copies.alive[0, a]):
                raise trial.refuse(f"view and copies end {agent} differently")
        if not np.array_equal(view.state(), copies.final_state[0]):
            raise trial.refuse("view and copies show another global state")
        if not view.agents:
            if status == RUNNING:
                copies.next_episode()
            seen, infos = view.reset()


def check_parallel(env: Any, steps: int = STEPS, seed: int = SEED) -> None:
    """Any PettingZoo ParallelEnv: every dict has the agents that acted and no other, every observation lies in its space.

    Raises UserError with the name of the environment, the agent and what was expected.
    """
    name = str(getattr(env, "metadata", {}).get("name", type(env).__name__))
    seen, infos = env.reset(seed=seed)
    _keys(name, "reset", env.agents, {"observations": seen, "infos": infos})
    for agent in env.possible_agents:
        env.action_space(agent).seed(seed)
    for t in range(1, steps + 1):
        acted = list(env.agents)
        seen, rewards, terminated, truncated, infos = env.step(_sampled(env, infos))
        given = {"observations": seen, "rewards": rewards, "terminations": terminated, "truncations": truncated, "infos": infos}
        _keys(name, f"step {t}", acted, given)
        for agent in acted:
            if not env.observation_space(agent).contains(seen[agent]):
                raise UserError(
                    f"{name}, step {t}: observation of {agent} is outside its space {env.observation_space(agent)}: {seen[agent]}"
                )
            if not np.isfinite(rewards[agent]):
                raise UserError(f"{name}, step {t}: reward of {agent} is {rewards[agent]}")
        left = [agent for agent in acted if not (terminated[agent] or truncated[agent])]
        if list(env.agents) != left:
            raise UserError(f"{name}, step {t}: agents are {env.agents}, those that did not end are {left}")
        if not env.agents:
            seen, infos = env.reset()
            _keys(name, "reset", env.possible_agents, {"observations": seen, "infos": infos})


def _keys(name: str, when: str, acted: list[str], given: dict[str, dict[str, Any]]) -> None:
    for what, values in given.items():
        if set(values) != set(acted):
            odd = sorted(set(values) ^ set(acted))[0]
            raise UserError(f"{name}, {when}: {what} {'lack' if odd in acted else 'have'} {odd!r}, acting were {', '.join(acted)}")


def _sampled(env: Any, infos: dict[str, Any]) -> dict[str, Any]:
    """A random action of every agent, a legal one where a mask is given."""
    if hasattr(env, "sampling_mask"):
        return {a: env.action_space(a).sample(env.sampling_mask(a)) for a in env.agents}
    return {a: env.action_space(a).sample(infos[a].get("action_mask")) for a in env.agents}
