"""Warehouse: robots bring requested shelves to a counter and carry them back (RWARE; Papoudakis et al. 2021).

A robot goes forward, turns, or lifts and puts down the shelf on its cell. With a shelf it cannot pass under others; a
shelf is put down off the aisles only. A requested shelf on a counter pays its robot 1, and another shelf that is not requested
is asked for instead. The rules are those of rware 2.0, whose robots that want the same cell, or follow each other, are
settled thus: a circle of three or more turns, two robots never swap, of the queues that lead to a free cell only the longest
advances, and whoever is behind a standing robot stands. Between queues of one length the original takes the order in
which it listed the cells (so do we; with four robots and more the order of a hash set, where we differ).

The original reports the time limit as the end of the game: here it is not seen and truncates. `delivered` is the robot's own part of
the reward, `team` the sum over robots: weights {delivered: 0, team: 1} are the published convention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from marl.compiled import rule
from marl.errors import UserError
from marl.game import I8, RUNNING, TRUNCATED, Column, Component, Discrete, Game, Role, array, inf
from marl.params import Params, derived, param
from marl.rng import draw, stream

STAY, FORWARD, TURN_LEFT, TURN_RIGHT, TOGGLE = range(5)
MOVES = ("stay", "forward", "turn_left", "turn_right", "toggle_load")
DIRECTIONS = ("up", "down", "left", "right")
RIGHT_OF = (3, 2, 0, 1)
LEFT_OF = (2, 3, 1, 0)
ACROSS, DOWN = (0, 0, -1, 1), (-1, 1, 0, 0)
ROBOTS, REQUESTS, NEXT = 0, 1, 2
ATTEMPTS = 10_000
OWN, SEEN = 8, 7
"""Columns of the robot itself, and of each cell around it."""


@dataclass(frozen=True)
class WarehouseParams(Params):
    TABLES: ClassVar[tuple[str, ...]] = ("aisle", "home")
    shelf_columns: int = param(3, 1, 31, "columns of two shelves, an odd number")
    shelf_rows: int = param(1, 1, 16, "blocks of shelves below each other")
    column_height: int = param(8, 1, 32, "shelves")
    n_agents: int = param(2, 1, 32, "robots")
    requests: int = param(2, 1, 64, "shelves that are asked for at a time")
    sensor_range: int = param(1, 0, 5, "cells")
    horizon: int = param(500, 1, 100_000, "ticks")

    def validate(self) -> None:
        if self.shelf_columns % 2 == 0:
            raise UserError(f"WarehouseParams.shelf_columns = {self.shelf_columns}: legal are odd numbers, counters stand in the middle")
        if 2 * self.requests > self.shelves:
            raise UserError(f"WarehouseParams.requests = {self.requests} shelves: legal are at most {self.shelves // 2}, half of all")
        if 2 * self.n_agents > self.cells:
            raise UserError(f"WarehouseParams.n_agents = {self.n_agents} robots: legal are at most {self.cells // 2}, half the cells")

    @derived
    def height(self) -> int:
        return (self.column_height + 1) * self.shelf_rows + 2

    @derived
    def width(self) -> int:
        return 3 * self.shelf_columns + 1

    @derived
    def cells(self) -> int:
        return self.height * self.width

    @derived
    def shelves(self) -> int:
        return int((aisles(self) == 0).sum())

    def tables(self) -> Mapping[str, npt.NDArray[Any]]:
        return {"aisle": aisles(self), "home": np.flatnonzero(aisles(self) == 0)}


@lru_cache(maxsize=64)
def aisles(p: WarehouseParams) -> I8:
    """[cells] 1 where no shelf may stand: between columns and blocks, the lowest row, and the queue before the counters."""
    y, x = np.divmod(np.arange(p.cells), p.width)
    middle = (x == p.width // 2 - 1) | (x == p.width // 2)
    queue = middle & (y > p.height - (p.column_height + 3))
    return ((x % 3 == 0) | (y % (p.column_height + 1) == 0) | (y == p.height - 1) | queue).astype(np.int64)


class WarehouseState(NamedTuple):
    """Cells are numbered by rows from the upper left."""

    cell: I8 = array("agents")  # [B, A]
    facing: I8 = array("agents")  # [B, A] number in DIRECTIONS
    load: I8 = array("agents")  # [B, A] number of the carried shelf from 1 on, 0 for none
    to: I8 = array("agents")  # [B, A] the cell that the robot wants to be on
    behind: I8 = array("agents")  # [B, A] robots of the longest queue behind this one
    goes: I8 = array("agents")  # [B, A] 1 where the robot may go
    shelf: I8 = array("cells")  # [B, cells] number of the shelf there from 1 on, 0 for none
    requested: I8 = array("shelves")  # [B, shelves] 1 where it is asked for
    queue: I8 = array("requests")  # [B, requests] shelves asked for, from 0 on
    delivered: I8 = array("agents")  # [B, A] in this episode


@rule
def begin(p, s, b):
    numbers = stream(s, b, ROBOTS)
    i = 0
    for a in range(p.n_agents):
        s.facing[b, a] = int(4 * draw(numbers, i))
        i += 1
        for _ in range(ATTEMPTS):
            s.cell[b, a] = int(p.cells * draw(numbers, i))
            i += 1
            if robot_at(s, b, a, s.cell[b, a]) < 0:
                break
        s.load[b, a] = s.behind[b, a] = s.goes[b, a] = s.delivered[b, a] = 0
        s.to[b, a] = s.cell[b, a]
    for c in range(p.cells):
        s.shelf[b, c] = 0
    for k in range(p.shelves):
        s.shelf[b, p.home[k]] = k + 1
        s.requested[b, k] = 0
    for q in range(p.requests):
        s.queue[b, q] = unasked(p, s, b, p.shelves - q, draw(stream(s, b, REQUESTS), q))
        s.requested[b, s.queue[b, q]] = 1


@rule
def unasked(p, s, b, count, chance):
    """A shelf among the `count` that are not asked for; chance is uniform."""
    left = int(count * chance)
    found = -1
    for k in range(p.shelves):
        if s.requested[b, k] == 0:
            found = k if left == 0 else found
            left -= 1
    return found


@rule
def robot_at(s, b, robots, cell):
    """Which of the first robots is there, -1 for none."""
    found = -1
    for a in range(robots):
        found = a if s.cell[b, a] == cell else found
    return found


@rule
def ahead(p, s, b, a):
    """The cell before robot a, its own at the wall."""
    y, x = s.cell[b, a] // p.width + DOWN[s.facing[b, a]], s.cell[b, a] % p.width + ACROSS[s.facing[b, a]]
    return y * p.width + x if 0 <= y < p.height and 0 <= x < p.width else s.cell[b, a]


@rule
def intend(p, s, b, a, move):
    """Set where robot a wants to be: a robot with a shelf does not go under one that stands."""
    s.to[b, a] = ahead(p, s, b, a) if move == FORWARD else s.cell[b, a]
    if s.load[b, a] > 0 and s.to[b, a] != s.cell[b, a] and s.shelf[b, s.to[b, a]] > 0:
        other = robot_at(s, b, p.n_agents, s.to[b, a])
        if other < 0 or s.load[b, other] == 0:
            s.to[b, a] = s.cell[b, a]


@rule
def moves(s, b, a):
    return s.to[b, a] != s.cell[b, a]


@rule
def listed(p, s, b, a):
    """When the cell of robot a is named first, in a list of each robot's own cell and the one that it wants."""
    first = 2 * a
    for i in range(a):
        first = min(first, 2 * i + 1) if s.to[b, i] == s.cell[b, a] else first
    return first


@rule
def leads(p, s, b, a):
    """Whether, among the robots that want the same cell, robot a has the longest queue behind it, and is listed first of these."""
    best = True
    for i in range(p.n_agents):
        if i != a and moves(s, b, i) and s.to[b, i] == s.to[b, a]:
            longer = s.behind[b, i] > s.behind[b, a]
            earlier = s.behind[b, i] == s.behind[b, a] and listed(p, s, b, i) < listed(p, s, b, a)
            best = best and not (longer or earlier)
    return best


@rule
def passes(p, s, b, a):
    """Whether robot a goes: follow the robots before it to a free cell, to one that stands, or round a circle."""
    at, first_in_all = a, True
    for before in range(p.n_agents):
        first_in_all = first_in_all and leads(p, s, b, at)
        following = robot_at(s, b, p.n_agents, s.to[b, at])
        if following < 0:
            return first_in_all
        if following == a:
            return before > 1
        if not moves(s, b, following):
            return False
        at = following
    return False


@rule
def settle(p, s, b):
    """Set who goes."""
    for a in range(p.n_agents):
        s.behind[b, a] = 0
    for _ in range(p.n_agents):
        for a in range(p.n_agents):
            for i in range(p.n_agents):
                if i != a and moves(s, b, i) and s.to[b, i] == s.cell[b, a]:
                    s.behind[b, a] = max(s.behind[b, a], min(s.behind[b, i] + 1, p.n_agents))
    for a in range(p.n_agents):
        s.goes[b, a] = 1 if moves(s, b, a) and passes(p, s, b, a) else 0


@rule
def turn_or_toggle(p, s, b, a, move):
    if move == TURN_LEFT:
        s.facing[b, a] = LEFT_OF[s.facing[b, a]]
    elif move == TURN_RIGHT:
        s.facing[b, a] = RIGHT_OF[s.facing[b, a]]
    elif move == TOGGLE and s.load[b, a] == 0:
        s.load[b, a] = s.shelf[b, s.cell[b, a]]
    elif move == TOGGLE and p.aisle[s.cell[b, a]] == 0:
        s.load[b, a] = 0


@rule
def go(p, s, b):
    """Move those who go with what they carry: first all leave, then all arrive."""
    for a in range(p.n_agents):
        if s.goes[b, a] == 1 and s.load[b, a] > 0:
            s.shelf[b, s.cell[b, a]] = 0
    for a in range(p.n_agents):
        if s.goes[b, a] == 1:
            s.cell[b, a] = s.to[b, a]
            if s.load[b, a] > 0:
                s.shelf[b, s.cell[b, a]] = s.load[b, a]


@rule
def hand_over(p, s, b, components):
    """Pay for requested shelves on the two counters in the middle of the lowest row, and ask for others; returns how many."""
    numbers, count = stream(s, b, NEXT), 0
    for counter in range((p.height - 1) * p.width + p.width // 2 - 1, (p.height - 1) * p.width + p.width // 2 + 1):
        k = s.shelf[b, counter] - 1
        if k >= 0 and s.requested[b, k] == 1:
            another = unasked(p, s, b, p.shelves - p.requests, draw(numbers, count))
            for q in range(p.requests):
                s.queue[b, q] = another if s.queue[b, q] == k else s.queue[b, q]
            s.requested[b, k], s.requested[b, another] = 0, 1
            a = robot_at(s, b, p.n_agents, counter)
            components[b, a, 0] += 1.0
            s.delivered[b, a] += 1
            count += 1
    return count


@rule
def step(p, s, b, action, components, cost):
    for a in range(p.n_agents):
        intend(p, s, b, a, int(action[b, a, 0]))
    settle(p, s, b)
    for a in range(p.n_agents):
        turn_or_toggle(p, s, b, a, int(action[b, a, 0]))
    go(p, s, b)
    count = hand_over(p, s, b, components)
    for a in range(p.n_agents):
        components[b, a, 1] = count
    return TRUNCATED if s.t[b] + 1 >= p.horizon else RUNNING


@rule
def look_at(p, s, b, row, c, y, x):
    """Fill the columns of the cell (y, x) from column c on: a robot and where it faces (up where there is none), a shelf, asked for."""
    inside = 0 <= y < p.height and 0 <= x < p.width
    cell = y * p.width + x if inside else 0
    a = robot_at(s, b, p.n_agents, cell) if inside else -1
    k = s.shelf[b, cell] - 1 if inside else -1
    facing = s.facing[b, a] if a >= 0 else 0
    row[c] = 1.0 if a >= 0 else 0.0
    for d in range(4):
        row[c + 1 + d] = 1.0 if facing == d else 0.0
    row[c + 5] = 1.0 if k >= 0 else 0.0
    row[c + 6] = s.requested[b, k] if k >= 0 else 0.0


@rule
def observe(p, s, b, obs):
    for a in range(p.n_agents):
        y, x = s.cell[b, a] // p.width, s.cell[b, a] % p.width
        obs[b, a, 0], obs[b, a, 1], obs[b, a, 2] = x, y, 1.0 if s.load[b, a] > 0 else 0.0
        for d in range(4):
            obs[b, a, 3 + d] = 1.0 if s.facing[b, a] == d else 0.0
        obs[b, a, 7] = p.aisle[s.cell[b, a]]
        c = OWN
        for down in range(-p.sensor_range, p.sensor_range + 1):
            for across in range(-p.sensor_range, p.sensor_range + 1):
                look_at(p, s, b, obs[b, a], c, y + down, x + across)
                c += SEEN


@rule
def measure(p, s, b, metrics):
    total = 0
    for a in range(p.n_agents):
        total += s.delivered[b, a]
    for a in range(p.n_agents):
        metrics[b, a, 0], metrics[b, a, 1] = s.delivered[b, a], total


def roles(p: WarehouseParams) -> tuple[Role, ...]:
    """The robot's place, load, direction and whether it is in an aisle; then robots and shelves on the cells around it, by rows."""
    flag = Column(0, 1)
    seen = {"x": Column(0, p.width - 1, "cells"), "y": Column(0, p.height - 1, "cells"), "loaded": flag}
    seen |= {f"faces_{d}": flag for d in DIRECTIONS} | {"in_aisle": flag}
    for i in range((2 * p.sensor_range + 1) ** 2):
        seen |= {f"cell_{i}_{name}": flag for name in ("robot", *DIRECTIONS, "shelf", "requested")}
    return (Role("robot", p.n_agents, seen, {"move": Discrete(len(MOVES), MOVES)}),)


WAREHOUSE = Game(
    "warehouse",
    version=0,
    params=WarehouseParams,
    state=WarehouseState,
    roles=roles,
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics={"delivered": Column(0, inf, "shelves, the robot's"), "team_delivered": Column(0, inf, "shelves")},
    reward={"delivered": Component(1.0, "shelves"), "team": Component(0.0, "sum over robots")},
    presets={"tiny-2ag": {}},
    citation="Papoudakis et al. 2021, Benchmarking multi-agent deep reinforcement learning algorithms in cooperative tasks",
)
