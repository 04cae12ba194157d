"""One good table for each reader of a text file, small, and what the reader makes of it in an order that can be compared."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from envs.auction.data import traffic_profile
from envs.auction_log.data import read_log
from envs.resource_allocation.data import read_trace
from envs.supply_chain.data import read_daily
from envs.trading.data import read_bars


class Table(NamedTuple):
    read: Callable[[str], Any]
    text: str
    number: str  # a cell of the second line that is a number, as it stands there
    column: str  # its column
    given: dict[str, Any]  # parameters of the game, the file under `file` is to come
    game: str
    file: str


WEEK = "".join(f"7,{d},{h},{1 / 168:.9f}\n" for d in range(1, 8) for h in range(24))
DAYS = [date(2020, 1, 1) + timedelta(d) for d in range(30)]
TABLES = {
    "bars": Table(
        read_bars,
        "ticker,date,open,high,low,close,volume\n" + "".join(f"KO,{d},50,52,49,51,500{i}\n" for i, d in enumerate(DAYS)),
        "5000", "volume", {"assets": 1}, "trading_log", "bars",
    ),
    "demand": Table(
        read_daily, "stock_code,date,units\n" + "".join(f"A,{d},{3 + i}\n" for i, d in enumerate(DAYS)), "3", "units",
        {"topology": "parallel", "n_agents": 1, "products": 1}, "supply_chain_log", "trace",
    ),
    "trace": Table(
        read_trace, "t_s,context_tokens,generated_tokens\n" + "".join(f"{i}.5,{100 + i},{20 + i}\n" for i in range(60)), "100",
        "context_tokens", {"n_agents": 2}, "allocation_log", "trace",
    ),
    "log": Table(
        read_log, "click,price,pctr\n" + "".join(f"{int(i % 9 == 0)},{30 + i},0.125\n" for i in range(60)), "30", "price",
        {"horizon": 2}, "auction_log", "train",
    ),
    "traffic": Table(
        lambda path: traffic_profile(path, 7), "region_id,dow,hour,traffic_share\n" + WEEK, "7", "region_id", {"region": 7}, "auction",
        "traffic",
    ),
}  # fmt: skip


def written(folder: Path, data: str | bytes, name: str = "table.csv") -> str:
    """The path of a file with this text."""
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)


def plain(found: Any) -> Any:
    """What a reader made, as lists."""
    if isinstance(found, dict):
        return {key: plain(value) for key, value in found.items()}
    if isinstance(found, tuple):
        return [plain(value) for value in found]
    return found.tolist() if isinstance(found, np.ndarray) else found


def parameters(table: Table, path: str) -> dict[str, Any]:
    """Parameters of the table's game with the file at `path`."""
    beside = {"test": path} if table.file == "train" else {}
    return {**table.given, table.file: path, **beside}
