"""Laws of values, what truthful bidders spend under them, and the traffic profile."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from envs.auction.data import traffic_profile
from envs.auction.laws import balancing_multiplier, lognormal_quantiles, truthful_spend, uniform_quantiles
from envs.auction.params import AuctionParams
from marl import UserError

DATA = Path(os.environ.get("MARL_DATA") or Path(__file__).parents[3] / "shared" / "data")


def test_losses_of_the_quantile_table() -> None:
    """What the docstring of `lognormal_quantiles` states."""
    for sigma, lost in ((0.5, 0.0005), (0.87, 0.005), (1.5, 0.085), (3.0, 0.94)):
        table = lognormal_quantiles(2.0, sigma)
        assert table.mean() == pytest.approx(2.0, rel=1e-9)
        assert 1 - table.var() / (4 * (np.exp(sigma**2) - 1)) == pytest.approx(lost, rel=0.1)
        assert 3.7 < (np.log(table[-1] / 2) + sigma**2 / 2) / sigma < 3.9
    assert np.median(lognormal_quantiles(1.0, 0.87)) == pytest.approx(np.exp(-(0.87**2) / 2), rel=1e-3)


@pytest.mark.parametrize("law", ["lognormal", "lognormal_table"])
def test_drawn_values_have_the_law(law: str) -> None:
    """Mean and variance of 5 x 10^5 drawn values: a lone bidder's purchases at a free price are its values."""
    sigma = 0.5
    game = envs.make("auction", 1000, law=law, n_agents=1, horizon=1, auctions_per_tick=500, budget=1e9, sigma=sigma, value_mean=2.0)
    game.reset(0)
    game.step(np.ones((1000, 1, 1)))
    values = game.metrics[:, 0, game.metric_names.index("value")]
    assert abs(values.mean() - 2.0) < 4.5 * values.std() / np.sqrt(1000)
    cv = np.sqrt(np.exp(sigma**2) - 1)
    assert game.final_obs[:, 0, 8].mean() == pytest.approx(cv, rel=0.01)
    assert values.std() == pytest.approx(2.0 * cv / np.sqrt(500), rel=0.1)


@pytest.mark.parametrize("format", ["first", "second", "all_pay"])
@pytest.mark.parametrize("reserve", [0.0, 0.7])
@pytest.mark.parametrize("law", ["uniform", "lognormal_table"])
def test_truthful_spend_is_what_the_rules_take(format: str, reserve: float, law: str) -> None:
    game = envs.make("auction", 200, law=law, format=format, reserve=reserve, n_agents=3, horizon=1, auctions_per_tick=500, budget=1e9)
    game.reset(2)
    game.step(np.ones((200, 3, 1)))
    spend = game.metrics[:, :, game.metric_names.index("spend")].mean(axis=1)
    expected = game.params.truthful_spend  # type: ignore[attr-defined]
    assert abs(spend.mean() - expected) < 4.5 * spend.std() / np.sqrt(200)


def test_truthful_spend_of_uniform_values() -> None:
    assert truthful_spend(uniform_quantiles(1.0), 2, "second") == pytest.approx(1 / 6, rel=1e-3)
    assert truthful_spend(uniform_quantiles(1.0), 4, "first") == pytest.approx(1 / 5, rel=1e-3)
    assert truthful_spend(uniform_quantiles(2.0), 3, "all_pay") == pytest.approx(1.0, rel=1e-3)
    assert truthful_spend(uniform_quantiles(1.0), 1, "second", reserve=0.5) == pytest.approx(0.25, rel=1e-3)


def test_balancing_multiplier_spends_the_budget() -> None:
    table = lognormal_quantiles(1.0, 0.87)
    for reserve in (0.0, 0.4):
        rho = 0.5 * truthful_spend(table, 6, "second", reserve)
        found = balancing_multiplier(table, 6, "second", reserve, rho)
        assert truthful_spend(table, 6, "second", reserve, found) == pytest.approx(rho, rel=1e-2)
        assert found == pytest.approx(0.5) if reserve == 0 else found > 0.4
    assert balancing_multiplier(table, 6, "second", 0.0, 100.0) == 1.0


def test_budget_tightness() -> None:
    p = AuctionParams()
    assert p.purse / 1e6 == pytest.approx(0.5 * 24 * 32 * p.truthful_spend, rel=1e-6)
    assert not AuctionParams(budget=1e13).limited
    assert not AuctionParams(mode="uniform_ipv").limited
    assert AuctionParams(budget=7.0).purse == 7_000_000


def profile_file(folder: Path, text: str | None = None, name: str = "traffic.csv") -> str:
    rows = [f"5,{d},{h},{(1 + h % 3) / (7 * 48)}" for d in range(1, 8) for h in range(24)]
    path = folder / name
    path.write_text("region_id,dow,hour,traffic_share\n" + "\n".join(rows) + "\n" if text is None else text)
    return str(path)


def test_traffic_follows_the_profile(tmp_path: Path) -> None:
    path = profile_file(tmp_path)
    for horizon in (1, 7, 24, 168, 400):
        p = AuctionParams(traffic=path, region=5, horizon=horizon, auctions_per_tick=30)
        counts = p.schedule()
        assert counts.sum() == horizon * 30
        shares = traffic_profile(path, 5)[np.arange(horizon) % 168]
        assert np.abs(counts - shares / shares.sum() * counts.sum()).max() <= 1
    game = envs.make("auction", 3, traffic=path, region=5, horizon=24, auctions_per_tick=30)
    game.reset(0)
    for t in range(24):
        assert game.obs[:, :, 9] == pytest.approx(AuctionParams(traffic=path, region=5, auctions_per_tick=30).schedule()[t] / 30)
        game.step(np.full(game.action.shape, 0.5))
        assert not game.residual.any()
    packed = tmp_path / "traffic.csv.gz"
    packed.write_bytes(gzip.compress(Path(path).read_bytes()))
    assert (traffic_profile(str(packed), 5) == traffic_profile(path, 5)).all()


HEAD = "region_id,dow,hour,traffic_share\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "column 'region_id' is missing"),
        ("region_id,dow,hour\n1,1,0\n", "line 1: column 'traffic_share' is missing"),
        (HEAD + "5,1,0\n", "line 2: 3 cells, 4 are expected"),
        (HEAD + "5,1,0,much\n", "line 2, column 'traffic_share': 'much', a number in [0, 1] is expected"),
        (HEAD + "5,1,0,nan\n", "line 2, column 'traffic_share': 'nan'"),
        (HEAD + "5,8,0,.1\n", "line 2, column 'dow': '8', a number in [1, 7] is expected"),
        (HEAD + "5,1,0,.1\n", "region 5 lacks dow 1 hour 1"),
        (HEAD + "6,1,0,.1\n", "region = 5: not in"),
        (None, "sums to 2.0"),
    ],
)
def test_broken_traffic_files_are_refused(tmp_path: Path, content: str | None, said: str) -> None:
    rows = "".join(f"5,{d},{h},{1 / 84}\n" for d in range(1, 8) for h in range(24))
    path = profile_file(tmp_path, HEAD + rows if content is None else content)
    with pytest.raises(UserError) as caught:
        AuctionParams(traffic=path, region=5)
    assert said in str(caught.value) and path in str(caught.value) and "\n" not in str(caught.value)


def test_unreadable_traffic_files_are_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gz"
    broken.write_bytes(b"no gzip")
    for path in (str(tmp_path / "absent.csv"), str(tmp_path), str(broken)):
        with pytest.raises(UserError, match="cannot be read"):
            AuctionParams(traffic=path, region=5)


@pytest.mark.skipif(not (DATA / "auction/bat_traffic").is_dir(), reason="no data beside the project: MARL_DATA names its folder")
def test_the_real_profile() -> None:
    path = str(DATA / "auction/bat_traffic/traffic_share.csv.gz")
    shares = traffic_profile(path, 645530)
    assert shares.sum() == pytest.approx(1, abs=1e-4) and len(shares) == 168
    p = AuctionParams(traffic=path, region=645530, horizon=168)
    assert p.schedule().sum() == 168 * 32 and p.schedule().max() > 1.5 * 32
    with pytest.raises(UserError, match="114 regions"):
        AuctionParams(traffic=path, region=1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reserve": -1.0}, "AuctionParams.reserve = -1.0 $ per auction: legal range is [0, 1e+06]"),
        ({"mode": "pacing"}, "1 bidder"),
        ({"mode": "pacing", "n_agents": 1, "format": "first"}, "format second"),
        ({"mode": "asym_uniform"}, "n_agents = 8 bidders: legal in mode asym_uniform is 2"),
        ({"format": "third"}, "legal are first, second, all_pay"),
        ({"auctions_per_tick": 1, "traffic": "x.csv"}, "auctions_per_tick = 1"),
        ({"horizon": 10_000, "auctions_per_tick": 100_000, "value_mean": 1e4, "sigma": 3.0}, "at stake"),
        ({"slot": 2}, "no parameter 'slot'"),
        ({"budget": 0.0}, "AuctionParams.budget = 0.0 $ per episode and agent"),
    ],
)
def test_illegal_parameters_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        envs.game("auction").make_params(**given)
    assert said in str(caught.value) and "\n" not in str(caught.value)
