"""Daily demand of items as columns. Schema, a text table with a header (`envs.files`), plain or packed:

stock_code (the item's name), date (YYYY-MM-DD), units (a whole number of units sold that day; several lines of a day add up). Other
columns are ignored; a day that is missing sold nothing. It is that of an online retailer's sales of 2010 and 2011 (Chen, Sain and Guo
2012), of which the built-in synthetic demand has some facts: intermittent, skewed, busy toward the end of the year, closed on Saturdays.
"""

from __future__ import annotations

import csv
import gzip
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from envs.files import check_days, day_in, name_in, table, whole
from marl.content import read_once
from marl.errors import UserError
from marl.game import F8

COLUMNS = ("stock_code", "date", "units")
NAMED = {"stock_code": ("stockcode",), "date": (), "units": ()}
"""The columns, and other names of theirs."""
SYNTHETIC = "synthetic"
ITEMS, DAYS, BEGIN = 32, 374, date(2010, 12, 1)
"""Of the built-in demand; days as in the retailer's file."""
QUIET, MEDIAN, SPREAD, LOUD = 0.35, 16.0, 1.1, 0.6
"""Ours: chance of a day without a sale, median units of another, their log standard deviation, rise toward the end of the year."""
SATURDAY = 5
MOST_UNITS = 1e6
MOST_CELLS = 50_000_000
"""Days times items of a table, at most."""


class Daily(NamedTuple):
    """Units a day of items, best-selling first."""

    items: tuple[str, ...]
    units: F8  # [T, I]


def read_daily(path: str, mark: str = "") -> Daily:
    """The demand in a file, or the built-in synthetic one where the path is `synthetic`.

    Raises UserError that names file, line and column for missing columns, broken lines and illegal values. `mark`: see `read_once`.
    """
    if path == SYNTHETIC:
        return synthetic_daily()
    found: Daily = _read(path, mark=mark)
    return found


@lru_cache(maxsize=8)
def synthetic_daily(items: int = ITEMS, days: int = DAYS, seed: int = 0) -> Daily:
    """Items that sell on some days, lognormally many, more and more so toward the end of the year; on Saturdays nothing."""
    generator = np.random.default_rng(seed)
    scale = np.sort(generator.lognormal(0.0, 0.5, items))[::-1]
    rise = 1 + LOUD * np.clip((np.arange(days) / days - 0.7) / 0.3, 0, 1)
    units = np.rint(MEDIAN * scale * rise[:, None] * generator.lognormal(0.0, SPREAD, (days, items)))
    units[generator.random((days, items)) < QUIET] = 0
    units[[(BEGIN + timedelta(d)).weekday() == SATURDAY for d in range(days)]] = 0
    return _sorted(tuple(f"S{i:03d}" for i in range(items)), np.minimum(units, MOST_UNITS))


def _sorted(items: tuple[str, ...], units: F8) -> Daily:
    order = np.argsort(-units.sum(0), kind="stable")
    found = units[:, order]
    found.flags.writeable = False
    return Daily(tuple(items[i] for i in order), found)


@read_once(8)
def _read(path: str) -> Daily:
    header, rows = table(path, NAMED)
    at = header.places(NAMED)
    sold: dict[tuple[str, int], float] = {}
    for line, cells in rows:
        item, written, units = (cells[i] for i in at)
        amount = whole(path, line, "units", units, 0, MOST_UNITS, " of units")
        key = (name_in(path, line, "stock_code", item), day_in(path, line, "date", written, "a day like 2011-09-30").toordinal())
        sold[key] = sold.get(key, 0.0) + amount
    if not sold:
        raise UserError(f"{path}: no sales after the header, at least one line is expected")
    days = [key[1] for key in sold]
    found = _table(path, sold)
    check_days(path, date.fromordinal(min(days)), date.fromordinal(max(days)))
    return found


def _table(path: str, sold: dict[tuple[str, int], float]) -> Daily:
    items, days = sorted({item for item, _ in sold}), [day for _, day in sold]
    begin, count = min(days), max(days) - min(days) + 1
    if count < 2 or count > 100_000:
        raise UserError(f"{path}, column 'date': {count} days from the first to the last, legal are 2 to 100000")
    if count * len(items) > MOST_CELLS:
        raise UserError(f"{path}: {count} days of {len(items)} items, legal are {MOST_CELLS:,} days x items at most")
    units, place = np.zeros((count, len(items))), {item: i for i, item in enumerate(items)}
    for (item, day), amount in sold.items():
        units[day - begin, place[item]] = amount
    return _sorted(tuple(items), units)


def part_of(path: str, count: int, holdout: float, test: bool, mark: str = "") -> F8:
    """Units a day [T, count] of the first or the held-out days, of the best-selling items of the first days. Raises UserError."""
    daily = read_daily(path, mark)
    if count > len(daily.items):
        raise UserError(f"trace = {path!r}: {len(daily.items)} items, retailers x products = {count} are expected at most")
    border = max(1, min(len(daily.units) - 1, round(len(daily.units) * (1 - holdout))))
    best = np.argsort(-daily.units[:border].sum(0), kind="stable")[:count]
    return np.asarray(daily.units[border:, best] if test else daily.units[:border, best])


def write_daily(path: str, daily: Daily) -> None:
    """Write daily demand as `read_daily` reads it, packed where the path ends in `.gz`; days without a sale are left out."""
    pack: Any = gzip.open if path.endswith(".gz") else open
    with pack(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for i, item in enumerate(daily.items):
            for day in np.flatnonzero(daily.units[:, i]):
                writer.writerow([item, (BEGIN + timedelta(int(day))).isoformat(), int(daily.units[day, i])])


def generate(path: str, rows: int, seed: int) -> None:
    """Write synthetic demand of so many lines at most, as whole days of 32 items: what `marl generate supply_chain` does."""
    days = max(2, int(rows / ITEMS / (1 - QUIET) * 7 / 6))
    daily = synthetic_daily(ITEMS, days, seed)
    kept = int(np.searchsorted(np.cumsum((daily.units > 0).sum(1)), rows, side="right"))
    write_daily(path, Daily(daily.items, daily.units[: max(kept, 2)]))
