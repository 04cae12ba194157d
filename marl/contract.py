"""Checks of what copies show in a step: values in their tables, rewards, seeds, batches, threads, actions, masks, parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any, get_type_hints

import numba
import numpy as np

from marl import driver, rng, spaces
from marl.copies import action_bounds
from marl.errors import UserError
from marl.game import RUNNING, TERMINATED, Discrete, Table, bounds
from marl.params import Limits
from marl.trial import SEED, Array, Trial, difference, digest, drawn, played
from marl.vector import PARALLEL_FROM, VectorGame

COPIES, STEPS = 16, 150
"""Copies and steps of a check."""


def check_values(trial: Trial) -> None:
    """All that copies show is finite, inside its table, and zero beyond a role's width, under random and hostile actions."""
    for hostile in (False, True):
        copies = trial.start(COPIES)
        _values(trial, copies, "obs", copies.alive)
        for before in played(copies, STEPS, hostile):
            _values(trial, copies, "obs", copies.alive)
            _values(trial, copies, "final_obs", before)
            _tables(trial, copies)


def _values(trial: Trial, copies: VectorGame, name: str, acting: Array) -> None:
    padded = getattr(copies, name)
    if not np.isfinite(padded).all():
        b, a, c = np.argwhere(~np.isfinite(padded))[0]
        raise trial.refuse(f"{name} of {copies.agents[a]}, number {c}, is {padded[b, a, c]}: a finite number is expected")
    for view in copies.groups.values():
        group = view.group
        if padded[:, group.lo : group.hi, group.width :].any():
            raise trial.refuse(f"{name} of {group.name} is not zero beyond its {group.width} columns")
        low, high = spaces.narrow(group.observation)
        seen = group.cut(padded)
        outside = ((seen < low) | (seen > high)) & acting[:, group.lo : group.hi, None]
        if outside.any():
            b, i, c = np.argwhere(outside)[0]
            column = f"{name} of {group.name}_{i}, column {list(group.observation)[c]!r}"
            raise trial.refuse(f"{column}, is {seen[b, i, c]:g}: its range is [{low[c]:g}, {high[c]:g}]")


def _tables(trial: Trial, copies: VectorGame) -> None:
    ended = copies.status != RUNNING
    tables: list[tuple[str, Table, Array]] = [
        ("state", trial.game.state_table, copies.state),
        ("final_state", trial.game.state_table, copies.final_state),
    ]
    tables += [
        ("components", {}, copies.components),
        ("reward", {}, copies.reward),
        ("cost", trial.game.cost, copies.cost),
        ("metrics", trial.game.metrics, copies.metrics[ended]),
    ]
    for name, table, values in tables:
        if not np.isfinite(values).all():
            raise trial.refuse(f"{name}[{', '.join(str(i) for i in np.argwhere(~np.isfinite(values))[0])}] is not finite")
        if not table:
            continue
        low, high = spaces.narrow(table) if values.dtype == np.float32 else bounds(table)
        outside = (values < low) | (values > high)
        if outside.any():
            where = tuple(np.argwhere(outside)[0])
            c = where[-1]
            raise trial.refuse(f"{name}, column {list(table)[c]!r}, is {values[where]:g}: its range is [{low[c]:g}, {high[c]:g}]")


def check_reward(trial: Trial) -> None:
    """The reward is the weighted sum of its components."""
    copies = trial.start(COPIES)
    weight = np.array(list(copies.weights.values()))
    for _ in played(copies, STEPS):
        whole = (copies.components * weight).sum(2)
        scale = (np.abs(copies.components * weight)).sum(2) + 1e-9
        if (np.abs(whole - copies.reward) > 1e-5 * scale).any():
            raise trial.refuse("the reward is not the weighted sum of its components")


def check_seeds(trial: Trial) -> None:
    """The same seed gives the same numbers; another seed gives others where the rules draw at all."""
    if digest(trial.start(COPIES), STEPS) != digest(trial.start(COPIES), STEPS):
        raise trial.refuse("the same seed and actions gave other numbers the second time")
    if rng.__file__ not in driver.reached_files(trial.game):
        return
    others = [trial.game.make_params(), *(trial.game.make_params(preset) for preset in trial.game.presets)]
    for other in [trial, *(Trial.of(trial.game, params) for params in others)]:
        if len({digest(other.start(COPIES, seed), STEPS) for seed in range(3)}) > 1:
            return
    raise trial.refuse("the rules draw, but every seed gave the same numbers, at these parameters, at the defaults and in every preset")


def check_batch(trial: Trial) -> None:
    """Copy 37 of 64 is the copy that runs alone with first=37."""
    many, one = trial.start(64), trial.start(1, first=37)
    generator = np.random.default_rng(SEED)
    for t in range(STEPS):
        action = drawn(many, generator, hostile=t % 3 == 0)
        many.step(action)
        one.step(action[37:38])
        text = difference(many, one, slice(37, 38))
        if text:
            raise trial.refuse(f"copy 37 of 64 differs from the same copy alone after {t + 1} steps: {text}; a rule touches copy b alone")


def check_threads(trial: Trial) -> None:
    """Two threads give the numbers of one. Says nothing where numba was given a single thread."""
    if numba.config.NUMBA_NUM_THREADS < 2:
        return
    one, two = trial.start(2 * PARALLEL_FROM), trial.start(2 * PARALLEL_FROM, threads=2)
    for t, _ in enumerate(zip(played(one, STEPS), played(two, STEPS))):
        text = difference(one, two)
        if text:
            raise trial.refuse(f"one thread and two differ after {t + 1} steps: {text}")


def check_clock(trial: Trial) -> None:
    """Key, episode and tick are the driver's: rules read them and leave them."""
    copies = trial.start(COPIES)
    key, tick, episode = rng.keys(SEED, 0, COPIES), np.zeros(COPIES, np.int64), np.zeros(COPIES, np.int64)
    for _ in played(copies, STEPS):
        ended = copies.status != RUNNING
        tick, episode = np.where(ended, 0, tick + 1), episode + ended
        for name, expected in (("key", key), ("t", tick), ("episode", episode)):
            if not np.array_equal(getattr(copies.world, name), expected):
                raise trial.refuse(f"a rule changed the state's field {name!r}, which is the driver's")


def check_balance(trial: Trial) -> None:
    """Every residual of the audit is exactly 0 on every step, under random and hostile actions."""
    for hostile in (False, True):
        copies = trial.start(COPIES)
        for _ in played(copies, STEPS, hostile):
            if copies.residual.any():
                b, q = np.argwhere(copies.residual)[0]
                kind = "hostile" if hostile else "random"
                name = trial.game.audit[q]
                raise trial.refuse(
                    f"audit {name!r} is off by {copies.residual[b, q]:g} under {kind} actions at tick {copies.world.t[b]}: 0 is due"
                )


def check_clipping(trial: Trial) -> None:
    """A value outside its column does what the nearest bound does, one between two choices what the nearer choice does."""
    given, mended = trial.start(COPIES), trial.start(COPIES)
    low, high, whole = action_bounds([view.group for view in given.groups.values()], given.action.shape[2])
    generator = np.random.default_rng(SEED)
    for _ in range(STEPS):
        action = drawn(given, generator, hostile=True)
        clipped = np.clip(action, low, high)
        given.step(action)
        mended.step(np.where(whole, np.floor(clipped + 0.5), clipped))
        text = difference(given, mended)
        if text:
            raise trial.refuse(f"an action outside its columns differs from the nearest one inside: {text}")


def check_masks(trial: Trial) -> None:
    """Whoever acts has a legal choice in every Discrete column, and an illegal choice does what the lowest legal one does."""
    given, mended = trial.start(COPIES), trial.start(COPIES)
    generator = np.random.default_rng(SEED)
    for _ in range(STEPS):
        action = drawn(given, generator)
        legal_one = action.copy()
        for name, a, u, legal in _choices(given):
            if (given.alive[:, a] & ~legal.any(1)).any():
                raise trial.refuse(f"the mask leaves {given.agents[a]} no legal choice in column {name!r}")
            chosen = action[:, a, u].astype(np.int64)
            legal_one[:, a, u] = np.where(legal[np.arange(len(legal)), chosen] | ~legal.any(1), chosen, legal.argmax(1))
        given.step(action)
        mended.step(legal_one)
        text = difference(given, mended)
        if text:
            raise trial.refuse(f"an illegal choice differs from the lowest legal one: {text}")


def _choices(copies: VectorGame) -> Iterator[tuple[str, int, int, Array]]:
    """(column, agent's row, action column, legal [B, k]) of all Discrete columns."""
    for view in copies.groups.values():
        for a in range(view.group.lo, view.group.hi):
            begin = 0
            for u, (name, column) in enumerate(view.group.action.items()):
                if isinstance(column, Discrete):
                    yield name, a, u, copies.action_mask[:, a, begin : begin + column.k]
                    begin += column.k


def check_goal(trial: Trial) -> None:
    """What a declared goal says of the observations after a tick is what the tick paid, and whether it ended the game."""
    copies = trial.start(COPIES)
    for role, goal in (trial.game.goal(trial.params) if trial.game.goal else {}).items():
        if role not in copies.groups:
            raise trial.refuse(f"goal of {role!r}: roles are {', '.join(copies.groups)}")
        group = copies.groups[role].group
        aims = goal.aims(group, trial.params)
        for before in played(copies, STEPS):
            rows, own = group.cut(copies.final_obs), before[:, group.lo : group.hi]
            reward, over = aims.outcome(rows[own][:, aims.achieved], rows[own][:, aims.desired])
            if not np.array_equal(np.asarray(reward, np.float32), copies.reward[:, group.lo : group.hi][own]):
                raise trial.refuse(f"the goal of {role} pays something else than the tick did")
            ended = np.broadcast_to((copies.status == TERMINATED)[:, None], own.shape)[own] & aims.ends
            if not np.array_equal(over, ended):
                raise trial.refuse(f"the goal of {role} and the tick do not agree on whether the game is over")


def check_params(trial: Trial) -> None:
    """Every number has a finite range, and what is outside it, NaN, or no such name is refused."""
    kinds = get_type_hints(trial.game.params)
    for f in fields(trial.game.params):  # type: ignore[arg-type]
        limits = f.metadata.get("limits")
        if limits is None:
            raise trial.refuse(f"parameter {f.name!r} is not declared by param, choice or text")
        for value in _illegal(trial, f.name, kinds[f.name], limits, f.default):
            _is_refused(trial, f.name, value)
    _is_refused(trial, "no_such_parameter", 0)


def _illegal(trial: Trial, name: str, kind: Any, limits: Limits, default: Any) -> list[Any]:
    """Values outside the limits. An infinite end is legal where it is the default: it means that there is no such limit."""
    if limits.options:
        return ["no such option"]
    if kind is str:
        return [0]
    if kind is bool:
        return [2]
    ends = [end for end in (limits.low, limits.high) if not (np.isinf(end) and end == default)]
    if not np.isfinite(ends).all():
        raise trial.refuse(f"parameter {name!r} has the range [{limits.low:g}, {limits.high:g}]: finite ends are expected")
    beyond = [end + (-1 if end == limits.low else 1) * max(1.0, abs(end)) for end in ends]
    return [float("nan"), *(int(x) if kind is int else x for x in beyond)]


def _is_refused(trial: Trial, name: str, value: Any) -> None:
    try:
        trial.game.make_params(**{name: value})
    except UserError:
        return
    raise trial.refuse(f"parameter {name} = {value!r} is accepted: it is illegal")
