"""A file that is mended while Python runs: what is made then is of the new file, tuned baselines too. And rates that look like slips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from envs.auction.data import traffic_profile
from envs.auction_log.baselines import tuned
from envs.auction_log.data import read_log
from envs.resource_allocation.data import read_trace
from envs.supply_chain.baselines import local_levels
from envs.supply_chain.data import read_daily
from marl import UserError
from tests.envs.tables import DAYS, TABLES, WEEK, parameters, written


def rewritten(path: str, text: str) -> None:
    """The file in place, as an editor saves it."""
    Path(path).write_text(text)


def test_prices_are_of_the_new_file(tmp_path: Path) -> None:
    def text(scale: float) -> str:
        closes = 100 * np.cumprod(1 + scale * (-1.0) ** np.arange(len(DAYS)))
        return "ticker,date,open,high,low,close,volume\n" + "".join(f"X,{d},{c},{c},{c},{c},1\n" for d, c in zip(DAYS, closes))

    path = written(tmp_path, text(0.3))
    spread = [envs.make("trading_log", 1, assets=1, bars=path).params.tables()["closes"].std()]
    rewritten(path, text(0.001))
    spread.append(envs.make("trading_log", 1, assets=1, bars=path).params.tables()["closes"].std())
    assert spread[0] > 0.05 and spread[1] < 0.01


def test_a_tuned_bid_is_of_the_new_log(tmp_path: Path) -> None:
    """Clicks at prices up to 10, then at prices up to 50: the tuned bid buys them and no more."""

    def text(dear: int) -> str:
        return "click,price,pctr\n" + "".join(f"{int(10 < p <= dear or p == 10)},{p},0.1\n" for p in range(10, 90) for _ in range(3))

    path = written(tmp_path, text(10))
    made = lambda: envs.game("auction_log").make_params(train=path, test=path, budget=1.0, horizon=1, vary=False)  # noqa: E731
    first = tuned(made(), 0.0) * made().base  # type: ignore[attr-defined]
    rewritten(path, text(50))
    second = tuned(made(), 0.0) * made().base  # type: ignore[attr-defined]
    assert (first, second) == (pytest.approx(10), pytest.approx(50))


def test_tuned_levels_are_of_the_new_demand(tmp_path: Path) -> None:
    def text(wide: bool) -> str:
        units = np.where(np.arange(len(DAYS)) % 5, 8 if wide else 20, 68 if wide else 20)
        return "stock_code,date,units\n" + "".join(f"A,{d},{u}\n" for d, u in zip(DAYS, units))

    given: dict[str, Any] = {"topology": "parallel", "n_agents": 1, "products": 1, "horizon": 10}
    path = written(tmp_path, text(False))
    steady = float(local_levels(envs.game("supply_chain_log").make_params(trace=path, **given)).item())  # type: ignore[arg-type]
    rewritten(path, text(True))
    wide = local_levels(envs.game("supply_chain_log").make_params(trace=path, **given)).item()  # type: ignore[arg-type]
    local_levels.cache_clear()
    assert wide == local_levels(envs.game("supply_chain_log").make_params(trace=path, **given)).item()  # type: ignore[arg-type]
    assert wide > steady + 0.5


@pytest.mark.parametrize("name", TABLES)
def test_every_game_is_of_the_new_file(name: str, tmp_path: Path) -> None:
    """The second file is the first without its last lines, or with another region; no game takes the one for the other."""
    table = TABLES[name]
    path = written(tmp_path, table.text)
    seen = []
    for text in (table.text, body_of(name, table.text)):
        rewritten(path, text)
        p = envs.game(table.game).make_params(**parameters(table, path))
        seen.append({key: value.tolist() for key, value in p.tables().items()})
    assert seen[0] != seen[1]


def body_of(name: str, text: str) -> str:
    if name == "traffic":
        return text.replace(f"7,1,0,{1 / 168:.9f}", "7,1,0,0.0").replace(f"7,1,1,{1 / 168:.9f}", f"7,1,1,{2 / 168:.9f}")
    return "".join(text.splitlines(keepends=True)[:-6])


def test_hours_that_are_there_twice_or_between_are_refused(tmp_path: Path) -> None:
    head = "region_id,dow,hour,traffic_share\n"
    for row, said in (
        ("7,1,5,.1", "line 170: region 7 has dow 1 hour 5 twice"),
        ("7,1.5,5,.1", "line 170, column 'dow': 1.5, a whole number"),
    ):
        with pytest.raises(UserError, match=said):
            traffic_profile(written(tmp_path, head + WEEK + row + "\n"), 7)


def test_demand_of_a_day_adds_up_over_its_lines(tmp_path: Path) -> None:
    head = "StockCode,Date,Units\n"
    daily = read_daily(written(tmp_path, head + "A,2020-01-01 08:26:00,3\nA,2020-01-01 09:00:00,4\nA ,2020-01-02,1\n"))
    assert daily.items == ("A",) and daily.units.tolist() == [[7], [1]]
    far = head + "".join(f"{i},{year}-01-01,1\n" for year in (1990, 2200) for i in range(700))
    with pytest.raises(UserError, match="700 items, legal are 50,000,000 days x items at most"):
        read_daily(written(tmp_path, far))


def test_rates_that_look_like_slips_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = "click,price,pctr\n" + "".join(f"{int(i % 100 == 0)},30,{{}}\n" for i in range(3_000))
    read_log(written(tmp_path, log.replace("{}", "0.011")))
    assert capsys.readouterr().err == ""
    read_log(written(tmp_path, log.replace("{}", "0.9")))
    assert "column 'pctr': 2700 clicks are expected and 30 came: are they percents?" in capsys.readouterr().err
    with pytest.raises(UserError, match="'5', a probability in"):
        read_log(written(tmp_path, log.replace("{}", "5")))
    trace = "t_s,context_tokens,generated_tokens\n" + "".join(f"{i * 180_000},5,5\n" for i in range(50))
    read_trace(written(tmp_path, trace))
    assert "a request in 1.8e+05 seconds on average: are the times in another unit than seconds?" in capsys.readouterr().err
    demand = "stock_code,date,units\nA,1970-01-18,3\nA,1970-01-20,3\n"
    read_daily(written(tmp_path, demand))
    assert "seconds that were read as milliseconds?" in capsys.readouterr().err
