"""Files of bars: what is read, refused, replayed, fitted and generated; on small written files, and on the real one where it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.trading import data
from envs.trading.fit import DAILY, fit
from envs.trading.market import TRADING_LOG
from marl import UserError

REAL = Path(os.environ.get("MARL_DATA") or Path(__file__).parents[3] / "shared" / "data") / "trading"
HEAD = "ticker,date,open,high,low,close,volume\n"
ROWS = "A,2000-01-03,10,11,9,10,5\nA,2000-01-04,10,12,9,11,5\nA,2000-01-05,11,12,10,12,5\n"


@pytest.fixture(scope="module")
def real() -> str:
    path = REAL / "wiki_ohlcv_5stocks_daily_2000_2013.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here: the real bars lie beside the checkout or under MARL_DATA")
    return str(path)


@pytest.mark.parametrize("name", ["bars.csv", "bars.csv.gz"])
def test_what_is_written_is_read(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / name)
    data.generate(path, 301, seed=3)
    mine = data.read_bars(path)
    assert sum(len(own.dates) for own in mine.values()) == 301 and len(mine) == 5
    again = data.synthetic_bars(61, 5, 3)
    for name, own in mine.items():
        assert own.close == pytest.approx(again[name].close[: len(own.close)])
        assert (own.high >= np.maximum(own.open, own.close)).all() and (own.low <= np.minimum(own.open, own.close)).all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "line 1: column 'ticker' is missing"),
        (HEAD + "A,2000-01-03,10\n", "line 2: 3 cells, 7 are expected"),
        (HEAD + "A,tomorrow,10,11,9,10,5\n", "line 2, column 'date': 'tomorrow', an ISO date is expected"),
        (HEAD + "A,2000-01-03,10,11,nan,10,5\n", "line 2, column 'low': 'nan'"),
        (HEAD + "A,2000-01-03,0,11,0,10,5\n", "line 2: a price of 0 $, legal is above 0"),
        (HEAD + "A,2000-01-03,10,9,8,10,5\n", "line 2: high 9 and low 8 do not enclose open 10 and close 10"),
        (HEAD + "A,2000-01-04,10,11,9,10,5\nA,2000-01-03,10,11,9,10,5\n", "line 3, column 'date': 2000-01-03 after 2000-01-04 of A"),
        (HEAD + "A,2000-01-03,10,11,9,10,5\n", "ticker 'A' has under three bars"),
        (HEAD, "no bars after the header"),
    ],
)
def test_broken_files_are_refused(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.csv"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        data.read_bars(str(path))
    assert said in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_lacks_a_symbol_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(HEAD + ROWS)
    for given, said in (
        ({"assets": 1, "symbols": "TSLA"}, "ticker 'TSLA' is not in the file, it has A"),
        ({"assets": 2}, "1 tickers, 2 assets are asked for"),
        ({"assets": 1, "symbols": "A B"}, "symbols = 'A B': 1 names are expected"),
        ({"assets": 1, "holdout": 0.9}, "common days of A in this part, at least 3 are needed"),
    ):
        with pytest.raises(UserError, match=said):
            TRADING_LOG.make_params(bars=str(path), **given)
    with pytest.raises(UserError, match="legal is 'bars'"):
        TRADING_LOG.make_params(source="synthetic")
    with pytest.raises(UserError, match="legal are impact, batch"):
        TRADING_LOG.make_params(mechanism="book")


def test_parts_hold_every_day_once(tmp_path: Path) -> None:
    path = str(tmp_path / "bars.csv")
    data.generate(path, 500, seed=1)
    whole, parts = data.read_bars(path), [data.replayed(path, "MSFT AAPL", 2, 0.3, test) for test in (False, True)]
    assert [len(part.close) for part in parts] == [70, 30]
    for m, name in enumerate(("MSFT", "AAPL")):
        total = np.exp(np.cumsum(whole[name].change))
        for part, rows in zip(parts, (slice(0, 70), slice(70, 100))):
            assert part.close[:, m] == pytest.approx(total[rows] / total[rows][0])
            assert part.opening[m] == whole[name].close[rows][0]


def changes(path: str) -> tuple[list[Any], Any]:
    """(log returns of every ticker of some length [T], those of the days that all have [T, M])."""
    series = data.read_bars(path)
    days = sorted(set.intersection(*(set(own.dates) for own in series.values())))
    place = {name: {day: i for i, day in enumerate(own.dates)} for name, own in series.items()}
    aligned = np.array([[own.change[place[name][day]] for name, own in series.items()] for day in days[1:]])
    return [own.change[1:] for own in series.values()], aligned


def test_the_built_in_law_is_the_one_of_the_real_file(real: str) -> None:
    found = fit(*changes(real))
    for mine, theirs in zip(DAILY, found):
        assert np.asarray(mine) == pytest.approx(np.asarray(theirs), abs=2e-5, rel=1e-3)


def correlation(x: Any, lag: int) -> float:
    x = x - x.mean()
    return float((x[lag:] * x[:-lag]).mean() / x.var())


def test_generated_bars_are_like_the_real_ones(real: str, tmp_path: Path) -> None:
    """Kolmogorov and Smirnov's distance of returns under .02; autocorrelations of returns and of their size near the real means."""
    theirs, _ = changes(real)
    path = str(tmp_path / "bars.csv")
    data.generate(path, 16_350, seed=1)
    ours, _ = changes(path)
    mine, whole = np.sort(np.concatenate(ours)), np.sort(np.concatenate(theirs))
    every = np.concatenate([mine, whole])
    distance = np.abs(np.searchsorted(mine, every, "right") / len(mine) - np.searchsorted(whole, every, "right") / len(whole)).max()
    print(f"Kolmogorov-Smirnov distance {distance:.4f}")
    assert distance < 0.02
    long = [own for own in theirs if len(own) > 1_000]
    for lag in (1, 5, 10, 20):
        real_size, our_size = (float(np.mean([correlation(np.abs(own), lag) for own in some])) for some in (long, ours))
        real_move, our_move = (float(np.mean([correlation(own, lag) for own in some])) for some in (long, ours))
        print(f"lag {lag}: of size {our_size:.3f}, real {real_size:.3f}; of returns {our_move:.3f}, real {real_move:.3f}")
        assert our_size == pytest.approx(real_size, abs=0.06) and our_move == pytest.approx(real_move, abs=0.04)
