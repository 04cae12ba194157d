"""`marl export`: rows against the game's own accounts, by impression and by tick, and `auction_log` reads them back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from envs.auction_log.data import read_log
from experiments.replay import replay
from tests.experiments.conftest import Marl

parquet = pytest.importorskip("pyarrow.parquet")
SMALL = ["env=auction", "env.preset=tiny", "env.horizon=6", "env.auctions_per_tick=16", "env.traffic_swing=0"]
COLUMNS = [
    "deliveryPeriodIndex", "advertiserNumber", "advertiserCategoryIndex", "budget", "CPAConstraint", "timeStepIndex", "remainingBudget",
    "pvIndex", "pValue", "pValueSigma", "bid", "xi", "adSlot", "cost", "isExposed", "conversionAction", "leastWinningCost", "isEnd",
]  # fmt: skip


def rows_of(path: Path) -> dict[str, Any]:
    table = parquet.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


MANY_CLICKS = ["env.click_low=.5", "env.click_high=.9"]


@pytest.mark.parametrize("setting", [[], ["env.format=all_pay"], ["env.slots=3", "env.exposure=1 .8 .5", *MANY_CLICKS]])
def test_impressions_add_up_to_the_games_accounts(setting: list[str], marl: Marl, tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    said = marl("export", *SMALL, *setting, "--baseline", "truthful", "--episode", "3", "-o", str(path))
    found = rows_of(path)
    assert said.code == 0 and list(found) == COLUMNS and f"{len(found['bid']):,} rows of impressions" in said.out
    played = replay([*SMALL, *setting], episode=3, baseline="truthful")
    by = [found["advertiserNumber"] == a for a in range(4)]
    assert [found["cost"][mine].sum() for mine in by] == pytest.approx(played.metric("spend"), rel=1e-5, abs=1e-9)
    assert [found["conversionAction"][mine].sum() for mine in by] == pytest.approx(played.metric("conversions"))
    assert (found["timeStepIndex"] == np.sort(found["timeStepIndex"])).all() and (found["isEnd"] == (found["timeStepIndex"] == 5)).all()
    assert set(np.unique(found["deliveryPeriodIndex"])) == {3} and len(found["bid"]) == 4 * 6 * 16
    won = found["xi"] == 1
    assert won.any() and (found["bid"][won] >= found["leastWinningCost"][won] - 1e-9).all()
    assert (found["bid"][~won] <= found["leastWinningCost"][~won] + 1e-9).all()
    if "env.format=all_pay" not in setting:
        assert (found["cost"][~won] == 0).all() and (found["cost"] <= found["bid"] + 1e-9).all()
        first = (found["timeStepIndex"] == 1) & by[0]
        before = found["cost"][(found["timeStepIndex"] == 0) & by[0]].sum()
        assert found["remainingBudget"][first][0] == pytest.approx(found["budget"][0] - before, abs=1e-6)


def test_ticks_are_the_sums_of_impressions(marl: Marl, tmp_path: Path) -> None:
    whole, ticks = tmp_path / "log.parquet", tmp_path / "ticks.parquet"
    assert marl("export", *SMALL, "-o", str(whole), "--episodes", "2").code == 0
    assert marl("export", *SMALL, "-o", str(ticks), "--episodes", "2", "--level", "ticks").code == 0
    found, summed = rows_of(whole), rows_of(ticks)
    assert len(summed["cost"]) == 2 * 6 * 4
    for column in ("cost", "conversionAction"):
        parts = found[column].reshape(2, 6, 16, 4).sum(2).ravel()
        assert summed[column] == pytest.approx(parts, rel=1e-9, abs=1e-12)
    assert {"observation.time_left", "action.multiplier", "reward"} <= set(summed)


def test_auction_log_reads_it_back(marl: Marl, tmp_path: Path) -> None:
    path, other = tmp_path / "log.parquet", tmp_path / "other.parquet"
    rich = [*MANY_CLICKS, "env.sale_rate=.5"]
    for file, episode in ((path, "0"), (other, "1")):
        assert marl("export", *SMALL, *rich, "--episode", episode, "-o", str(file)).code == 0
    found, mine = rows_of(path), read_log(str(path), 2)
    own = found["advertiserNumber"] == 2
    assert (mine.click == found["conversionAction"][own]).all() and mine.pctr == pytest.approx(found["pValue"][own])
    assert (
        mine.price == pytest.approx(found["leastWinningCost"][own] * 1e6, abs=1)
        and (mine.price >= found["leastWinningCost"][own] * 1e6 - 1e-3).all()
    )
    game = envs.make("auction_log", 2, train=str(path), test=str(other), advertiser=2, horizon=12)
    game.reset(0)
    for _ in range(12):
        game.step(np.ones(game.action.shape, np.float32))
        assert not game.residual.any()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["env=harvest", "-o", "x.parquet"], "env = auction in mode advertising is expected"),
        (["env=auction", "-o", "x.parquet"], "env = auction in mode advertising is expected"),
        ([*SMALL, "-o", "x.csv"], "output = 'x.csv': the legal ending is .parquet"),
        ([*SMALL, "-o", "x.parquet", "--level", "users"], "level = 'users': legal are impressions, ticks"),
        ([*SMALL, "-o", "x.parquet", "--episodes", "0"], "episodes = 0: legal are whole numbers in [1, "),
    ],
)
def test_refusals(arguments: list[str], said: str, marl: Marl) -> None:
    assert said in marl("export", *arguments).refusal


def test_a_log_that_is_none(tmp_path: Path) -> None:
    import pyarrow

    from marl import UserError

    path = tmp_path / "log.parquet"
    path.write_bytes(b"not a log")
    with pytest.raises(UserError, match="a Parquet file in AuctionNet's columns is expected"):
        read_log(str(path))
    parquet.write_table(pyarrow.table({"pValue": [0.1]}), path)
    with pytest.raises(UserError, match="column 'deliveryPeriodIndex' is missing"):
        read_log(str(path))
    with pytest.raises(UserError, match=r"nowhere\.parquet: "):
        read_log(str(tmp_path / "nowhere.parquet"))
