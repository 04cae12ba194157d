"""Logs of real auctions as columns. Schema, a text table (`envs.files`), plain or packed:

click (0 or 1), price (highest competing bid, a whole number of the log's money unit; iPinYou: CNY fen per mille), pctr
(a model's click probability) and, if wanted, exchange (ignored). With a header the columns are found by these names
and others are ignored; without one they stand in this order. One line is one auction, in order of arrival.

Or a Parquet file in AuctionNet's columns (`marl export` writes one): of one advertiser, by day, tick and auction, `leastWinningCost` is the
price in millionths, rounded up, `pValue` the chance and `conversionAction` the click.
"""

from __future__ import annotations

import gzip
import importlib
import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np

from envs.files import PARQUET, STRANGE, Header, first_bytes, rows, shown, value_of
from marl.content import read_once, warn
from marl.errors import UserError
from marl.extras import need
from marl.game import F8, I8

COLUMNS = ("click", "price", "pctr")
OPTIONAL = "exchange"
DEAREST = 1e9
"""Highest price of a log in money units, so that sums of whole numbers stay exact."""

BROUGHT = ("deliveryPeriodIndex", "advertiserNumber", "timeStepIndex", "pvIndex", "pValue", "conversionAction", "leastWinningCost")
"""Columns of AuctionNet that are read."""
MILLION, ROUNDING = 1e6, 1e-6

MOST_BROUGHT = 40_000_000
"""Rows of a Parquet file, of all its advertisers."""
BATCH = 65_536
"""Lines that are turned into numbers at once."""
SYNTHETIC, BUILT_IN = "synthetic", r"synthetic(/[0-9]{1,9})?"
"""The built-in log, and the pattern of all built-in ones: one a number."""
SURE, UNLIKE = 20.0, 10.0
"""Expected clicks from which they tell something of pCTR, and by what factor they may differ."""
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


def read_log(path: str, advertiser: int = 0, mark: str = "") -> Log:
    """The log in a file (a Parquet file's rows of one advertiser), or the built-in one where the path is `synthetic` or `synthetic/NUMBER`.

    Raises UserError that names file, line and column for missing columns, broken lines and illegal values. `mark`: see `read_once`.
    """
    if re.fullmatch(BUILT_IN, path):
        return synthetic_log(path)
    found: Log = _read(path, advertiser, mark=mark)
    return found


class Law(NamedTuple):
    """Of a log: prices lognormal, rounded down and capped; pCTR lognormal, independent of them, and exact."""

    location: float  # mean of log-prices
    sd: float  # of log-prices
    cap: float  # highest price, money units
    ctr: float  # mean of pCTR
    spread: float  # standard deviation of log-pCTR


DECLARED = Law(*SYNTHETIC_PRICE, SYNTHETIC_CTR, SYNTHETIC_SPREAD)


def fitted(log: Log) -> Law:
    """The law of a log: moments of the logarithms of positive prices and pCTR, the highest price, clicks an auction."""
    price, pctr = np.log(log.price[log.price > 0]), np.log(log.pctr[log.pctr > 0])
    if len(price) < 2 or len(pctr) < 2 or not log.click.any():
        raise UserError("a law is fitted to a log with a click and at least two positive prices and pctr")
    return Law(float(price.mean()), float(price.std()), float(log.price.max()), float(log.click.mean()), float(pctr.std()))


def drawn_log(law: Law, rows: int, generator: np.random.Generator) -> Log:
    """So many auctions by a law; clicks have the chance that pCTR says."""
    price = np.minimum(np.exp(generator.normal(law.location, law.sd, rows)), law.cap).astype(np.int64)
    pctr = np.minimum(np.exp(generator.normal(-(law.spread**2) / 2, law.spread, rows)) * law.ctr, 1.0)
    return Log((generator.random(rows) < pctr).astype(np.int64), price, pctr)


def synthetic_log(path: str) -> Log:
    """20,000 auctions by seeded laws: lognormal prices, capped; lognormal pCTR, exact; independent of each other."""
    return drawn_log(DECLARED, SYNTHETIC_ROWS, np.random.default_rng([ord(c) for c in path]))


def generate(path: str, rows: int, seed: int, like: str | None = None) -> None:
    """Write a log of so many auctions by the declared law, or by that of the log `like`: what `marl generate auction` does."""
    law = DECLARED if like is None else fitted(read_log(like))
    log = drawn_log(law, rows, np.random.default_rng(seed))
    pack: Any = gzip.open if path.endswith(".gz") else open
    with pack(path, "wt", encoding="utf-8", newline="") as file:
        file.write(",".join(COLUMNS) + "\n")
        file.writelines(f"{c},{p},{x:.9g}\n" for c, p, x in zip(log.click.tolist(), log.price.tolist(), log.pctr.tolist()))


@read_once(8)
def _read(path: str, advertiser: int) -> Log:
    parquet = path.endswith(".parquet") or first_bytes(path) == PARQUET
    return _read_parquet(path, advertiser) if parquet else _read_text(path)


def _read_text(path: str) -> Log:
    found = rows(path, (*COLUMNS, OPTIONAL))
    first = next(found, None)
    if first is None:
        raise UserError(f"{path}: the file is empty, a log with columns {', '.join(COLUMNS)} is expected")
    header = _header(path, *first)
    at = [0, 1, 2] if header is None else header.places(dict.fromkeys(COLUMNS, ()))
    kept = _numbers(path, chain([first], found) if header is None else found, at, header or Header(path, *first))
    if not len(kept[0]):
        raise UserError(f"{path}: no auctions after the header, at least one line is expected")
    click, price, pctr = (np.array(column) for column in kept)
    expected = float(pctr.sum())
    if max(expected, click.sum()) > SURE and not 1 / UNLIKE <= expected / max(click.sum(), 1.0) <= UNLIKE:
        warn(f"{path}, column 'pctr': {expected:.4g} clicks are expected and {click.sum():g} came: are they percents?")
    log = Log(click.astype(np.int64), price.astype(np.int64), pctr)
    for values in log:
        values.flags.writeable = False
    return log


def _numbers(path: str, body: Iterator[tuple[int, list[str]]], at: Sequence[int], header: Header) -> list[Any]:
    """The three columns as numbers [N], a batch of lines after the other: their text would take twenty times the memory."""
    kept = [array("d") for _ in COLUMNS]
    while batch := list(islice(body, BATCH)):
        for line, cells in batch:
            if len(cells) != len(header.cells):
                header.check(line, cells)
        for own, name, i in zip(kept, COLUMNS, at):
            own.frombytes(_column(path, batch, name, i).tobytes())
    return kept


def _read_parquet(path: str, advertiser: int) -> Log:
    arrow = need("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    try:
        file = parquet.ParquetFile(path)
        missing = [name for name in BROUGHT if name not in file.schema_arrow.names]
        if missing:
            raise UserError(f"{path}: column {missing[0]!r} is missing, {', '.join(BROUGHT)} are expected")
        if file.metadata.num_rows > MOST_BROUGHT:
            raise UserError(f"{path}: {file.metadata.num_rows:,} rows, legal are {MOST_BROUGHT:,} at most")
        table = parquet.read_table(path, columns=list(BROUGHT), filters=[("advertiserNumber", "=", advertiser)])
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}, a Parquet file is expected") from error
    except arrow.ArrowException as error:
        raise UserError(f"{path}: a Parquet file in AuctionNet's columns is expected: {str(error).splitlines()[0]}") from error
    if not table.num_rows:
        raise UserError(f"{path}: no rows with advertiserNumber = {advertiser}")
    found = {name: np.asarray(table[name].to_numpy(), np.float64) for name in BROUGHT}
    order = np.lexsort((found["pvIndex"], found["timeStepIndex"], found["deliveryPeriodIndex"]))
    click, price, pctr = (found[name][order] for name in ("conversionAction", "leastWinningCost", "pValue"))
    price = np.ceil(price * MILLION - ROUNDING)
    legal = {
        "conversionAction": (click, np.isin(click, (0, 1)), "0 or 1"),
        "leastWinningCost": (price, (price >= 0) & (price <= DEAREST), f"money in [0, {DEAREST / MILLION:g}]"),
        "pValue": (pctr, (pctr >= 0) & (pctr <= 1), "a probability in [0, 1]"),
    }
    for name, (values, ok, expected) in legal.items():
        if not ok.all():
            raise UserError(f"{path}, column {name!r}: {values[int(np.argmin(ok))]!r}, {expected} is expected")
    log = Log(click.astype(np.int64), price.astype(np.int64), pctr)
    for kept in log:
        kept.flags.writeable = False
    return log


def _header(path: str, line: int, cells: list[str]) -> Header | None:
    """The first line as a header; None where that is data already. Raises UserError where it is neither."""
    header = Header(path, line, cells)
    if any(name in (*COLUMNS, OPTIONAL) for name in header.names):
        return header
    if len(cells) not in (len(COLUMNS), len(COLUMNS) + 1):
        order = f"{', '.join(COLUMNS)} and perhaps {OPTIONAL} are expected in this order"
        raise UserError(f"{path}, line {line}: {len(cells)} columns and no header, {order}")
    return None


def _column(path: str, body: list[tuple[int, list[str]]], name: str, at: int) -> F8:
    """One column as numbers [N]; the first illegal cell is refused by its line."""
    cells = [row[at] for _, row in body]
    try:
        values = np.array([np.nan] if STRANGE.search("".join(cells)) else cells, np.float64)
    except ValueError:
        values = np.array([np.nan])
    if np.isnan(values).any():  # some cell is no number: which one takes longer to find
        values = np.array([value_of(cell) for cell in cells])
    legal = {
        "click": (np.isin(values, (0, 1)), "0 or 1"),
        "price": ((values >= 0) & (values <= DEAREST) & (np.floor(values) == values), f"a whole number of money units in [0, {DEAREST:g}]"),
        "pctr": ((values >= 0) & (values <= 1), "a probability in [0, 1]"),
    }
    ok, expected = legal[name]
    if not ok.all():
        worst = int(np.argmin(ok))
        raise UserError(f"{path}, line {body[worst][0]}, column {name!r}: {shown(cells[worst])}, {expected} is expected")
    return np.asarray(values, np.float64)
