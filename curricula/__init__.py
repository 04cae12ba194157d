"""Curricula by name. Adding one is one function in a file here and one line in `CURRICULA`."""

from __future__ import annotations

import importlib

from curricula.manager import Check, Curriculum, same_columns
from curricula.stage import Stage
from marl.errors import UserError

CURRICULA: dict[str, str] = {
    "auction_formats": "curricula.auction:formats",
    "auction": "curricula.auction:stages",
    "resource_allocation": "curricula.resource_allocation:stages",
    "supply_chain": "curricula.supply_chain:stages",
    "trading": "curricula.trading:stages",
    "trading_demo": "curricula.trading:demo",
}
"""Name -> "module:function" that returns the stages."""


def load(name: str, check: Check | None = None) -> Curriculum:
    """The curriculum of that name at its first stage; an unknown one is refused with the legal ones."""
    if name not in CURRICULA:
        raise UserError(f"curriculum = {name!r}: no such curriculum, legal are {', '.join(CURRICULA)}")
    module, _, function = CURRICULA[name].partition(":")
    return Curriculum(getattr(importlib.import_module(module), function)(), check)


__all__ = ["CURRICULA", "Curriculum", "Stage", "load", "same_columns"]
