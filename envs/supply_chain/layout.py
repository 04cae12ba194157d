"""Networks: who may buy from whom. Node 0 stands downstream; a supplier's number is above its buyers', that of the outside is N.

Retailers are nodes that nobody buys from: customers buy from them. Nodes without suppliers buy from the outside. Numbers of nodes and
links are written as short texts: one number for all, one for each, or a range `2-5` from which the network's seed draws.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from marl.errors import UserError
from marl.game import F8, I8, index

WAY = ("buyer", "up", "lead", "lag")
"""Of a link: buyer, supplier (N: the outside), ticks of shipments, ticks of orders."""
AT = ("first", "last", "out_first", "out_last", "depth", "weight", "retail", "cap", "room", "tariff")
"""Of a node, and of the outside: its links as buyer, its places in `out` as supplier, links from the customers, raw units in one of its,
number among the retailers (-1), parts that it ships in a tick and stores at most (0: no limit), thousandths of money a unit."""
RATE = ("hold", "short", "cover")
"""Of a node: costs of a unit on hand and owed, ticks that an order-up-to level covers."""
EACH = ("scale", "mean", "unit", "usual")
"""Of a node and product, in parts: mean demand that passes through, customers' mean demand, what an action of 1 adds
and what one of 0 is."""
OPENING = ("stock", "slot")
"""Of a node and product at the beginning, in parts: on hand, in each tick of shipments and orders under way."""
CYCLE = ("sine", "cosine", "factor")
"""Of a tick of the season; the last is that of the mean demand."""
way_, at_, rate_, each_, opening_, cycle_ = (index(dict.fromkeys(names)) for names in (WAY, AT, RATE, EACH, OPENING, CYCLE))
TOPOLOGIES = ("serial", "divergent", "assembly", "parallel", "generated", "links")
MOST_LEAD, MOST = 16, 1e6


class Network(NamedTuple):
    """N nodes, E links sorted by buyer; `up` is N for the outside. Customers of supplier i: out[out_first[i] : out_first[i + 1]]."""

    buyer: I8  # [E]
    up: I8  # [E]
    first: I8  # [N + 1] a buyer's first link
    out_first: I8  # [N + 2] a supplier's first place in `out`
    out: I8  # [E] links sorted by supplier
    depth: I8  # [N] links from the customers, the longest way
    weight: I8  # [N] raw units in one of the node's
    share: F8  # [N, N] units of node i that one demanded of node j takes, at equal sourcing shares


def pairs(topology: str, nodes: int, fan: int, tiers: int, sources: int, retailers: int, seed: int, links: str) -> list[tuple[int, int]]:
    """(buyer, supplier) of every link between nodes."""
    if topology == "serial":
        return [(j, j + 1) for j in range(nodes - 1)]
    if topology == "divergent":  # a heap upside down: node N - 1 is its root
        return [(nodes - 1 - r, nodes - 1 - (r - 1) // fan) for r in range(nodes - 1, 0, -1)]
    if topology == "assembly":  # a heap: node 0 is its root
        return sorted(((r - 1) // fan, r) for r in range(1, nodes))
    if topology == "generated":
        return generated(nodes, tiers, sources, retailers, seed)
    return given(links, nodes) if topology == "links" else []


def generated(nodes: int, tiers: int, sources: int, retailers: int, seed: int) -> list[tuple[int, int]]:
    """Links of a layered network by seed: retailers first, then layers as even as can be; everybody has 1 to `sources` suppliers.

    Suppliers are of the next layer and serve at least one buyer. Raises UserError where a layer would be empty or too wide.
    """
    if tiers < 1 or nodes < retailers + tiers - 1 or (tiers == 1 and nodes != retailers):
        raise UserError(f"tiers = {tiers} with n_agents = {nodes} and {retailers} retailers: a node for each layer above them is expected")
    generator = np.random.default_rng([seed, nodes, tiers])
    rest = nodes - retailers
    sizes = [retailers] + [rest // (tiers - 1) + (i < rest % (tiers - 1)) for i in range(tiers - 1)] if tiers > 1 else [retailers]
    found: set[tuple[int, int]] = set()
    begin = 0
    for size, above in pairwise(sizes):
        if above > sources * size:
            raise UserError(f"sources = {sources}: {size} buyers for {above} suppliers of a layer, legal are {-(-above // size)} or more")
        upper, served = begin + size, generator.permutation(above)
        for j in range(size):
            own = served[j::size].tolist()  # everybody sells to somebody
            count = int(generator.integers(1, min(sources, above) + 1))
            others = generator.permutation(np.setdiff1d(np.arange(above), own))[: max(0, count - len(own))].tolist()
            found |= {(begin + j, upper + k) for k in own + others}
        begin = upper
    return sorted(found)


def given(links: str, nodes: int) -> list[tuple[int, int]]:
    """Links of a text `0 2 / 1 2`: rows of buyer and supplier. Raises UserError."""
    try:
        rows = [tuple(int(cell) for cell in row.split()) for row in links.split("/")] if links.strip() else []
    except ValueError:
        rows = [()]
    if not all(len(row) == 2 and 0 <= row[0] < row[1] < nodes for row in rows) or len(set(rows)) != len(rows):
        raise UserError(f"links = {links!r}: rows of a buyer and a supplier of a higher number below {nodes}, parted by /, are expected")
    return sorted((row[0], row[1]) for row in rows)


@lru_cache(maxsize=256)
def network(
    topology: str, nodes: int, fan: int, tiers: int, sources: int, retailers: int, seed: int, links: str, assembles: bool
) -> Network:
    """The network that the parameters of these names describe. Raises UserError."""
    between = pairs(topology, nodes, fan, tiers, sources, retailers, seed, links)
    buying = {j for j, _ in between}
    every = sorted(between + [(j, nodes) for j in range(nodes) if j not in buying])
    buyer, up = (np.array(column, np.int64) for column in zip(*every))
    first = np.searchsorted(buyer, np.arange(nodes + 1))
    out = np.argsort(up, kind="stable")
    out_first = np.searchsorted(up[out], np.arange(nodes + 2))
    depth, weight, share = np.zeros(nodes, np.int64), np.ones(nodes, np.int64), np.eye(nodes)
    for e in range(len(buyer)):
        if up[e] < nodes:
            depth[up[e]] = max(depth[up[e]], depth[buyer[e]] + 1)
            share[up[e]] += share[buyer[e]] / (1 if assembles else first[buyer[e] + 1] - first[buyer[e]])
    for j in range(nodes - 1, -1, -1):
        suppliers = up[first[j] : first[j + 1]]
        weight[j] = sum(weight[i] if i < nodes else 1 for i in suppliers) if assembles else 1
    if weight.max() > 1e6:
        raise UserError(f"topology = {topology!r}: a unit of node {int(weight.argmax())} has {int(weight.max())} raw ones, legal are 1e6")
    found = Network(buyer, up, first, out_first, out, depth, weight, share)
    for array in found:
        array.flags.writeable = False
    return found


def numbers(name: str, text: str, count: int, low: float, high: float, seed: int) -> F8:
    """One number a node or link [count] of a text; a range `2-5` is of whole numbers, drawn by the seed. Raises UserError."""
    cells = text.split()
    generator = np.random.default_rng([seed, *name.encode()])
    drawn = [_drawn(name, text, cell, low, high, generator) for cell in (cells * count if len(cells) == 1 else cells)]
    if len(drawn) != count:
        raise UserError(f"{name} = {text!r}: one number or {count} are expected")
    return np.array(drawn)


def _drawn(name: str, text: str, cell: str, low: float, high: float, generator: np.random.Generator) -> float:
    ends = cell.split("-")
    try:
        values = [float(end) for end in ends]
    except ValueError:
        values = []
    if not 1 <= len(values) <= 2 or not all(low <= x <= high for x in values) or values != sorted(values):
        raise UserError(f"{name} = {text!r}: numbers in [{low:g}, {high:g}], or ranges like 1-3 of them, are expected")
    return values[0] if len(values) == 1 else float(generator.integers(int(values[0]), int(values[1]) + 1))


def whole(name: str, text: str, count: int, high: float, seed: int) -> I8:
    """The same of whole numbers from 0 on."""
    found = numbers(name, text, count, 0, high, seed)
    if (found != np.floor(found)).any():
        raise UserError(f"{name} = {text!r}: whole numbers are expected")
    return found.astype(np.int64)


def largest(text: str) -> int:
    """The largest number in a text, range ends included: what columns are made for, whatever the seed draws."""
    return int(max(float(end) for cell in text.split() for end in cell.split("-")))
