"""A limit order book in plain Python: a list of orders, sorted for every match. Written apart from the compiled one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BID, ASK = 0, 1


@dataclass(eq=False)
class Order:
    slot: int
    owner: int
    side: int
    price: int
    size: int
    came: int


class Book:
    """Orders by slot; `trades` are (comes, rests, signed quantity of who comes, price)."""

    def __init__(self) -> None:
        self.orders: dict[int, Order] = {}
        self.clock = 0
        self.trades: list[tuple[int, int, int, int]] = []

    def cancel(self, slot: int) -> None:
        self.orders.pop(slot, None)

    def side(self, side: int) -> list[Order]:
        """Orders of a side, the first to be met first."""
        sign = -1 if side == BID else 1
        return sorted((o for o in self.orders.values() if o.side == side), key=lambda o: (sign * o.price, o.came))

    def match(self, owner: int, side: int, size: int, limit: int) -> int:
        for order in self.side(1 - side):
            if size == 0 or (order.price > limit if side == BID else order.price < limit):
                break
            if order.owner == owner:
                self.cancel(order.slot)
                continue
            quantity = min(size, order.size)
            self.trades.append((owner, order.owner, quantity if side == BID else -quantity, order.price))
            size -= quantity
            order.size -= quantity
            if order.size == 0:
                self.cancel(order.slot)
        return size

    def place(self, slot: int, owner: int, side: int, price: int, size: int) -> None:
        here = self.orders.get(slot)
        if here and here.price == price and here.side == side and 0 < size <= here.size:
            here.size = size
            return
        self.cancel(slot)
        rest = self.match(owner, side, size, price)
        if rest:
            self.clock += 1
            self.orders[slot] = Order(slot, owner, side, price, rest, self.clock)

    def keep(self, low: int, high: int) -> None:
        """The grid reaches from `low` to `high`: orders outside are cancelled."""
        for order in list(self.orders.values()):
            if not low <= order.price <= high:
                self.cancel(order.slot)

    def ahead(self, slot: int) -> int:
        me = self.orders[slot]
        return sum(o.size for o in self.orders.values() if (o.side, o.price) == (me.side, me.price) and o.came < me.came)

    def queues(self) -> list[Any]:
        """(side, price, [(slot, size) from the oldest on]) of every price that has orders, in order."""
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for order in sorted(self.orders.values(), key=lambda o: o.came):
            found.setdefault((order.side, order.price), []).append((order.slot, order.size))
        return sorted((side, price, queue) for (side, price), queue in found.items())
