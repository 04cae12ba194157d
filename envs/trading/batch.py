# mypy: allow-untyped-defs, allow-incomplete-defs
"""A call auction: all trade at one price.

`linear_price` is the price of Kyle's linear maker, who alone supplies what the flow asks for. `crossing_price` is that of a call in which
limit orders stand beside the maker: the price at which the maker's linear supply (p - ref)/slope meets the excess demand.
"""

from __future__ import annotations

from envs.trading.ledger import whole
from marl.compiled import rule


@rule
def linear_price(reference, slope, flow):
    """reference + slope x flow: millionths of a dollar, with flow in shares and slope in millionths a share."""
    return reference + whole(slope * flow)
