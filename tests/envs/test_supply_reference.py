"""What scores of the supply chain stand on: orders that can be learned, a reference that no constant beats, a ladder with resolved gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envs
from curricula import load
from marl.game import F8

RESOLVED = 5.0
"""Standard errors."""


def earned(agent: int | None, tried: list[float | str], copies: int, seed: int = 7, **settings: Any) -> F8:
    """Returns [K, copies, A] on common draws: the agent (None: everybody) orders as tried, a constant or a baseline's name, the others by
    the reference. "random" draws each order."""
    first = envs.make("supply_chain", copies, **settings)
    first.reset(seed)
    game, p, generator = first.game, first.params, np.random.default_rng(0)
    assert game.reference is not None
    others = game.baselines[game.reference(p)]
    played = first.fork(np.tile(np.arange(copies), len(tried)))
    view, (low, high) = played.groups["node"], _ends(first)
    who = slice(None) if agent is None else slice(agent, agent + 1)
    total = np.zeros((len(tried), copies, first.n_agents))
    for _ in range(p.horizon):  # type: ignore[attr-defined]
        rows = np.ascontiguousarray(view.obs).reshape(-1, view.group.width)
        action = others(p, rows, generator).reshape(len(tried), copies, first.n_agents, -1)
        for k, one in enumerate(tried):
            if one == "random":
                action[k, :, who] = generator.uniform(low, high, action[k, :, who].shape)
            elif isinstance(one, str):
                own = view.obs.reshape(len(tried), copies, first.n_agents, -1)[k].reshape(-1, view.group.width)
                action[k, :, who] = game.baselines[one](p, own, generator).reshape(copies, first.n_agents, -1)[:, who]
            else:
                action[k, :, who, : p.products] = one  # type: ignore[attr-defined]
        played.action[:] = action.reshape(played.action.shape)
        played.tick()
        total += played.reward.reshape(total.shape)
    return total


def _ends(game: Any) -> tuple[F8, F8]:
    columns = game.groups["node"].group.action.values()
    return np.array([c.low for c in columns]), np.array([c.high for c in columns])


def errors_of(gap: F8) -> float:
    """Mean over its standard error."""
    return float(gap.mean() / (gap.std(ddof=1) / len(gap) ** 0.5))


def test_orders_of_the_default_game_are_a_hill_that_is_wide_enough() -> None:
    """Along a node's orders: a fifth of the range within a quarter of the gap to the naive policy, the worst end within a few times it,
    and no constant above the reference by five standard errors."""
    low, high = (float(x[0]) for x in _ends(envs.make("supply_chain", 1)))
    levels = np.linspace(low, high, 25).tolist()
    found = earned(0, ["base_stock", "pass_through", *levels], 48)[..., 0]
    reference, naive, curve = found[0], found[1], found[2:]
    gap = float((reference - naive).mean())
    top = max(float(reference.mean()), float(curve.mean(1).max()))
    assert (curve.mean(1) > top - gap / 4).mean() >= 0.2
    assert curve.mean(1).min() > 3 * reference.mean()
    best = curve[curve.mean(1).argmax()]
    assert not (best != reference).any() or errors_of(best - reference) < RESOLVED


def test_no_node_of_the_default_game_gains_by_another_level() -> None:
    """Base stock is an equilibrium: none earns more with a constant of its own, half or a whole step of the search away."""
    for node in range(6):
        found = earned(node, ["base_stock", *np.linspace(0.0, 2.0, 9).tolist()], 32, seed=11)[..., node]
        best = found[found.mean(1).argmax()]
        assert not (best != found[0]).any() or errors_of(best - found[0]) < RESOLVED, node


def test_at_full_cooperation_levels_are_those_of_the_network() -> None:
    """With rewards shared by all, one search for all: what the network as a whole loses least by, and no less than an equilibrium does."""
    alone, team = (earned(None, ["base_stock"], 48, cooperation=w)[0].sum(1) for w in (0.0, 1.0))
    assert team.mean() > alone.mean() - 0.02 * abs(alone.mean())


@pytest.mark.slow
@pytest.mark.parametrize("stage", load("supply_chain").stages, ids=lambda s: s.name)
def test_the_reference_of_each_stage_is_above_what_is_naive(stage: Any) -> None:
    """By five standard errors at the stage's episodes: for the first node among the reference, and for all; and no constant beats it."""
    settings, episodes = dict(stage.params), stage.episodes
    for agent in (0, None):
        found = earned(agent, ["base_stock", "pass_through", "random"], episodes, **settings)
        own = found[..., 0] if agent == 0 else found.mean(2)
        for name, other in zip(("pass_through", "random"), own[1:]):
            assert errors_of(own[0] - other) >= RESOLVED, (stage.name, agent, name)
        if agent == 0:
            assert stage.naive == ("pass_through" if own[1].mean() > own[2].mean() else "random")
        print(stage.name, agent, [round(errors_of(own[0] - x), 1) for x in own[1:]], own.mean(1).round(1))
        assert 1e-2 <= -own[0].mean() / settings["horizon"] <= 1e2
    tried = earned(0, ["base_stock", 0.5, 1.0, 1.5, 2.5], episodes // 2, **settings)[..., 0]
    for level in tried[1:]:
        assert not (level != tried[0]).any() or errors_of(level - tried[0]) < RESOLVED
