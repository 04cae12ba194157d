"""Bars as vendors write them: which price is traded, which one returns are of, and a word where a day looks like a slip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from envs.trading.data import read_bars, replayed
from marl import UserError
from tests.envs.tables import written

SPLIT = [400.0, 404.0, 101.0, 100.0, 102.0]  # 4:1 on the third day
ADJUSTED = [100.0, 101.0, 101.0, 100.0, 102.0]
RETURNS = [0.0, *np.diff(np.log(ADJUSTED))]


def bars(header: str, folder: Path, closes: Sequence[float] = SPLIT, adjusted: Sequence[float] = ADJUSTED, name: str = "KO.csv") -> str:
    """A file with this header of five days: columns by what their names have in them, all others 7."""
    rows = [header]
    for i, (close, adj) in enumerate(zip(closes, adjusted)):
        row = []
        for column in header.lower().split(","):
            price = adj if "adj" in column else close
            kinds = {"open": price, "high": price * 1.01, "low": price * 0.99, "clos": price, "adj": price, "last": price}
            number = next((f"{value:.6f}" for kind, value in kinds.items() if kind in column), "7")
            text = "KO" if column in ("ticker", "symbol", "tic", "<ticker>") else f"2020-08-{3 + i:02d}"
            row.append(text if any(word in column for word in ("tic", "symbol", "date", "timestamp")) else number)
        rows.append(",".join(row))
    return written(folder, "\n".join(rows) + "\n", name)


HEADERS = {
    "Yahoo": "Date,Open,High,Low,Close,Adj Close,Volume",
    "Yahoo's page": "Date,Open,High,Low,Close*,Adj Close**,Volume",
    "yfinance": "Ticker,Date,Adj Close,Close,High,Low,Open,Volume",
    "FinRL": ",date,open,high,low,close,adjcp,volume,tic,day",
    "Quandl WIKI": "ticker,date,open,high,low,close,volume,ex-dividend,split_ratio,adj_open,adj_high,adj_low,adj_close,adj_volume",
    "Quandl": "Date,Open,High,Low,Close,Volume,Ex-Dividend,Split Ratio,Adj. Open,Adj. High,Adj. Low,Adj. Close,Adj. Volume",
    "Tiingo": "symbol,date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,splitFactor",
    "Alpha Vantage": "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient",
    "Alpha Vantage's JSON": "date,1. open,2. high,3. low,4. close,5. adjusted close,6. volume,7. dividend amount,8. split coefficient",
    "EODHD": "Date,Open,High,Low,Close,Adjusted_close,Volume",
    "Kaggle": "Date,Open,High,Low,Close,AdjClose,Volume",
    "adjusted alone": "ticker,date,adj_open,adj_high,adj_low,adj_close,volume",
}


@pytest.mark.parametrize("vendor", HEADERS)
def test_returns_are_of_the_adjusted_closes(vendor: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bars over their closes are alike before and after a split; a file without tickers is of the one that it is named after."""
    path = bars(HEADERS[vendor], tmp_path)
    own = read_bars(path)
    assert list(own) == ["KO"]
    assert own["KO"].change == pytest.approx(RETURNS)
    found = replayed(path, "KO", 1, 0.1, False)
    assert found.close[:, 0] == pytest.approx(np.array(ADJUSTED[:4]) / 100)
    assert found.high == pytest.approx(1.01, abs=1e-6) and found.low == pytest.approx(0.99, abs=1e-6)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("Date,Open,High,Low,Adj Close,Volume", "column 'close' is missing: 'Adj Close' is adjusted and open, high and low are not"),
        (
            "Date,Open,High,Low,Close,Adj Close,adjcp,Volume",
            "'Adj Close' and 'adjcp' are both adjusted closes, one column of them is expected",
        ),
        ("Date,Open,High,Low,Close,close,Volume", "column 'close' is there 2 times, as 'Close' and 'close'"),
        ("Date,Open,High,Low,Price,Volume", "column 'close' is missing, the header must have ticker, date"),
        ("Price,Close,High,Low,Open,Volume", "column 'date' is missing"),
    ],
)
def test_prices_that_may_be_several_are_refused(header: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_bars(bars(header, tmp_path))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_stooq_and_nasdaq(tmp_path: Path) -> None:
    """The one is read: no adjusted column. The other writes $ and American days: refused by the cell."""
    path = bars("<TICKER>,<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>", tmp_path, ADJUSTED)
    assert read_bars(path)["KO"].change == pytest.approx(RETURNS)
    nasdaq = "Date,Close/Last,Volume,Open,High,Low\n08/31/2020,$129.04,225702700,$127.58,$131.00,$126.00\n"
    with pytest.raises(UserError, match=r"line 2, column 'date': '08/31/2020', an ISO date is expected"):
        read_bars(written(tmp_path, nasdaq))
    with pytest.raises(UserError, match=r"line 2, column 'open': '\$127.58', a number"):
        read_bars(written(tmp_path, nasdaq.replace("08/31/2020", "2020-08-31")))


def test_a_split_that_is_not_adjusted_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bars("ticker,date,open,high,low,close,volume", tmp_path)
    for _ in range(2):
        replayed(path, "KO", 1, 0.1, False)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("marl: warning: ")
    assert "column 'close': KO moves by -75% on 2020-08-05: a split that is not adjusted?" in lines[0]
    assert read_bars(path)["KO"].change[2] == pytest.approx(math.log(0.25))
    reverse = bars("ticker,date,open,high,low,close,volume", tmp_path, [1, 1, 10, 1, 1], name="other.csv")
    read_bars(reverse)
    assert "KO moves by +900% on 2020-08-05 (and 1 more such day" in capsys.readouterr().err
    read_bars(bars("ticker,date,open,high,low,close,volume", tmp_path, [100, 140, 100, 70, 100], name="calm.csv"))
    assert capsys.readouterr().err == ""


def with_days(days: Sequence[str], folder: Path, name: str = "days.csv") -> str:
    return written(folder, "ticker,date,open,high,low,close,volume\n" + "".join(f"KO,{d},1,1,1,1,5\n" for d in days), name)


def test_days_with_times_and_zones_are_the_days_that_are_written(tmp_path: Path) -> None:
    asked = ("2020-01-02", "2020-01-03", "2020-01-06")
    for kind in ("{}", "{} 00:00:00", "{}T16:00:00Z", "{} 00:00:00-05:00", "{} 00:00:00+0000", "{}T23:30:00.000+09:00", "{} 00:00:00 UTC"):
        assert read_bars(with_days([kind.format(d) for d in asked], tmp_path))["KO"].dates == asked
    assert read_bars(with_days(["20200102", "2020-01-03", "20200106"], tmp_path))["KO"].dates == asked


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (["2020-01-02", "2020-01-02", "2020-01-03"], "line 3, column 'date': 2020-01-02 is there twice for KO"),
        (["2020-01-02 09:30:00", "2020-01-02 09:31:00"], "line 3, column 'date': 2020-01-02 is there twice for KO"),
        (["20200102", "2020-01-02"], "line 3, column 'date': 2020-01-02 is there twice for KO"),
        (["2020-01-03", "2020-01-02"], "line 3, column 'date': 2020-01-02 after 2020-01-03 of KO, increasing dates are expected"),
        (["1577923200"], "'1577923200' (seconds, milliseconds or nanoseconds since 1970?), an ISO date is expected"),
        (["1577923200000"], "since 1970?"),
        (["43832"], "'43832', an ISO date is expected"),
        (["2020-02-30"], "'2020-02-30', an ISO date is expected"),
        (["٢٠٢٠-٠١-٠٢"], "an ISO date is expected"),
        ([""], "'', an ISO date is expected"),
    ],
)
def test_days_that_are_none_or_out_of_order_are_refused(days: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_bars(with_days(days, tmp_path))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_days_of_a_wrong_clock_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_bars(with_days(["1970-01-18", "1970-01-19", "1970-01-20"], tmp_path, "a.csv"))
    assert "all days lie from 1970-01-18 to 1970-01-20: seconds that were read as milliseconds?" in capsys.readouterr().err
    read_bars(with_days(["0020-01-18", "0020-01-19", "0020-01-20"], tmp_path, "b.csv"))
    assert "is a year mistyped?" in capsys.readouterr().err
    read_bars(with_days(["1970-01-02", "1970-01-05", "1980-01-20"], tmp_path, "c.csv"))
    assert capsys.readouterr().err == ""


def test_days_without_prices_are_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As Yahoo writes a holiday. A day with some of its prices is refused."""
    text = Path(bars(HEADERS["Yahoo"], tmp_path)).read_text() + "2020-08-10,null,null,null,null,null,null\n2020-08-11,,,,,,\n"
    assert len(read_bars(written(tmp_path, text, "KO.csv"))["KO"].dates) == 5
    assert "2 lines without prices are left out" in capsys.readouterr().err
    with pytest.raises(UserError, match="line 7, column 'open': 'null', a number in"):
        read_bars(written(tmp_path, text.replace("null,null,null,null,null", "null,9,8,8,8"), "KO.csv"))


def test_a_nameless_ticker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 2, column 'ticker': '', a name in UTF-8 is expected"):
        read_bars(written(tmp_path, "ticker,date,open,high,low,close,volume\n,2020-01-02,1,1,1,1,5\n"))
    with pytest.raises(UserError, match="a name in UTF-8 is expected"):
        read_bars(written(tmp_path, b"ticker,date,open,high,low,close,volume\ncaf\xe9,2020-01-02,1,1,1,1,5\n"))
