"""Levels of scripted policies, found by playing the rules themselves: every candidate meets the same draws, in copies of its own.

In networks whose nodes have nothing to do with each other (all buy from an outside without limit) each node gets the candidate that is
best for it; elsewhere all get the one with the least cost of the network and then, level by level, each node what is best for its own
reward. Traces are searched in their training part.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from envs.supply_chain.params import SupplyChainParams
from marl import cache, driver, notice
from marl.game import F4, F8

COPIES, TICKS, TRIED = 16, 100, 7
"""Episodes of each candidate, and their longest horizon; of a trace one episode of all its days. Candidates of a level of the network."""

Act = Callable[[SupplyChainParams, F4, F8], F8]
"""(params, obs [N, O], parameters of each row's policy [N, D]) -> actions [N, U]."""


def setting(p: SupplyChainParams) -> SupplyChainParams:
    """What candidates play: episodes of bounded length, of a trace its training days once."""
    if p.demand == "trace":
        train = replace(p, split="train")
        return replace(train, horizon=train.replay_days, warm_up=0)
    horizon = min(p.horizon, max(TICKS, p.warm_up + TICKS))
    return replace(p, horizon=horizon, warm_up=min(p.warm_up, horizon // 2))


def costs(p: SupplyChainParams, candidates: F8, act: Act) -> F8:
    """Mean cost of a tick of each candidate [K, D] (or [K, N, D], by node) at each node, [K, N]."""
    from marl.vector import VectorGame

    played = setting(p)
    game = _game(p)
    first = VectorGame(game, 1 if p.demand == "trace" else COPIES, played)
    first.reset(0)
    copies = first.fork(np.tile(np.arange(first.n_envs), len(candidates)))
    each = candidates if candidates.ndim == 3 else np.repeat(candidates[:, None], p.n_agents, axis=1)
    rows = np.repeat(each, first.n_envs, axis=0).reshape(-1, each.shape[2])
    view = copies.groups["node"]
    notice.at(f"searching levels of a network of {p.n_agents} nodes, {len(candidates)} candidates")
    for tick in range(played.horizon):
        notice.count("tick", tick, played.horizon)
        obs = np.ascontiguousarray(view.obs).reshape(-1, view.group.width)
        copies.action[:] = act(played, obs, rows).reshape(copies.action.shape)
        copies.tick()
    found = copies.metrics[:, :, copies.metric_names.index("cost")]
    return np.asarray(found.reshape(len(candidates), first.n_envs, p.n_agents).mean(1))


def once(p: SupplyChainParams, act: Act, candidates: F8, search: Callable[[], F8]) -> F8:
    """What a search for the policy `act` finds among candidates: searched once for these parameters, whoever asks and when.

    It is kept under all that it depends on: rules, sources of this package, versions, machine, parameters and what they read of files.
    """
    played = setting(p)
    game = _game(p)
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    numbers = [np.asarray(value) for value in (*played.numbers().values(), *p.numbers().values(), candidates)]
    key = [driver.fingerprint(game, driver.source(game)).encode(), sources, repr((p, played, act.__name__, platform.machine())).encode()]
    found = cache.remembered(act.__name__.strip("_"), b"".join([*key, *(value.tobytes() for value in numbers)]), search)
    return np.asarray(found, np.float64)


def _game(p: SupplyChainParams) -> Any:
    from envs.supply_chain import SUPPLY_CHAINS

    return next(g for g in SUPPLY_CHAINS if g.params is type(p))


def apart(p: SupplyChainParams) -> bool:
    """Whether no node's cost depends on another's orders."""
    return p.topology == "parallel" and p.supply_high == 0 and p.cooperation == 0


def best(p: SupplyChainParams, candidates: F8, act: Act) -> F8:
    """Parameters [N, D] of each node's policy."""
    found = costs(p, candidates, act)
    if not apart(p):
        found = np.repeat(found.sum(1, keepdims=True), p.n_agents, axis=1)
    chosen = found.argmin(0)
    return np.asarray(candidates[chosen, np.arange(p.n_agents)] if candidates.ndim == 3 else candidates[chosen])


def by_level(p: SupplyChainParams, act: Act, values: F8, passes: int = 2) -> Any:
    """One parameter a node [N]: first the same for all, then level by level from the customers up, so many times.

    A node gets what is best for itself beside what other levels have: an equilibrium, in which none gains by another parameter. Passes
    after the first are by reward, so that at `cooperation` 1 all move together from there to where the network's cost is least.
    """
    found = best(p, values[:, None], act)
    depth = p.layout.depth
    if apart(p) or depth.max() == 0:
        return found[:, 0]
    step = np.diff(values).mean()
    for turn in range(passes):
        shared = p.cooperation if turn else 0.0
        for level in range(int(depth.max()) + 1):
            at = depth == level
            tried = np.repeat(found[None], TRIED, axis=0)
            tried[:, at, 0] += step * np.linspace(-(TRIED // 2), TRIED // 2, TRIED)[:, None]
            paid = costs(p, tried, act)
            paid = (1 - shared) * paid + shared * paid.mean(1, keepdims=True)
            found[at] = tried[paid.argmin(0), np.arange(p.n_agents)][at]
        step /= 2
    return found[:, 0]
