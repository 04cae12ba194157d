"""`marl generate`: write a synthetic data file of the schema that a game reads."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.cli import parser
from marl.errors import UserError

GENERATORS = {
    "allocation_log": "envs.resource_allocation.data:generate",
    "auction": "envs.auction_log.data:generate",
    "auction_log": "envs.auction_log.data:generate",
    "supply_chain": "envs.supply_chain.data:generate",
    "supply_chain_log": "envs.supply_chain.data:generate",
    "trading": "envs.trading.data:generate",
    "trading_log": "envs.trading.data:generate",
}
"""Game -> the function (path, rows, seed) that writes its file."""
FITTED = ("auction", "auction_log")
"""Those whose function takes a file to be like."""


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parser("generate")
    options.add_argument("game", help=f"whose data: {', '.join(GENERATORS)}")
    options.add_argument("-o", "--output", required=True, metavar="FILE", help="where it goes; packed where it ends in .gz")
    options.add_argument("--rows", type=int, default=10_000, help="lines of data (10,000)")
    options.add_argument("--seed", type=int, default=0, help="of the drawn numbers (0)")
    options.add_argument("--like", metavar="FILE", help=f"fit the law to this file of the same schema: {', '.join(FITTED)}")
    given = options.parse_args(list(arguments))
    if given.game not in GENERATORS:
        raise UserError(f"marl generate {given.game}: legal are {', '.join(GENERATORS)}")
    if not 2 <= given.rows <= 10_000_000:
        raise UserError(f"--rows = {given.rows}: legal range is [2, 10000000]")
    if given.seed < 0:
        raise UserError(f"--seed = {given.seed}: legal are whole numbers from 0")
    if given.like is not None and given.game not in FITTED:
        raise UserError(f"--like {given.like}: legal with {', '.join(FITTED)}")
    like = {} if given.like is None else {"like": given.like}
    module, _, function = GENERATORS[given.game].partition(":")
    folder = Path(given.output).parent
    if not folder.exists():
        if not folder.parent.is_dir() or folder.parent.samefile("/"):
            raise UserError(f"-o {given.output}: there is no folder {folder}, make it first")
        folder.mkdir()
        print(f"marl: made the folder {folder}", file=sys.stderr)
    getattr(importlib.import_module(module), function)(given.output, given.rows, given.seed, **like)
    print(f"{given.output}: {given.rows:,} rows for env={given.game}")
    return 0
