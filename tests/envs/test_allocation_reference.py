"""What scores 1 on the cluster is above doing nothing and drawn actions, and no constant beats it; columns spread where values matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import envs
from curricula import load
from marl.game import Column
from marl.score import RESOLVED
from marl.vector import VectorGame

COPIES = 48
STAGES = {stage.name: stage for stage in load("resource_allocation").stages}
BURSTS: dict[str, Any] = {
    "n_agents": 16, "nodes": "8 8 16 4", "demand": "1 1 1 / 2 4 0 / 4 2 2", "load": 0.85, "burst": 3.0, "outage": 0.005,
}  # fmt: skip
BIDDERS: dict[str, dict[str, Any]] = {"defaults": {}, "a load of 1": {"preset": "bidding"}, "bursts": BURSTS, "cloud": {"preset": "cloud"}}
Strategy = Callable[[VectorGame, Any], Any]
"""(game, what the reference does [B, U]) -> what the seat does [B, U]."""


def paid(settings: Mapping[str, Any], role: str = "tenant", strategy: Strategy | None = None, copies: int = COPIES) -> Any:
    """Returns [B] of the first agent of a role that plays a strategy, all others the reference, on the same draws."""
    game = envs.make("cluster", copies, **settings)
    game.reset(3)
    act = game.game.baselines[game.game.reference(game.params)]  # type: ignore[misc]
    seat, total = game.groups[role].group, np.zeros(copies)
    for _ in range(game.params.horizon):  # type: ignore[attr-defined]
        for view in game.groups.values():
            rows = act(game.params, np.ascontiguousarray(view.obs).reshape(-1, view.group.width), np.random.default_rng(0))
            view.group.cut_action(game.action)[:] = rows.reshape(copies, view.group.n, -1)
        if strategy is not None:
            own = game.action[:, seat.lo, : seat.action_width]
            own[:] = strategy(game, own)
        game.tick()
        total += game.reward[:, seat.lo]
    return total


def beyond(ours: Any, theirs: Any) -> float:
    """By how many standard errors the first returns [B] are above the second, paired."""
    gap = ours - theirs
    return float(gap.mean() / (gap.std(ddof=1) / len(gap) ** 0.5))


def spread(column: Any, share: Any) -> Any:
    """Values at shares of a column's range, on its scale."""
    assert isinstance(column, Column)
    if column.scale == "log":
        return column.low * (column.high / column.low) ** share
    return column.low + (column.high - column.low) * share


def drawn(role: str, seed: int = 5) -> Strategy:
    """Actions uniform over the columns on their scales."""
    generator = np.random.default_rng(seed)

    def act(game: VectorGame, own: Any) -> Any:
        shares = generator.random(own.shape).T
        return np.array([spread(c, u) for c, u in zip(game.groups[role].group.action.values(), shares)]).T

    return act


def held_at(column: int, value: float) -> Strategy:
    """As the reference, with one column at a value."""

    def act(game: VectorGame, own: Any) -> Any:
        changed = own.copy()
        changed[:, column] = value
        return changed

    return act


def idle(game: VectorGame, own: Any) -> Any:
    return game.game.baselines["idle"](game.params, game.obs[:, 0], np.random.default_rng(0))


@pytest.mark.parametrize("setting", BIDDERS)
def test_the_reference_is_above_the_naive_and_no_constant_bid_beats_it(setting: str) -> None:
    settings = BIDDERS[setting]
    best = paid(settings)
    assert beyond(best, paid(settings, strategy=drawn("tenant"))) > RESOLVED
    assert beyond(best, paid(settings, strategy=idle)) > RESOLVED
    bid = list(envs.make("cluster", 1, **settings).groups["tenant"].group.action).index("bid")
    for value in np.geomspace(1e-3, 1.0, 7):
        assert beyond(paid(settings, strategy=held_at(bid, value)), best) < RESOLVED, value


@pytest.mark.parametrize("column", ["request_0", "request_1", "bid", "defer"])
def test_values_that_matter_cover_the_range(column: str) -> None:
    """Within a quarter of the gap of the best lie a fifth of the values at least, and less than half lie where nothing changes."""
    action = envs.make("cluster", 1).groups["tenant"].group.action
    place, points = list(action).index(column), np.linspace(0.0, 1.0, 13)
    found = np.array([paid({}, strategy=held_at(place, spread(action[column], u))).mean() for u in points])
    gap = found.max() - paid({}, strategy=drawn("tenant")).mean()
    assert (found >= found.max() - gap / 4).mean() >= 0.2
    assert (np.abs(np.diff(found)) < 0.02 * gap).mean() <= 0.5


def test_the_arbiter_of_the_reference_is_above_the_naive() -> None:
    """Who waited longest over its work comes first: better for all than equal or drawn weights where deadlines are near."""
    settings = {"mechanism": "arbiter", "load": 1.0, "slack": 4.0}
    best = paid(settings, "arbiter")
    alike = paid(settings, "arbiter", lambda game, own: np.ones(own.shape))
    assert beyond(best, alike) > RESOLVED and beyond(best, paid(settings, "arbiter", drawn("arbiter"))) > RESOLVED
