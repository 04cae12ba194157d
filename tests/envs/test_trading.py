"""The market: what is conserved, what each mechanism does by hand, limits, margin, halts, latency, regimes, bars, no look ahead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from envs.trading import data, strategies, theory
from envs.trading.state import ALL, HELD, LAW, MARK, PART
from marl import VectorGame
from marl.trial import played
from tests.envs.test_trading_answers import act, at, check_mean

QUIET: dict[str, Any] = {
    "mechanism": "impact", "noise": 0.0, "volatility": 0.0, "taker_fee": 0.0, "borrow": 0.0, "assets": 1, "desk": 1, "half_spread": 0.0,
}  # fmt: skip
"""Nothing happens but what agents do."""
ALONE: dict[str, Any] = {"market_makers": 0, "executors": 0, "informed": 0, "momentum": 0}


def mark(game: VectorGame, name: str) -> Any:
    """A whole number of every asset, [B, M]."""
    return game.world.mark[:, :, MARK.index(name)]


def law(game: VectorGame, name: str) -> Any:
    return game.world.law[:, :, LAW.index(name)]


def column(game: VectorGame, name: str, role: str = "market_maker") -> Any:
    """An observation column of a role, [B, n]."""
    view = game.groups[role]
    return view.obs[:, :, list(view.group.observation).index(name)]


def say(game: VectorGame, a: int, bid: float = 5.0, ask: float = 5.0, size: float = 0.0, quantity: float = 0.0) -> None:
    """What agent a does in its first asset in all copies, size and quantity in largest orders; who is no maker has no quotes."""
    taken = [strategies.said(quantity)]
    quoted = [bid, ask, np.cbrt(size)] if a < game.params.market_makers else []  # type: ignore[attr-defined]
    game.action[:, a, : len(quoted) + 1] = quoted + taken


def quiet(**given: Any) -> VectorGame:
    game = envs.make("trading", 1, **{**QUIET, **ALONE, **given})
    game.reset(0)
    game.action[:] = 0.0
    return game


@pytest.mark.parametrize("mechanism", ["impact", "batch", "book"])
@pytest.mark.parametrize("hostile", [False, True])
def test_nothing_is_made_or_lost_and_profits_are_their_parts(mechanism: str, hostile: bool) -> None:
    settings = {"regime": "switching", "crash": 1.0, "jumps": 0.05, "latency": 2, "maker_fee": -0.0001, "horizon": 60, "leverage": 50.0}
    game = envs.make("trading", 24, mechanism=mechanism, market_makers=3, executors=2, portfolios=2, assets=3, cash=30_000.0, **settings)
    game.reset(5)
    ended = 0
    for _ in played(game, 130, hostile):
        assert not game.residual.any()
        assert np.isfinite(game.obs).all()
        if (game.status != 0).any():
            ended += 1
            parts = sum(at(game, f"pnl_{name}") for name in PART)
            assert parts == pytest.approx(at(game, "profit"), abs=1e-6)
            assert np.abs(at(game, "pnl_spread")).max() > 0 and np.abs(at(game, "pnl_impact")).max() > 0
    assert ended == 2


def test_an_order_in_impact_by_hand() -> None:
    """Two lots at 100 $: the temporary impact of two lots is paid, the permanent one moves the price after."""
    game = quiet(momentum=1, permanent=0.001, temporary=0.002, pace=0.0, most=2.0)
    say(game, 0, quantity=1.0)
    game.tick()
    assert game.world.shares[0, 0, 0] == 200
    price = (100_000.0 - game.world.cash[0, 0] / 1e6) / 200
    assert mark(game, "mid")[0, 0] == pytest.approx(100e6 * 1.002, abs=1)
    assert price == pytest.approx(100 * (1 + 0.002 * 2))
    assert game.world.tally[0, 0, PART.index("impact")] == pytest.approx(-0.4 * 200e6, rel=1e-9)
    assert game.world.tally[0, 0, PART.index("inventory")] == pytest.approx(0.2 * 200e6, rel=1e-9)


def test_a_call_has_one_price_between_the_makers_line_and_the_quotes() -> None:
    """A slope of .02 $ a lot: five lots bought cost .10 $ more, but for three lots offered one tick of .05 $ above."""
    for offered, shift in ((0.0, 0.10), (0.4, 0.06), (1.0, 0.05)):
        game = quiet(mechanism="batch", momentum=1, market_makers=1, permanent=0.0, temporary=0.0002, pace=0.0, most=5.0)
        say(game, 0, ask=1.0, size=offered)
        say(game, 1, quantity=1.0)
        game.tick()
        price = (100_000.0 - game.world.cash[0, 1] / 1e6) / 500
        assert price == pytest.approx(100 + shift), offered
        sold = -game.world.shares[0, 0, 0]
        assert sold == {0.0: 0, 0.4: 200, 1.0: 250}[offered]
        assert game.world.cash[0, 0] / 1e6 == pytest.approx(100_000 + sold * price)


def test_a_quote_that_does_not_follow_the_news_is_picked_off() -> None:
    """On the book, the world takes an ask that the public price has risen past, at the price at which it rests."""
    news = {"mechanism": "book", "market_makers": 1, "volatility": 1.0, "news": 1.0, "half_spread": 1.0}
    game = envs.make("trading", 400, **{**QUIET, **ALONE, **news})
    game.reset(0)
    game.action[:] = 0.0
    say(game, 0, bid=0.0, ask=0.0, size=1.0)
    game.tick()
    held, move = game.world.shares[:, 0, 0], (law(game, "anchor")[:, 0] - 100) / 0.05
    assert (held[move > 2] == -500).all() and (held[move < -2] == 500).all() and (held[np.abs(move) < 0.4] == 0).all()
    assert (game.world.tally[:, 0, PART.index("spread")] >= 0).all()
    assert (game.world.tally[:, 0, PART.index("adverse")][held != 0] < 0).all()


def test_what_a_column_of_orders_says() -> None:
    """Nothing up to .4 of either sign, then the cube of the share of the way to 1; `said` is its inverse."""
    for says, lots in ((0.0, 0), (0.4, 0), (-0.39, 0), (0.7, 5 / 8), (-0.7, -5 / 8), (1.0, 5), (-1.0, -5), (0.5, 5 / 216)):
        game = quiet(momentum=1, permanent=0.0, most=5.0, lot=21_600, cash=1e9)
        game.action[:, 0, 0] = says
        game.tick()
        assert game.world.shares[0, 0, 0] == pytest.approx(lots * 21_600, abs=1)
        assert strategies.said(lots / 5) == pytest.approx(says if lots else 0.0)


def test_an_executor_quotes_and_orders_in_the_direction_of_its_parent_order() -> None:
    """Its one offset is that of an ask where it sells, of a bid where it buys; more than is left is never shown."""
    game = envs.make("trading", 64, **{**QUIET, **ALONE, "executors": 1, "mechanism": "book", "half_spread": 2.0, "parent": 3.0})
    game.reset(0)
    before = game.world.shares[:, 0, 0].copy()
    game.action[:, 0, :3] = [1.0, 1.0, strategies.said(0.2)]
    game.tick()
    sells = before > 0
    assert 10 < sells.sum() < 54 and (np.abs(before) == 300).all()
    assert (game.world.shares[:, 0, 0] == np.where(sells, 200, -200)).all()
    bid, ask = (game.world.held[:, 0, 0, HELD.index(f"{side}_size")] for side in ("bid", "ask"))
    assert (bid == np.where(sells, 0, 200)).all() and (ask == np.where(sells, 200, 0)).all()


def test_the_hidden_gap_is_found_in_the_past_of_the_price() -> None:
    """On prices without flow the estimate lies as near to the gap as its weights are to the geometric ones; flow is taken out of it."""
    for noise, least in ((0.0, 0.97), (2.0, 0.9)):
        game = envs.make(
            "trading", 200, **{**QUIET, **ALONE, "momentum": 1, "volatility": 0.2, "noise": noise, "horizon": 100, "news": 0.3}
        )
        game.reset(0)
        game.action[:] = 0.0
        for _ in range(60):
            game.tick()
        p: Any = game.params
        gap = np.log(law(game, "value")[:, 0] * 1e6 / mark(game, "mid")[:, 0]) / p.base_sd
        found = strategies.hidden_gap(p, strategies.Sight(p, game.groups["momentum"].obs[:, 0]))[:, 0]
        assert np.corrcoef(gap, found)[0, 1] > least and np.polyfit(found, gap, 1)[0] == pytest.approx(1.0, abs=0.1)


def test_the_book_is_shown() -> None:
    game = quiet(mechanism="book", market_makers=2, half_spread=2.0, depth=5.0)
    assert column(game, "spread_ticks_of_0").tolist() == [[4, 4]] and column(game, "imbalance_1_of_0").tolist() == [[0, 0]]
    say(game, 0, bid=1.0, size=1.0)
    say(game, 1, bid=1.0, size=0.5)
    game.tick()
    assert column(game, "spread_ticks_of_0")[0, 0] == 3 and column(game, "imbalance_1_of_0")[0, 0] == pytest.approx(250 / 1250)
    queue = column(game, "queue_bid_of_0")[0]
    assert sorted(queue.tolist()) in ([0.0, pytest.approx(2 / 3)], [0.0, pytest.approx(1 / 3)])
    assert column(game, "queue_ask_of_0").tolist() == [[1, 1]]


def test_slow_agents_act_late() -> None:
    game = quiet(momentum=3, latency=2, permanent=0.0)
    for t in range(4):
        for a in range(3):
            say(game, a, quantity=1.0 if t == 0 else 0.0)
        game.tick()
        assert (game.world.shares[0, :3, 0] == [500 if t >= a else 0 for a in range(3)]).all()


def test_limits_of_holdings_and_exposure() -> None:
    game = quiet(momentum=1, limit=12.0, permanent=0.0)
    say(game, 0, quantity=1.0)
    for _ in range(6):
        game.tick()
    assert game.world.shares[0, 0, 0] == 1_200
    game = quiet(momentum=1, leverage=1.0, permanent=0.0, cash=80_000.0)
    say(game, 0, quantity=1.0)
    for _ in range(6):
        game.tick()
    assert game.world.shares[0, 0, 0] == 1_000  # the first order beyond the equity is the last


def test_who_is_called_is_closed_out() -> None:
    """Long at ten times the equity in a falling market: the call sells all, and who is broke trades no more."""
    given: dict[str, Any] = {**QUIET, **ALONE, "momentum": 1, "volatility": 1.5, "leverage": 100.0, "maintenance": 0.05, "cash": 40_000.0}
    game = envs.make("trading", 64, **{**given, "horizon": 400, "most": 10.0, "halt_length": 0})
    game.reset(1)
    say(game, 0, quantity=1.0)
    called = np.zeros(64, bool)
    for _ in range(399):
        game.tick()
        assert not game.residual.any()
        broke = game.cost[:, 0, list(game.game.cost).index("broke")] > 0
        equity = game.world.cash[:, 0] + game.world.shares[:, 0, 0] * mark(game, "mid")[:, 0]
        exposure = game.world.shares[:, 0, 0] * mark(game, "mid")[:, 0]
        assert (game.world.shares[broke, 0, 0] == 0).all()
        assert (equity >= 0.05 * np.abs(exposure) - 1).all() or broke.any()
        called |= game.world.tally[:, 0, 8] > 0
    assert called.any() and not called.all()


def test_a_halt_stops_trading_and_ends() -> None:
    game = quiet(momentum=1, permanent=0.02, halt_move=0.05, halt_length=3, pace=0.0)
    say(game, 0, quantity=1.0)
    held = []
    for _ in range(6):
        game.tick()
        held.append(int(game.world.shares[0, 0, 0]))
    assert held == [500, 500, 500, 500, 1000, 1000] and mark(game, "halts")[0, 0] == 2


def test_executors_are_done_at_the_end() -> None:
    """The parent order is worked off whatever is done; selling evenly in impact costs the formula's."""
    for mechanism in ("impact", "batch", "book"):
        game = envs.make("trading", 16, mechanism=mechanism, executors=3, horizon=20, parent=60.0)
        game.reset(0)
        for _ in played(game, 19):
            assert np.abs(column(game, "parent_left_of_0", "executor")).max() <= 1
        held = np.abs(game.world.shares[:, 1:4]).sum()
        list(played(game, 1))
        assert held > 0 and np.isfinite(at(game, "shortfall_bps")).all()
    settings = {**QUIET, **ALONE, "executors": 1, "horizon": 20, "permanent": 0.0, "temporary": 0.0005, "news": 1.0, "parent": 40.0}
    game = envs.make("trading", 4, **settings)
    game.reset(0)
    for _ in range(20):
        act(game, "twap")
        game.tick()
    assert at(game, "shortfall_bps") == pytest.approx(np.full((4, 1), 1e4 * 0.0005 * 2), rel=1e-3)


def returns(seed: int = 0, copies: int = 400, **given: Any) -> Any:
    """Log returns of the value [T, B, M] where nobody trades."""
    settings = {**ALONE, "momentum": 1, "mechanism": "impact", "assets": 2, "volatility": 0.2, "horizon": 1_000, **given}
    game = envs.make("trading", copies, **settings)
    game.reset(seed)
    game.action[:] = 0.0
    values = [np.log(law(game, "value"))]
    for _ in range(120):
        game.tick()
        values.append(np.log(law(game, "value")))
    return np.diff(values, axis=0)


def test_regimes_have_their_volatility_and_correlation() -> None:
    base = 0.2 * np.sqrt(1 / (252 * 390))
    for regime, times, rho in (("calm", 1.0, 0.3), ("volatile", 2.0, 0.3), ("crisis", 4.0, 0.8)):
        found = returns(regime=regime, spread_of_assets=0.0, correlation=0.3)
        assert found.std() == pytest.approx(times * base, rel=0.01)
        assert np.corrcoef(found.reshape(-1, 2).T)[0, 1] == pytest.approx(rho, abs=0.01)
    spread = returns(spread_of_assets=0.5).std(axis=(0, 1))
    assert spread == pytest.approx([0.5 * base, 1.5 * base], rel=0.02)
    jumps = returns(jumps=0.02, jump_size=8.0, spread_of_assets=0.0)
    assert (np.abs(jumps) > 5 * base).mean() == pytest.approx(0.02, rel=0.05)


def test_a_crisis_breaks_out_at_a_tick_that_is_drawn() -> None:
    game = envs.make("trading", 3_000, **{**QUIET, **ALONE, "momentum": 1, "crash": 0.6, "crash_length": 10, "horizon": 50})
    game.reset(0)
    first, inside = np.full(3_000, -1), np.zeros(3_000)
    for t in range(49):
        game.tick()
        now = game.world.all[:, ALL.index("regime")] == 2
        first[(first < 0) & now] = t
        inside += now
    assert (first >= 0).mean() == pytest.approx(0.6 * 49 / 50, abs=0.03)
    assert np.bincount(first[first >= 0], minlength=49).std() < 12 and inside[(first >= 0) & (first < 35)].max() == 10


def test_switching_visits_all_regimes() -> None:
    game = envs.make("trading", 200, **{**QUIET, **ALONE, "momentum": 1, "regime": "switching", "regime_length": 5.0, "horizon": 200})
    game.reset(0)
    visits = np.zeros(4)
    for _ in range(199):
        game.tick()
        visits += np.bincount(game.world.all[:, ALL.index("regime")], minlength=4)
    assert visits / visits.sum() == pytest.approx(np.full(4, 0.25), abs=0.03)


def test_the_kelly_portfolio_grows_as_theory_says() -> None:
    """Daily rebalancing for a year at the growth-optimal weights: w'mu - w'Sigma w/2; half and twice the weights grow less."""
    copies, grown = 6_000, {}
    for times in (0.5, 1.0, 2.0):
        game = envs.make("trading", copies, preset="portfolio", leverage=100.0)
        game.reset(0)
        p: Any = game.params
        weights = times * theory.kelly_weights(*p.year_moments)
        assert (np.abs(weights) < 2).all()
        if times == 1.0:
            act(game, "kelly")
            assert game.action[0, 0, :3] == pytest.approx(weights, rel=1e-6)
        game.action[:, 0, :3] = weights
        for _ in range(p.horizon):
            game.tick()
        growth = at(game, "growth")[:, 0]
        check_mean(growth, theory.growth(weights, *p.year_moments), beside=5e-4)
        grown[times] = growth.mean()
    assert grown[1.0] > max(grown[0.5], grown[2.0])


def test_the_replay_is_the_file(tmp_path: Path) -> None:
    """Mids follow the closes of the held-out bars where nobody trades; what is bought moves them, and that fades."""
    path = str(tmp_path / "bars.csv")
    data.generate(path, 400, seed=2)
    settings: dict[str, Any] = {
        **QUIET, **ALONE, "momentum": 1, "assets": 2, "source": "bars", "bars": path, "symbols": "MSFT AAPL", "split": "test",
        "minutes": 390.0, "news": 1.0, "pace": 0.1, "horizon": 20, "halt_move": 5.0,
    }  # fmt: skip
    still, moved = (envs.make("trading", 1, **settings) for _ in range(2))
    bars = data.replayed(path, "MSFT AAPL", 2, 0.3, True)
    for game in (still, moved):
        game.reset(0)
        game.action[:] = 0.0
    gaps = []
    for t in range(19):
        say(moved, 0, quantity=1.0 if t == 0 else 0.0)
        still.tick()
        moved.tick()
        assert mark(still, "mid")[0] / 1e6 == pytest.approx(bars.opening * bars.close[t + 1], abs=1e-5)
        gaps.append(mark(moved, "mid")[0, 0] / mark(still, "mid")[0, 0] - 1)
    assert gaps[0] == pytest.approx(0.0001 * 5, rel=0.02) and gaps[10] == pytest.approx(gaps[0] * 0.9**10, rel=0.05)
    starts = envs.make("trading", 50, **{**settings, "split": "train"})
    starts.reset(0)
    assert len(set(starts.world.all[:, ALL.index("offset")].tolist())) > 10


PEEK = """
import sys
import numpy as np
from marl import rng

plain, ALTERED, change = rng.stream_at, 6, int(sys.argv[1])

def altered(s, b, t, purpose):
    return plain(s, b, t, purpose) ^ np.uint64(change if t >= ALTERED else 0)

rng.stream_at = altered
rng.stream = lambda s, b, purpose: altered(s, b, s.t[b], purpose)
rng.uniform = lambda s, b, purpose, i: rng.draw(rng.stream(s, b, purpose), i)
rng.normal = lambda s, b, purpose, i: rng.gaussian(rng.stream(s, b, purpose), i)
import envs

for mechanism in ("impact", "batch", "book"):
    game = envs.make("trading", 1, mechanism=mechanism, regime="switching", regime_length=2.0, crash=0.5, jumps=0.2, horizon=12)
    game.reset(3)
    generator = np.random.default_rng(0)
    for t in range(9):
        game.action[:] = generator.uniform(-1, 5, game.action.shape)
        game.tick()
        print(mechanism, t + 1, game.obs.tobytes().hex())
"""


def test_no_observation_knows_the_future() -> None:
    """With all draws from tick 6 on altered, everything up to the observation before it is the same bit for bit, and then it is not."""
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    said = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PEEK, str(change)], capture_output=True, text=True, check=True, env=env
        ).stdout
        for change in (0, 987_654_321)
    ]
    rows = [[line.split() for line in text.splitlines()] for text in said]
    assert len(rows[0]) == len(rows[1]) == 27
    for (mechanism, t, mine), (_, _, theirs) in zip(*rows):
        assert (mine == theirs) == (int(t) <= 6), (mechanism, t)


def test_a_signal_is_the_informeds_alone_and_tells_the_value() -> None:
    game = envs.make("trading", 500, mechanism="impact", signal_noise=0.0, pace=0.05, news=0.2)
    game.reset(0)
    game.action[:] = 0.0
    for _ in range(5):
        game.tick()
    for role in ("market_maker", "executor", "momentum"):
        assert not column(game, "private_signal_of_0", role).any()
    told = column(game, "private_signal_of_0", "informed")[:, 0]
    m = 2 % game.params.assets  # type: ignore[attr-defined]
    gap = np.log(law(game, "value")[:, m] * 1e6 / mark(game, "mid")[:, m]) / game.params.base_sd  # type: ignore[attr-defined]
    assert told == pytest.approx(gap, rel=1e-4, abs=1e-4) and gap.std() > 0.5


@pytest.mark.parametrize("mechanism", ["impact", "batch", "book"])
def test_a_hundred_and_twenty_eight_agents(mechanism: str) -> None:
    counts = {"market_makers": 32, "executors": 32, "informed": 32, "momentum": 32}
    game = envs.make("trading", 2, mechanism=mechanism, assets=15, desk=3, horizon=30, **counts)
    game.reset(0)
    for _ in played(game, 31):
        assert not game.residual.any()
    assert game.world.held[:, :128, :, HELD.index("order")].any()
