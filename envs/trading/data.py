"""Files of bars as columns, the law that is fitted to them, and bars drawn from it. Schema, a text table with a header (`envs.files`),
plain or packed: ticker (without it the file is of one, named as the file is), date (ISO, increasing for a ticker), open, high, low, close
($, above 0, high the highest and low the lowest), volume (shares). A column of adjusted closes, where there is one (`adj_close`, and as
vendors name it: `envs.trading.columns`), gives returns (splits and dividends); other columns are ignored. It is that of the WIKI end-of-day
prices (Quandl), of five of whose stocks over 2000 to 2013 the built-in law has its facts.

The law, of a ticker: each bar is in one of K states of volatility, a Markov chain; its log return is the state's mean plus its deviation
times a residual drawn from a table of quantiles, the ticker's own with the chance that correlation leaves, else the market's.
"""

from __future__ import annotations

import csv
import gzip
from array import array
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from envs.files import check_days, day_in, name_in, number, table
from envs.trading.columns import COLUMNS, NAMED, lone_ticker, places
from envs.trading.fit import CHANCES, DAILY, Law
from marl.content import read_once, warn
from marl.errors import UserError
from marl.game import F8

SYNTHETIC = "synthetic"
BUILT_IN = 1_500
"""Bars of each ticker of the built-in file."""
TICKERS = ("AAPL", "MSFT", "GOOGL", "TSLA", "IBM", "KO", "XOM", "WMT", "JPM", "CAT", "PFE", "BA", "DIS", "NKE", "CVX")
"""Labels of the built-in synthetic assets; nothing is these companies'."""
LARGEST = 1e12
MOST_NAMED = 20
"""Tickers of a file in a refusal."""
NONE = {"", "null", "nan", "na", "n/a", "none", "-"}
"""What vendors write for the prices of a day without trade."""
JUMP = 0.47
"""Log return of a day, of either sign, beyond which it looks like a split: +60 % or -37 %."""


class Series(NamedTuple):
    """Bars of one ticker in order, [T] each; `change` is the log return to the bar from the one before, 0 for the first."""

    dates: tuple[str, ...]
    open: F8
    high: F8
    low: F8
    close: F8
    volume: F8
    change: F8


class Bars(NamedTuple):
    """What the market replays, [T, M]: closes over the first one, highs and lows over closes; first closes [M] in $."""

    close: F8
    high: F8
    low: F8
    opening: F8


def read_bars(path: str) -> dict[str, Series]:
    """Bars by ticker in a file, or the built-in synthetic ones where the path is `synthetic`.

    Raises UserError that names file, line and column for missing columns, broken lines and illegal values.
    """
    if path == SYNTHETIC:
        return synthetic_bars()
    found: dict[str, Series] = _read(path)
    return found


@read_once(8)
def _read(path: str) -> dict[str, Series]:
    header, rows = table(path, {**NAMED, "adj_close": ()})
    at, empty = places(header), 0
    wanted = [(header.cells[i].lower(), i) for i in (*at.prices, at.volume, at.adjusted)]
    found: dict[str, tuple[list[str], array[float]]] = {}
    for line, cells in rows:
        if all(cells[i].lower() in NONE for i in at.prices):
            empty += 1
            continue
        ticker = lone_ticker(path) if at.ticker is None else name_in(path, line, "ticker", cells[at.ticker])
        day = day_in(path, line, "date", cells[at.date], "an ISO date").isoformat()
        row = [number(path, line, column, cells[i], 0, LARGEST) for column, i in wanted]
        days, values = found.setdefault(ticker, ([], array("d")))
        _check_row(path, line, ticker, day, row, days[-1] if days else "")
        days.append(day)
        values.extend(row)
    short = [ticker for ticker, (days, _) in found.items() if len(days) < 3]
    if short or not found:
        raise UserError(f"{path}: {f'ticker {short[0]!r} has under three bars' if short else 'no bars after the header'}")
    if empty:
        warn(f"{path}: {empty} lines without prices are left out, as days without trade")
    series = {ticker: _series(days, np.array(values).reshape(-1, len(wanted)).T.copy()) for ticker, (days, values) in found.items()}
    _check_series(path, series, header.cells[at.adjusted])
    return series


def _check_row(path: str, line: int, ticker: str, day: str, row: list[float], before: str) -> None:
    if day == before:
        raise UserError(f"{path}, line {line}, column 'date': {day} is there twice for {ticker}, one bar a day and ticker is expected")
    if day < before:
        raise UserError(f"{path}, line {line}, column 'date': {day} after {before} of {ticker}, increasing dates are expected")
    first, high, low, close, _, adjusted = row
    if min(first, high, low, close, adjusted) <= 0:
        raise UserError(f"{path}, line {line}: a price of {min(first, high, low, close, adjusted):g} $, legal is above 0")
    if high < max(first, low, close) * (1 - 1e-6) or low > min(first, high, close) * (1 + 1e-6):
        raise UserError(f"{path}, line {line}: high {high:g} and low {low:g} do not enclose open {first:g} and close {close:g}")


def _series(days: list[str], columns: F8) -> Series:
    """Bars of a ticker; columns [6, T]: open, high, low, close, volume, adjusted close."""
    change = np.insert(np.diff(np.log(columns[5])), 0, 0.0)
    for column in (columns, change):
        column.flags.writeable = False
    first, high, low, close, volume = columns[:5]
    return Series(tuple(days), first, high, low, close, volume, change)


def _check_series(path: str, series: dict[str, Series], source: str) -> None:
    """Warn of days, and of returns of a day, that look like slips."""
    check_days(path, *(date.fromisoformat(end(own.dates[i] for own in series.values())) for i, end in ((0, min), (-1, max))))
    beyond = [
        (float(own.change[t]), ticker, own.dates[t]) for ticker, own in series.items() for t in np.flatnonzero(np.abs(own.change) > JUMP)
    ]
    if beyond:
        change, ticker, day = max(beyond, key=lambda jump: abs(jump[0]))
        more = f" (and {len(beyond) - 1} more such days)" if len(beyond) > 1 else ""
        warn(
            f"{path}, column {source!r}: {ticker} moves by {np.expm1(change):+.0%} on {day}{more}: a split that is not adjusted? "
            "returns are of a column adj_close where there is one"
        )


@read_once(32, built_in=SYNTHETIC)
def replayed(path: str, symbols: str, assets: int, holdout: float, test: bool) -> Bars:
    """The common days of the named tickers, all but the last share `holdout` of them, or those in a test. Raises UserError."""
    file = read_bars(path)
    names = symbols.split() or list(file)[:assets]
    lacks = [name for name in names if name not in file]
    if lacks or len(names) < assets:
        said = f"ticker {lacks[0]!r} is not in the file" if lacks else f"{len(file)} tickers, {assets} assets are asked for"
        more = f" and {len(file) - MOST_NAMED} more" if len(file) > MOST_NAMED else ""
        raise UserError(f"TradingParams.bars = {path!r}: {said}, it has {', '.join(list(file)[:MOST_NAMED])}{more}")
    days = sorted(set.intersection(*(set(file[name].dates) for name in names)))
    border = int(len(days) * (1 - holdout))
    days = days[border:] if test else days[:border]
    if len(days) < 3:
        raise UserError(f"TradingParams.bars = {path!r}: {len(days)} common days of {', '.join(names)} in this part, at least 3 are needed")
    found: dict[str, list[F8]] = {"close": [], "high": [], "low": []}
    for name in names:
        own = file[name]
        place = {day: i for i, day in enumerate(own.dates)}
        rows = np.array([place[day] for day in days])
        total = np.cumsum(own.change)[rows]
        found["close"].append(np.exp(total - total[0]))
        found["high"].append(own.high[rows] / own.close[rows])
        found["low"].append(own.low[rows] / own.close[rows])
    opening = np.array([file[name].close[file[name].dates.index(days[0])] for name in names])
    close, high, low = (np.array(found[key]).T.copy() for key in ("close", "high", "low"))
    return Bars(close, high, low, opening)


def draw_changes(law: Law, bars: int, tickers: int, seed: int) -> F8:
    """Log returns [T, M] of the law."""
    g = np.random.default_rng(seed)
    chain, table = np.cumsum(law.stay, axis=1), np.asarray(law.quantiles)
    state, found = g.integers(len(law.sd), size=tickers), np.zeros((bars, tickers))
    for t in range(bars):
        state = np.minimum((g.random(tickers)[:, None] > chain[state]).sum(1), len(law.sd) - 1)
        u = np.where(g.random(tickers) < law.shared, g.random(), g.random(tickers))
        found[t] = law.mean[state] + law.sd[state] * np.interp(u, CHANCES, table)
    return found


@lru_cache(maxsize=8)
def synthetic_bars(bars: int = BUILT_IN, tickers: int = len(TICKERS), seed: int = 0) -> dict[str, Series]:
    """Bars drawn from the built-in law on consecutive weekdays, by the labels of TICKERS."""
    g = np.random.default_rng(seed + 1)
    change = draw_changes(DAILY, bars, tickers, seed)
    change[0] = 0.0
    close = 100 * np.exp(np.cumsum(change, axis=0))
    first = close * np.exp(-change * g.uniform(0.2, 1.0, close.shape))
    reach = np.abs(change) * 0.4 + DAILY.sd.mean() * 0.5
    high = np.maximum(first, close) * np.exp(reach * g.random(close.shape))
    low = np.minimum(first, close) * np.exp(-reach * g.random(close.shape))
    volume = np.round(1e6 * np.exp(g.normal(0, 0.35, close.shape) + 8 * np.abs(change)))
    days: list[str] = []
    day = date(2000, 1, 3)
    while len(days) < bars:
        if day.weekday() < 5:
            days.append(day.isoformat())
        day += timedelta(1)
    columns = [np.round(x, 6) for x in (first, high, low, close, volume)]
    return {
        name: Series(tuple(days), *(x[:, m] for x in columns), change=change[:, m])  # type: ignore[misc]
        for m, name in enumerate(TICKERS[:tickers])
    }


def write_bars(path: str, series: dict[str, Series]) -> None:
    """Write bars as `read_bars` reads them, packed where the path ends in `.gz`."""
    pack: Any = gzip.open if path.endswith(".gz") else open
    with pack(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for ticker, own in series.items():
            writer.writerows(zip([ticker] * len(own.dates), own.dates, *(x.tolist() for x in own[1:6])))


def generate(path: str, rows: int, seed: int) -> None:
    """Write so many bars of five tickers, drawn from the built-in law: what `marl generate trading` does."""
    if rows < 3:
        raise UserError(f"{rows} bars: legal are 3 and more, a ticker needs as many")
    tickers = min(5, rows // 3)
    most = synthetic_bars(-(-rows // tickers), tickers, seed)
    cut = {}
    for i, (name, own) in enumerate(most.items()):
        count = rows // tickers + (1 if i < rows % tickers else 0)
        cut[name] = Series(own.dates[:count], *(x[:count] for x in own[1:]))
    write_bars(path, cut)
