"""Mode advertising: what is conserved, what the law says, what is hidden, how wide the views are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import envs
from envs.auction import MARKET, theory
from envs.auction.fitting import fitted_moves
from envs.auction.params import UNLIMITED
from envs.auction.pilot import best_fixed_regret
from envs.auction.rewards import NAMED
from marl import UserError, VectorGame
from marl.trial import drawn
from tests.envs.market_oracle import Tick

SMALL: dict[str, Any] = {"mode": "advertising", "n_agents": 4, "auctions_per_tick": 40, "ticks_per_day": 4, "horizon": 12, "budget": 40.0}
RICH: dict[str, Any] = {
    **SMALL,
    "slots": 3,
    "format": "gsp",
    "journeys": True,
    "delay": 1.0,
    "window": 2.0,
    "fatigue": 5.0,
    "sale_rate": 0.5,
}
HOSTILE: list[dict[str, Any]] = [
    {**RICH, "attribution": "linear", "identity": 0.5, "tracking": 0.8, "feedback": "full", "drift": 0.3, "shift_rate": 0.5,
     "pacing": "pid"},
    {**RICH, "format": "vcg", "pricing": "cpc", "attribution": "shapley", "selector": "linucb", "quality_power": 1.0, "pacing": "dual"},
    {**RICH, "format": "first", "pricing": "cpa", "attribution": "position", "selector": "ucb1", "pacing": "throttle",
     "outcomes": "expected"},
    {**RICH, "format": "all_pay", "actions": "segment", "attribution": "time_decay", "selector": "eps_greedy", "delay_law": "weibull"},
    {**RICH, "actions": "hybrid", "users": "cohort", "cohort": 60, "slots": 10, "pricing": "cpc", "segments": 10, "channels": 2},
    {**RICH, "actions": "campaign", "creatives": 6, "segments": 6, "day_cap": 3.0, "pay": "weighted", "risk_adjusted": True, "cpa_low": 5.0,
     "cpa_high": 20.0, "team_share": 0.5},
    {**RICH, "format": "second", "slots": 1, "soft_floor": 0.01, "reserve": 0.001, "budget": 0.05, "selector": "uniform", "day_cap": 0.02},
]  # fmt: skip


def at(game: VectorGame, name: str) -> Any:
    return game.metrics[:, :, game.metric_names.index(name)]


def own(game: VectorGame, name: str) -> Any:
    from envs.auction.state import OWN

    return game.world.own[:, :, OWN.index(name)]


def episode(game: VectorGame, action: Any = 1.0, seed: int = 0) -> VectorGame:
    """One episode with an action that stays."""
    game.reset(seed)
    for _ in range(game.params.horizon):  # type: ignore[attr-defined]
        game.action[:] = action
        game.tick()
        assert not game.residual.any()
    return game


@pytest.mark.parametrize("settings", HOSTILE, ids=[f"{s['format']}-{s.get('actions', 'multiplier')}" for s in HOSTILE])
def test_money_users_and_conversions_add_up_under_hostile_actions(settings: dict[str, Any]) -> None:
    game = envs.make("auction", 8, **settings)
    generator, weight = np.random.default_rng(0), np.array(list(game.weights.values()))
    game.reset(1)
    conversions = 0.0
    for t in range(30):
        game.step(drawn(game, generator, hostile=t % 2 == 0))
        assert not game.residual.any(), game.residual
        assert np.isfinite(game.obs).all() and np.isfinite(game.components).all() and np.isfinite(game.metrics).all()
        assert game.reward == pytest.approx((game.components * weight).sum(2), rel=1e-5, abs=1e-6)
        assert (own(game, "left") >= 0).all()
        conversions += own(game, "tick_drawn").sum()
    assert conversions > 0
    table = game.groups["advertiser"].group.observation
    for i, column in enumerate(table.values()):
        assert (game.obs[..., i] >= column.low - 1e-6).all() and (game.obs[..., i] <= column.high + 1e-6).all(), list(table)[i]


def test_a_lone_bidder_pays_the_reserve_and_nobody_wins_everything() -> None:
    alone = {**SMALL, "n_agents": 1, "budget": 1e6, "reserve": 0.002, "format": "second", "creatives": 1}
    game = episode(envs.make("auction", 4, **alone))
    shown = game.metrics[:, 0, game.metric_names.index("position_1")]
    assert (shown == 1).all() and at(game, "win_rate").min() > 0.9
    assert at(game, "spend")[:, 0] == pytest.approx(0.002 * at(game, "win_rate")[:, 0] * 12 * 40, rel=1e-6)
    crowd = episode(envs.make("auction", 4, **{**SMALL, "budget": 1e6, "n_agents": 8}))
    assert at(crowd, "win_rate").max() < 0.9


SYMMETRIC: dict[str, Any] = {
    "sale_value_spread": 0.0, "sale_spread": 0.0, "click_low": 0.04, "click_high": 0.04, "creatives": 1, "segments": 1, "channels": 1,
}  # fmt: skip


@pytest.mark.parametrize("format", ["first", "gsp", "vcg"])
def test_symmetric_bidders_win_slots_over_n(format: str) -> None:
    game = envs.make("auction", 32, **{**SMALL, **SYMMETRIC, "budget": 1e6, "n_agents": 6, "slots": 2, "format": format})
    share = at(episode(game), "win_rate").mean(0)
    assert np.abs(share - 2 / 6).max() < 4.5 * np.sqrt(2 / 9 / (32 * 480))


def test_spend_of_truthful_second_price_is_the_order_statistics() -> None:
    """Relevance and estimates are lognormal: what a symmetric truthful bidder spends is the second highest estimate's mean over n."""
    sigma, noise, n = 0.5, 0.2, 5
    settings = {**SMALL, **SYMMETRIC, "budget": 1e6, "n_agents": n, "format": "second", "sigma": sigma, "correlation": 0.0}
    game = episode(envs.make("auction", 64, **settings, estimate_noise=noise))
    g = np.random.default_rng(0)
    seen = np.exp(g.normal(-(sigma**2) / 2, sigma, (200_000, n)) + g.normal(-(noise**2) / 2, noise, (200_000, n)))
    second = np.sort(seen, 1)[:, -2].mean() * 0.04 * 0.05 * 20.0 * game.params.land.channel[0]  # type: ignore[attr-defined]
    assert at(game, "spend").mean() * n == pytest.approx(480 * second, rel=0.01)


def test_conversions_are_seen_after_their_delay() -> None:
    """Chapelle 2014: of conversions drawn on the first day, the share seen by an age is 1 - exp(-age/mean); later ones never come."""
    base = {**SMALL, "ticks_per_day": 2, "horizon": 28, "auctions_per_tick": 3_000, "budget": 1e7, "click_low": 0.5, "click_high": 0.5}
    for law, shape in (("exponential", 1.0), ("weibull", 0.7)):
        game = envs.make("auction", 2, **base, sale_rate=0.5, delay=3.0, window=7.0, delay_law=law, delay_shape=0.7)
        game.reset(0)
        first = seen = 0.0
        for t in range(28):
            game.action[:] = 1.0 if t == 0 else 0.1
            if t == 0:
                game.tick()
                first, clicks = own(game, "drawn").sum(), own(game, "clicks").sum()
                assert clicks > 2_000
                expired = own(game, "expired").sum() / first
                assert expired == pytest.approx(1 - theory.seen_by(7.5, 3.0, shape), abs=0.02)
                seen = own(game, "seen").sum() / first
                assert seen == pytest.approx(theory.seen_by(0.5, 3.0, shape), abs=0.02)


def test_shaping_is_potential_based() -> None:
    """Discounted over an episode two shaping terms vanish and one is the budget, so that they move no optimum; raw ones do."""
    for shaping in ("potential", "raw"):
        game = envs.make("auction", 4, **{**RICH, "shaping": shaping, "discount": 0.9})
        game.reset(0)
        generator, total = np.random.default_rng(0), np.zeros((4, 4, 3))
        at = [list(game.weights).index(name) for name in ("pending", "fresh", "unspent")]
        for t in range(12):
            game.step(drawn(game, generator))
            total += 0.9**t * game.components[:, :, at]
        total[:, :, 2] += game.params.purses() / game.params.coin  # type: ignore[attr-defined]
        assert (np.abs(total).max() < 1e-9) == (shaping == "potential")


def test_named_rewards_have_their_weights() -> None:
    weighted = envs.make("auction", 1, **RICH, pay="weighted").weights
    assert {k: w for k, w in weighted.items() if w} == {
        "roas": 1.0, "ctr": 0.3, "conversion": 0.5, "safety": 0.8, "efficiency": 0.4, "exploration": 0.1, "diversity": 0.15,
        "violations": -2.0,
    }  # fmt: skip
    four = envs.make("auction", 1, **RICH, pay="four_part").weights
    assert {k: w for k, w in four.items() if w} == {"placement": 1.0, "attributed": 1.0, "pending": 1.0, "fresh": 0.1}
    assert {k: w for k, w in envs.make("auction", 1, **RICH).weights.items() if w} == {"profit": 1.0}
    aimed = {"target_cpa": {"cpa_low": 1.0, "cpa_high": 1.0}, "target_roas": {"roas_target": 1.0}}
    for pay, target in aimed.items():
        assert {k: w for k, w in envs.make("auction", 1, **RICH, pay=pay, **target).weights.items() if w} == {"target": 1.0}
    assert set(NAMED) == {"profit", "attributed", "weighted", "four_part", *aimed}


def test_a_conversions_money_enters_once() -> None:
    """pay = attributed: cost and tracked conversions; with all touches tracked that is profit."""
    one, two = (envs.make("auction", 4, **{**RICH, "pay": pay}) for pay in ("profit", "attributed"))
    for game in (one, two):
        game.reset(0)
    for _ in range(12):
        for game in (one, two):
            game.action[:] = 1.0
            game.tick()
        assert two.reward == pytest.approx(one.reward, abs=1e-5)


def test_attributed_value_is_that_of_conversions_with_a_tracked_touch() -> None:
    for settings in ({"tracking": 1.0, "identity": 1.0}, {"tracking": 0.0}, {"tracking": 0.5, "identity": 0.3}):
        game = envs.make("auction", 8, **{**RICH, **settings, "budget": 1e5, "push": 0.5, "auctions_per_tick": 400, "click_high": 0.3})
        game.reset(0)
        for _ in range(11):
            game.action[:] = 1.0
            game.tick()
        seen, tracked = own(game, "seen").sum(), own(game, "tracked").sum()
        assert seen > 0
        assert tracked == {1.0: seen, 0.0: 0, 0.5: tracked}[settings["tracking"]] and 0 <= tracked <= seen
        if settings["tracking"] == 0.5:
            assert 0.25 * seen < tracked < 0.95 * seen and seen > 200


def test_widths_of_the_wide_views() -> None:
    for preset, width, acts in (("campaign", 128, 7), ("journey", 256, 4)):
        game = MARKET.make_params(**envs.game("auction").presets[preset])
        (role,) = MARKET.roles(game)
        assert len(role.observation) == width and len(role.action) == acts
    assert 1 + role.mask_width == 64  # bid, 50 creatives, 3 channels, 10 segments
    (train,) = MARKET.roles(MARKET.make_params(**envs.game("auction").presets["train"]))
    assert len(train.observation) == 31 + 6 + 10


def test_feedback_adds_columns() -> None:
    widths = {
        f: len(MARKET.roles(MARKET.make_params(**SMALL, feedback=f))[0].observation) for f in ("winner", "aggregate", "min_to_win", "full")
    }
    least = widths["winner"]
    assert widths == {"winner": least, "aggregate": least + 2, "min_to_win": least + 1, "full": least + 4}


def test_state_is_small() -> None:
    """A copy of 48 bidders with pooled journeys takes under 64 KiB, an individual under 256 bytes."""
    crowd = {**RICH, "n_agents": 48, "ticks_per_day": 48, "horizon": 48, "window": 1.0}
    fields = ("user", "stage", "path", "lifetime")
    pooled, cohort = envs.make("auction", 1, **crowd), envs.make("auction", 1, **crowd, users="cohort", cohort=1_000)
    size = {name: array.nbytes for name, array in pooled.world._asdict().items()}
    print(f"48 bidders, pooled journeys: {sum(size.values()) / 1024:.1f} KiB a copy", dict(sorted(size.items(), key=lambda x: -x[1])[:6]))
    people = sum(getattr(cohort.world, name).nbytes for name in fields) / 1_000
    print(f"cohort: {people:.0f} bytes a user")
    assert sum(size.values()) < 64 * 1024 and people < 256


def test_budget_tightness_is_relative_to_truthful_spend() -> None:
    loose = envs.make("auction", 8, **{**SMALL, "budget": float("inf"), "budget_tightness": 5.0})
    spend = at(episode(loose), "spend").mean()
    assert loose.params.purse / 1e6 == pytest.approx(5 * spend, rel=0.15)  # type: ignore[attr-defined]
    tight = envs.make("auction", 8, **{**SMALL, "budget": float("inf"), "budget_tightness": 0.3})
    assert at(episode(tight), "budget_use").mean() > 0.9
    assert envs.make("auction", 1, **{**SMALL, "budget": float("inf"), "n_agents": 1}).params.purse <= UNLIMITED  # type: ignore[attr-defined]


def test_thompson_finds_the_better_creative() -> None:
    """Exposures go to creatives by what they are clicked: allocation regret is lower than with a creative drawn at random."""
    base = {
        **SMALL,
        "auctions_per_tick": 400,
        "horizon": 40,
        "click_low": 0.05,
        "click_high": 0.5,
        "budget": 1e6,
        "creatives": 4,
        "segments": 1,
    }
    regret = {
        s: at(episode(envs.make("auction", 8, **base, selector=s)), "regret_allocation").mean() for s in ("uniform", "thompson", "ucb1")
    }
    print("allocation regret", {k: round(float(v), 4) for k, v in regret.items()})
    assert regret["thompson"] < 0.5 * regret["uniform"] and regret["ucb1"] < 0.9 * regret["uniform"]


@pytest.mark.parametrize("layer", ["throttle", "pid", "dual"])
def test_pacing_layers_make_budgets_last(layer: str) -> None:
    base = {**SMALL, "ticks_per_day": 48, "horizon": 48, "auctions_per_tick": 100, "budget": float("inf"), "budget_tightness": 0.4}
    none, paced = (episode(envs.make("auction", 16, **base, pacing=kind, pacing_step=0.3)) for kind in ("none", layer))
    print(f"{layer}: pacing rmse {at(paced, 'pacing_rmse').mean():.3f} against {at(none, 'pacing_rmse').mean():.3f}")
    assert at(paced, "pacing_rmse").mean() < 0.6 * at(none, "pacing_rmse").mean()
    assert at(paced, "exhaustion").mean() > at(none, "exhaustion").mean()


def test_a_cohort_stays_across_episodes_if_asked() -> None:
    base = {**RICH, "users": "cohort", "cohort": 50, "push": 0.5, "budget": 1e4}
    for persist in (False, True):
        game = episode(envs.make("auction", 4, **base, persist=persist))
        assert (game.world.user[:, :, 2].sum() > 0) == persist
        assert (game.world.pool[:, :, :, 1:].sum() > 0) == persist


@pytest.mark.parametrize("format", ["first", "gsp", "vcg"])
def test_auctions_of_a_tick_equal_their_twin(format: str) -> None:
    """Wins, exposures by position, clicks and spend (within a rounding of single precision a purchase) on the same draws."""
    base = {**SMALL, "creatives": 1, "slots": 3, "exposure": "1 .8 .6", "n_agents": 6, "horizon": 3, "quality_power": 0.5, "reserve": 0.001}
    for seed, budget in ((0, 1e6), (1, 0.2), (2, 0.5)):
        game = envs.make("auction", 1, **{**base, "format": format, "budget": budget})
        game.reset(seed)
        generator = np.random.default_rng(seed)
        for t in range(3):
            left = own(game, "left")[0].tolist()
            multipliers = generator.uniform(0.3, 1.5, 6)
            game.action[0, :, 0] = multipliers
            if t == 2:
                break  # the end of the episode clears the state
            game.tick()
            twin = Tick(game.params, int(game.world.key[0]), t, multipliers, left)
            assert own(game, "tick_wins")[0].tolist() == twin.wins
            assert own(game, "tick_clicks")[0].tolist() == twin.clicks
            sold = np.array(twin.place).sum(1)
            assert own(game, "tick_shown")[0].tolist() == sold.tolist()
            assert np.abs(own(game, "tick_spent")[0] - np.array(twin.spent)).max() <= 3 + sold.max() * 0.01 * 1e6 * 2e-7 * 50


def test_stage_transitions_are_fitted_to_planted_paths() -> None:
    g, n = np.random.default_rng(0), 60_000
    stage, event, u = g.integers(0, 5, n), g.integers(0, 3, n), g.random(n)
    on = ((event == 1) & (stage < 2) & (u < 0.12)) | ((event == 2) & (stage < 3) & (u < 0.55))
    back = (event == 0) & (stage > 0) & (u < 0.07)
    after = np.where(on, stage + 1, np.where(back, np.where(stage == 4, 0, stage - 1), stage))
    found = fitted_moves(stage, event, np.where(stage == 4, after, np.minimum(after, 4)))
    assert np.abs(np.array([found.push - 0.12, found.push_click - 0.55, found.fade - 0.07]) / found.error).max() < 4
    with pytest.raises(UserError, match="fit of push_click"):
        fitted_moves(stage, np.minimum(event, 1), stage)


def test_regret_against_the_best_fixed_multiplier_on_the_same_draws() -> None:
    p = MARKET.make_params(**SMALL)
    played, scales = np.full((12, 4, 1), 0.3), np.array([0.3, 0.6, 1.0])
    best, regret = best_fixed_regret(p, played, 0, scales, 5)  # type: ignore[arg-type]
    assert regret >= -1e-9 and best in scales
    _, none = best_fixed_regret(p, played, 0, np.array([0.3]), 5)  # type: ignore[arg-type]
    assert none == pytest.approx(0, abs=1e-9)
