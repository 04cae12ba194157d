"""Logs of real auctions as columns. Schema, a text table separated by tabs or commas, plain or `.gz`:

click (0 or 1), price (highest competing bid, a whole number of the log's money unit; iPinYou: CNY fen per mille), pctr
(a model's click probability) and, if wanted, exchange (ignored). With a header the columns are found by these names
and others are ignored; without one they stand in this order. One line is one auction, in order of arrival.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from envs.auction.data import lines
from marl.errors import UserError
from marl.game import F8, I8

COLUMNS = ("click", "price", "pctr")
OPTIONAL = "exchange"
DEAREST = 1e9
"""Highest price of a log in money units, so that sums of whole numbers stay exact."""

SYNTHETIC = "synthetic"
SYNTHETIC_ROWS = 20_000
SYNTHETIC_CTR = 0.00444
"""Clicks an impression of iPinYou campaign 2997 (train)."""
SYNTHETIC_PRICE = (3.87, 0.87, 300)
"""Mean and standard deviation of log-prices and their cap, iPinYou campaign 1458."""
SYNTHETIC_SPREAD = 1.0
"""Standard deviation of log-pCTR."""


class Log(NamedTuple):
    click: I8  # [N] 0 or 1
    price: I8  # [N] money units
    pctr: F8  # [N] as the file has it


def read_log(path: str) -> Log:
    """The log in a file, or the built-in synthetic one where the path is `synthetic` or `synthetic/NUMBER`.

    Raises UserError that names file, line and column for missing columns, broken lines and wrong or illegal values.
    """
    if path.split("/")[0] == SYNTHETIC:
        return synthetic_log(path)
    mark = Path(path).stat().st_mtime_ns if Path(path).is_file() else 0
    return _read(path, mark)


def synthetic_log(path: str) -> Log:
    """20,000 auctions by seeded laws: lognormal prices, capped; lognormal pCTR, exact; independent of each other."""
    generator = np.random.default_rng([ord(c) for c in path])
    location, sd, cap = SYNTHETIC_PRICE
    price = np.minimum(np.exp(generator.normal(location, sd, SYNTHETIC_ROWS)), cap).astype(np.int64)
    pctr = np.exp(generator.normal(-(SYNTHETIC_SPREAD**2) / 2, SYNTHETIC_SPREAD, SYNTHETIC_ROWS)) * SYNTHETIC_CTR
    pctr = np.minimum(pctr, 1.0)
    return Log((generator.random(SYNTHETIC_ROWS) < pctr).astype(np.int64), price, pctr)


@lru_cache(maxsize=8)
def _read(path: str, mark: int) -> Log:
    rows = lines(path, _delimiter(path))
    first = next(rows, None)
    if first is None:
        raise UserError(f"{path}: the file is empty, a log with columns {', '.join(COLUMNS)} is expected")
    header = _header(path, *first)
    body = list(rows if header else chain([first], rows))
    if not body:
        raise UserError(f"{path}: no auctions after the header, at least one line is expected")
    width = len(first[1])
    for line, cells in body:
        if len(cells) != width:
            raise UserError(f"{path}, line {line}: {len(cells)} cells, {width} are expected as in line {first[0]}")
    at = {c: header.index(c) if header else i for i, c in enumerate(COLUMNS)}
    numbers = {c: _column(path, body, c, at[c]) for c in COLUMNS}
    log = Log(numbers["click"].astype(np.int64), numbers["price"].astype(np.int64), numbers["pctr"])
    for values in log:
        values.flags.writeable = False
    return log


def _delimiter(path: str) -> str:
    _, cells = next(lines(path, "\t"), (1, [""]))
    return "\t" if len(cells) > 1 else ","


def _header(path: str, line: int, cells: list[str]) -> list[str]:
    """Names in the first line; empty where that is data already. Raises UserError where columns are missing."""
    names = [c.strip().lower() for c in cells]
    if not any(name in (*COLUMNS, OPTIONAL) for name in names):
        if len(cells) not in (len(COLUMNS), len(COLUMNS) + 1):
            order = f"{', '.join(COLUMNS)} and perhaps {OPTIONAL} are expected in this order"
            raise UserError(f"{path}, line {line}: {len(cells)} columns and no header, {order}")
        return []
    missing = [c for c in COLUMNS if c not in names]
    if missing:
        raise UserError(f"{path}, line {line}: column {missing[0]!r} is missing, the header must have {', '.join(COLUMNS)}")
    return names


def _column(path: str, body: list[tuple[int, list[str]]], name: str, at: int) -> F8:
    """One column as numbers [N]; the first illegal cell is refused by its line."""
    cells = [row[at] for _, row in body]
    try:
        values = np.array(cells, np.float64)
    except ValueError:
        values = np.array([_float(cell) for cell in cells])
    legal = {
        "click": (np.isin(values, (0, 1)), "0 or 1"),
        "price": ((values >= 0) & (values <= DEAREST) & (np.floor(values) == values), f"a whole number of money units in [0, {DEAREST:g}]"),
        "pctr": ((values >= 0) & (values <= 1), "a probability in [0, 1]"),
    }
    ok, expected = legal[name]
    if not ok.all():
        worst = int(np.argmin(ok))
        raise UserError(f"{path}, line {body[worst][0]}, column {name!r}: {cells[worst]!r}, {expected} is expected")
    return np.asarray(values, np.float64)


def _float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
