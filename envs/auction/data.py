"""Reading tables from text files: a broken one is refused by file, line and column. And the traffic profile of a file."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from marl.errors import UserError
from marl.game import F8

WEEK = 168
"""Hours of a week."""

TRAFFIC_COLUMNS = ("region_id", "dow", "hour", "traffic_share")


def lines(path: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line number from 1, cells) of each line that is not blank; `.gz` is unpacked. Raises UserError where unreadable."""
    unpack: Any = gzip.open if path.endswith(".gz") else open
    try:
        with unpack(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        packed = "gzip-packed " if path.endswith(".gz") else ""
        raise UserError(f"{path}: cannot be read ({error}): a {packed}text table is expected") from error


def number(path: str, line: int, column: str, cell: str, low: float, high: float) -> float:
    """The number in a cell. Raises UserError where it is none or outside [low, high]."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise UserError(f"{path}, line {line}, column {column!r}: {cell!r}, a number in [{low:g}, {high:g}] is expected")
    return value


def traffic_profile(path: str, region: int) -> F8:
    """Share of a week's traffic in each hour [168], from Monday (dow 1) 0 h on, of one region of a traffic file.

    The file has a header with region_id, dow (1 to 7), hour (0 to 23) and traffic_share. Raises UserError for a broken
    line, a missing hour, an unknown region, or shares that do not sum to 1 within .001.
    """
    mark = Path(path).stat().st_mtime_ns if Path(path).exists() else 0
    return _traffic(path, region, mark)


@lru_cache(maxsize=16)
def _traffic(path: str, region: int, mark: int) -> F8:
    rows = lines(path, ",")
    line, header = next(rows, (1, []))
    missing = [c for c in TRAFFIC_COLUMNS if c not in header]
    if missing:
        raise UserError(f"{path}, line {line}: column {missing[0]!r} is missing, the header must have {', '.join(TRAFFIC_COLUMNS)}")
    at = [header.index(c) for c in TRAFFIC_COLUMNS]
    shares, known = np.full(WEEK, np.nan), set()
    for line, cells in rows:
        if len(cells) != len(header):
            raise UserError(f"{path}, line {line}: {len(cells)} cells, {len(header)} are expected as in the header")
        place, day, hour, share = (
            number(path, line, c, cells[i], *limits) for c, i, limits in zip(TRAFFIC_COLUMNS, at, ((0, 1e12), (1, 7), (0, 23), (0, 1)))
        )
        known.add(int(place))
        if int(place) == region:
            shares[int(day - 1) * 24 + int(hour)] = share
    if region not in known:
        some = ", ".join(str(r) for r in sorted(known)[:5])
        raise UserError(f"region = {region}: not in {path}, which has {len(known)} regions: {some}{', ...' if len(known) > 5 else ''}")
    return _whole_week(path, region, shares)


def _whole_week(path: str, region: int, shares: F8) -> F8:
    lacking = np.flatnonzero(np.isnan(shares))
    if len(lacking):
        raise UserError(
            f"{path}: region {region} lacks dow {lacking[0] // 24 + 1} hour {lacking[0] % 24}, a row for all 168 hours is expected"
        )
    if abs(shares.sum() - 1) > 1e-3:
        raise UserError(f"{path}: traffic_share of region {region} sums to {shares.sum():.4f}, 1 is expected")
    shares.flags.writeable = False
    return shares
