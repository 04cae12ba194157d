"""Where a table of bars has its prices: the columns that are traded, and those that are adjusted for splits and dividends.

Vendors name them in many ways: `Adj Close` (Yahoo), `Adj. Close` (Quandl), `adjClose` (Tiingo), `5. adjusted close` (Alpha Vantage),
`adjcp`. Returns are of the adjusted closes. Of a bar's open, high, low and close only ratios are used, so that they are alike before and
after an adjustment, as long as all four are of one kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from envs.files import Header, shown
from marl.errors import UserError

COLUMNS = ("ticker", "date", "open", "high", "low", "close", "volume")
PRICES = ("open", "high", "low", "close")
NAMED: dict[str, tuple[str, ...]] = {
    "ticker": ("symbol", "tic", "name"),
    "date": ("timestamp", "datetime"),
    "open": (),
    "high": (),
    "low": (),
    "close": ("close_last",),
    "volume": ("vol",),
}
"""The columns, and other names of theirs."""
CLOSING = ("close", "cp", "price", "last")
"""What the name of a column of adjusted closes has in it, beside `adj`."""


class Places(NamedTuple):
    """Columns by number. `ticker` is None in a file of one ticker, which is named as the file is."""

    ticker: int | None
    date: int
    prices: list[int]  # open, high, low, close, of one kind
    volume: int
    adjusted: int  # closes that returns are of


def places(header: Header) -> Places:
    """Where a table of bars has its columns. Raises UserError for one that is missing, or that two columns may be."""
    found = {column: header.place(column, aliases) for column, aliases in NAMED.items()}
    adjusted = _adjusted(header)
    if any(found[column] is None for column in PRICES):
        own = {column: header.place(*_adjusted_names(column)) for column in PRICES[:3]}
        if adjusted is not None and None not in own.values():
            found |= {**own, "close": adjusted}
    missing = [column for column in COLUMNS if found[column] is None]
    lacking = [column for column in missing if column != "ticker"]
    if lacking == ["close"] and adjusted is not None:
        said = f"{shown(header.cells[adjusted])} is adjusted and open, high and low are not"
        raise UserError(f"{header.path}, line {header.line}: column 'close' is missing: {said}")
    if lacking:
        raise header.lacks(lacking[0] if len(missing) < len(COLUMNS) else missing[0], COLUMNS)
    at = {column: place for column, place in found.items() if place is not None}
    close = at["close"] if adjusted is None else adjusted
    return Places(found["ticker"], at["date"], [at[column] for column in PRICES], at["volume"], close)


def _adjusted(header: Header) -> int | None:
    """The column of adjusted closes, None where there is none. Raises UserError where there are several."""
    found = [i for i, name in enumerate(header.names) if _is_adjusted_close(name)]
    if len(found) > 1:
        said = " and ".join(shown(header.cells[i]) for i in found[:2])
        raise UserError(f"{header.path}, line {header.line}: {said} are both adjusted closes, one column of them is expected")
    return found[0] if found else None


def _is_adjusted_close(name: str) -> bool:
    plain = name.replace("_", "")
    others = any(word in plain for word in ("open", "high", "low", "vol"))
    return plain in ("adj", "adjusted") or ("adj" in plain and any(word in plain for word in CLOSING) and not others)


def _adjusted_names(column: str) -> tuple[str, Sequence[str]]:
    """What an adjusted column is called, and what else."""
    return f"adj_{column}", (f"adj{column}", f"adjusted_{column}", f"{column}_adj", f"{column}_adjusted")


def lone_ticker(path: str) -> str:
    """The ticker of a file that has no column of tickers: its name without endings."""
    return Path(path).name.split(".")[0]
