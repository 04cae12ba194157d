"""The traffic profile of a file: schema region_id, dow (1 to 7), hour (0 to 23), traffic_share (of the region's week)."""

from __future__ import annotations

import numpy as np

from envs.files import number, table, whole
from marl.content import read_once
from marl.errors import UserError
from marl.game import F8

WEEK = 168
"""Hours of a week."""
FLAT = "flat"
"""Every tick has as many auctions: no file."""
TRAFFIC_COLUMNS = ("region_id", "dow", "hour", "traffic_share")
LIMITS = {"region_id": (0, 1e12), "dow": (1, 7), "hour": (0, 23)}


def traffic_profile(path: str, region: int, mark: str = "") -> F8:
    """Share of a week's traffic in each hour [168], from Monday (dow 1) 0 h on, of one region of a traffic file.

    The file has a header with region_id, dow (1 to 7), hour (0 to 23) and traffic_share. Raises UserError for a broken
    line, an hour that is missing or there twice, an unknown region, or shares that do not sum to 1 within .001. `mark`: see `read_once`.
    """
    found: F8 = _traffic(path, region, mark=mark)
    return found


@read_once(16)
def _traffic(path: str, region: int) -> F8:
    header, rows = table(path, dict.fromkeys(TRAFFIC_COLUMNS, ()))
    at = header.places(dict.fromkeys(TRAFFIC_COLUMNS, ()))
    shares, known = np.full(WEEK, np.nan), set()
    for line, cells in rows:
        place, day, hour = (whole(path, line, column, cells[i], *LIMITS[column], "") for column, i in zip(LIMITS, at))
        share = number(path, line, TRAFFIC_COLUMNS[3], cells[at[3]], 0, 1)
        known.add(place)
        if place == region:
            slot = (day - 1) * 24 + hour
            if not np.isnan(shares[slot]):
                raise UserError(f"{path}, line {line}: region {region} has dow {day} hour {hour} twice, one row for each hour is expected")
            shares[slot] = share
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
