"""Level-based foraging: agents load food on a grid, together where its level is above their own (Albrecht and Ramamoorthy 2013).

A food is loaded when the levels of the agents beside it that load in the same tick sum to its level at least. It is
worth its level over the levels of all food of the episode, shared among the loaders by level; all food is worth 1 to the
team. An agent that would leave the field or walk into food, or that loads with no food beside it, stays where it is; so do all
agents that head for one cell. The rules are those of lbforaging 2.0 (Christianos et al. 2020, Papoudakis et al. 2021).

Two things differ. The original reports the time limit as the end of the game: here it is not seen and truncates, only
a field without food terminates. `food_levels` v2 is the rule of the version that Papoudakis et al. used: where food need not be
loaded together its level is drawn below the highest one, which v3 includes.

`food` is the agent's own part of the reward, `team` the sum over agents: weights {food: 0, team: 1} are the published convention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from marl.compiled import rule
from marl.errors import UserError
from marl.game import F4, F8, I8, RUNNING, TERMINATED, TRUNCATED, Column, Component, Discrete, Game, Role, array
from marl.params import Params, choice, derived, param
from marl.rng import draw, stream

STAY, NORTH, SOUTH, WEST, EAST, LOAD = range(6)
MOVES = ("stay", "north", "south", "west", "east", "load")
FORAGERS, FOOD = 0, 1
ATTEMPTS = 1000
"""Places that are tried for one agent, and for all food of an episode."""


@dataclass(frozen=True)
class ForagingParams(Params):
    size: int = param(8, 5, 64, "cells", "of each side of the field")
    n_agents: int = param(2, 1, 64, "agents")
    n_food: int = param(2, 1, 64, "foods")
    sight: int = param(8, 1, 64, "cells", "the field's size to see everything")
    coop: bool = param(False, 0, 1, "", "all food has the level that needs the three weakest agents together")
    food_levels: str = choice("v3", ("v3", "v2"), "whether levels that are drawn include the highest")
    max_level: int = param(2, 1, 100, "levels", "of an agent, drawn from 1 on")
    max_food_level: int = param(0, 0, 1000, "levels", "0 for the sum of the three weakest agents")
    penalty: float = param(0.0, 0.0, 1.0, "reward", "for loading in vain")
    horizon: int = param(50, 1, 100_000, "ticks")

    def validate(self) -> None:
        if 2 * self.n_agents > self.size**2:
            raise UserError(f"ForagingParams.n_agents = {self.n_agents} agents: legal are at most {self.size**2 // 2}, half the cells")

    @derived
    def highest(self) -> int:
        """Highest level that food may have."""
        return self.max_food_level or min(3, self.n_agents) * self.max_level


class ForagingState(NamedTuple):
    row: I8 = array("agents")  # [B, A] from the north
    column: I8 = array("agents")  # [B, A] from the west
    level: I8 = array("agents")  # [B, A]
    to_row: I8 = array("agents")  # [B, A] where the agent heads in this tick
    to_column: I8 = array("agents")  # [B, A]
    loads: I8 = array("agents")  # [B, A] the food that the agent loads in this tick, -1 for none
    food_row: I8 = array("n_food")  # [B, n_food], by row, then by column
    food_column: I8 = array("n_food")  # [B, n_food]
    food_level: I8 = array("n_food")  # [B, n_food] 0 where it is eaten
    supply: I8 = array()  # [B] sum of the levels of all food at the start
    earned: F8 = array("agents")  # [B, A] share of the supply


@rule
def begin(p, s, b):
    numbers = stream(s, b, FORAGERS)
    i = 0
    for a in range(p.n_agents):
        s.earned[b, a] = 0.0
        s.loads[b, a] = -1
        s.level[b, a] = 1 + int(p.max_level * draw(numbers, i))
        i += 1
        for _ in range(ATTEMPTS):
            s.row[b, a], s.column[b, a] = int(p.size * draw(numbers, i)), int(p.size * draw(numbers, i + 1))
            i += 2
            if not occupied(s, b, a, s.row[b, a], s.column[b, a]):
                break
        s.to_row[b, a], s.to_column[b, a] = s.row[b, a], s.column[b, a]
    grow(p, s, b)


@rule
def occupied(s, b, agents, row, column):
    """Whether one of the first agents stands there."""
    found = False
    for a in range(agents):
        found = found or (s.row[b, a] == row and s.column[b, a] == column)
    return found


@rule
def weakest(p, s, b):
    """Sum of the three lowest levels."""
    first, second, third = 1 << 30, 1 << 30, 1 << 30
    for a in range(p.n_agents):
        level = s.level[b, a]
        if level < first:
            first, second, third = level, first, second
        elif level < second:
            second, third = level, second
        elif level < third:
            third = level
    return first + (second if p.n_agents > 1 else 0) + (third if p.n_agents > 2 else 0)


@rule
def grow(p, s, b):
    """Place the food: not on the edge, not on an agent, no two with fewer than two cells between them in a line, or touching."""
    numbers = stream(s, b, FOOD)
    top = p.max_food_level if p.max_food_level > 0 else weakest(p, s, b)
    drawn = 0 if p.coop else (top if p.food_levels == 0 else max(top - 1, 1))
    s.supply[b] = 0
    for f in range(p.n_food):
        s.food_level[b, f] = s.food_row[b, f] = s.food_column[b, f] = 0
    f = 0
    for i in range(ATTEMPTS):
        row, column = 1 + int((p.size - 2) * draw(numbers, 3 * i)), 1 + int((p.size - 2) * draw(numbers, 3 * i + 1))
        if f < p.n_food and free(p, s, b, f, row, column):
            level = top if drawn == 0 else 1 + int(drawn * draw(numbers, 3 * i + 2))
            sort_in(s, b, f, row, column, level)
            s.supply[b] += level
            f += 1
        if f == p.n_food:
            break


@rule
def free(p, s, b, foods, row, column):
    """Whether food may stand there beside the first foods."""
    for f in range(foods):
        down, right = abs(s.food_row[b, f] - row), abs(s.food_column[b, f] - column)
        if (down <= 1 and right <= 1) or (down == 0 and right <= 2) or (right == 0 and down <= 2):
            return False
    return not occupied(s, b, p.n_agents, row, column)


@rule
def sort_in(s, b, f, row, column, level):
    """Insert a food into the first f, which stand in the order of their cells."""
    while f > 0 and (s.food_row[b, f - 1] > row or (s.food_row[b, f - 1] == row and s.food_column[b, f - 1] > column)):
        s.food_row[b, f], s.food_column[b, f], s.food_level[b, f] = s.food_row[b, f - 1], s.food_column[b, f - 1], s.food_level[b, f - 1]
        f -= 1
    s.food_row[b, f], s.food_column[b, f], s.food_level[b, f] = row, column, level


@rule
def food_at(p, s, b, row, column):
    """The food in that cell, -1 for none."""
    for f in range(p.n_food):
        if s.food_level[b, f] > 0 and s.food_row[b, f] == row and s.food_column[b, f] == column:
            return f
    return -1


@rule
def beside(p, s, b, row, column):
    """A food beside that cell, -1 for none. No cell is beside two."""
    for f in range(p.n_food):
        if s.food_level[b, f] > 0 and abs(s.food_row[b, f] - row) + abs(s.food_column[b, f] - column) == 1:
            return f
    return -1


@rule
def head(p, s, b, a, move):
    """Set where agent a heads and what it loads."""
    row, column = s.row[b, a], s.column[b, a]
    s.loads[b, a] = beside(p, s, b, row, column) if move == LOAD else -1
    to_row = row + (1 if move == SOUTH else 0) - (1 if move == NORTH else 0)
    to_column = column + (1 if move == EAST else 0) - (1 if move == WEST else 0)
    inside = 0 <= to_row < p.size and 0 <= to_column < p.size
    goes = inside and food_at(p, s, b, to_row, to_column) < 0
    s.to_row[b, a], s.to_column[b, a] = (to_row, to_column) if goes else (row, column)


@rule
def alone(p, s, b, a):
    """Whether nobody else heads for agent a's cell."""
    heading = 0
    for i in range(p.n_agents):
        heading += 1 if s.to_row[b, i] == s.to_row[b, a] and s.to_column[b, i] == s.to_column[b, a] else 0
    return heading == 1


@rule
def load(p, s, b, f, components):
    """Pay whoever loads food f, which is gone if their levels suffice."""
    strength, food = 0, s.food_level[b, f]
    for a in range(p.n_agents):
        strength += s.level[b, a] if s.loads[b, a] == f else 0
    if strength == 0:
        return
    for a in range(p.n_agents):
        if s.loads[b, a] == f:
            components[b, a, 0] = s.level[b, a] * food / (strength * s.supply[b]) if strength >= food else -p.penalty
    if strength >= food:
        s.food_level[b, f] = 0


@rule
def step(p, s, b, action, components, cost):
    for a in range(p.n_agents):
        head(p, s, b, a, int(action[b, a, 0]))
    for a in range(p.n_agents):
        if alone(p, s, b, a):
            s.row[b, a], s.column[b, a] = s.to_row[b, a], s.to_column[b, a]
    left = 0
    for f in range(p.n_food):
        if s.food_level[b, f] > 0:
            load(p, s, b, f, components)
            left += s.food_level[b, f]
    team = 0.0
    for a in range(p.n_agents):
        team += components[b, a, 0]
        s.earned[b, a] += components[b, a, 0]
    for a in range(p.n_agents):
        components[b, a, 1] = team
    if left == 0:
        return TERMINATED
    return TRUNCATED if s.t[b] + 1 >= p.horizon else RUNNING


@rule
def tell(row, c, down, right, level):
    row[c], row[c + 1], row[c + 2] = down, right, level


@rule
def observe(p, s, b, obs):
    for a in range(p.n_agents):
        top, west = s.row[b, a] - min(p.sight, s.row[b, a]), s.column[b, a] - min(p.sight, s.column[b, a])
        c = 0
        for f in range(p.n_food):
            near = abs(s.food_row[b, f] - s.row[b, a]) <= p.sight and abs(s.food_column[b, f] - s.column[b, a]) <= p.sight
            if s.food_level[b, f] > 0 and near:
                tell(obs[b, a], c, s.food_row[b, f] - top, s.food_column[b, f] - west, s.food_level[b, f])
                c += 3
        for rest in range(c, 3 * p.n_food, 3):
            tell(obs[b, a], rest, -1, -1, 0)
        c = 3 * p.n_food
        tell(obs[b, a], c, s.row[b, a] - top, s.column[b, a] - west, s.level[b, a])
        c += 3
        for i in range(p.n_agents):
            down, right = s.row[b, i] - top, s.column[b, i] - west
            # The window is measured from its corner, so that an agent at the edge sees others farther away than food.
            if i != a and 0 <= down <= 2 * p.sight and 0 <= right <= 2 * p.sight:
                tell(obs[b, a], c, down, right, s.level[b, i])
                c += 3
        for rest in range(c, 3 * (p.n_food + p.n_agents), 3):
            tell(obs[b, a], rest, -1, -1, 0)


@rule
def measure(p, s, b, metrics):
    left = 0
    for f in range(p.n_food):
        left += s.food_level[b, f]
    for a in range(p.n_agents):
        metrics[b, a, 0] = s.earned[b, a]
        metrics[b, a, 1] = 1.0 - left / max(s.supply[b], 1)
        metrics[b, a, 2] = s.t[b]


METRICS = {
    "earned": Column(-1e5, 1, "the agent's reward"),
    "eaten": Column(0, 1, "share of the levels of all food, the team's"),
    "ticks": Column(0, 100_000, "length of the episode"),
}
REWARD = {"food": Component(1.0, "share of the levels of all food"), "team": Component(0.0, "sum over agents")}


def roles(p: ForagingParams) -> tuple[Role, ...]:
    """Food in sight by rows, the agent itself, others in sight: cell from the corner of what is seen, and level; -1, -1, 0 for none."""
    cell = Column(-1, p.size - 1, "cells")
    seen: dict[str, Column] = {}
    for name, top in [(f"food_{f}", p.highest) for f in range(p.n_food)] + [(f"agent_{a}", p.max_level) for a in range(p.n_agents)]:
        seen |= {f"{name}_row": cell, f"{name}_column": cell, f"{name}_level": Column(0, top, "levels")}
    return (Role("forager", p.n_agents, seen, {"move": Discrete(len(MOVES), MOVES)}),)


STEPS = {NORTH: (-1, 0), SOUTH: (1, 0), WEST: (0, -1), EAST: (0, 1)}
HESITATE = 0.05
"""Share of random moves of the scripted forager, which frees agents that block each other."""


def gather(p: ForagingParams, obs: F4, generator: np.random.Generator) -> F8:
    """Agents go to the food with the least sum of distances from all agents in sight, round whoever is in the way, and load it.

    Without food in sight they wander.
    """
    chance = generator.random((len(obs), 2))
    return np.array([[_decide(p, row.astype(np.int64), *luck)] for row, luck in zip(obs, chance)], np.float64).reshape(-1, 1)


def _decide(p: ForagingParams, row: npt.NDArray[np.int64], luck: float, way: float) -> int:
    """The move of one agent; luck and way are uniform draws."""
    food, agents = row.reshape(-1, 3)[: p.n_food], row.reshape(-1, 3)[p.n_food :]
    food, own, others = food[food[:, 2] > 0, :2], agents[0, :2], agents[1:][agents[1:, 2] > 0, :2]
    if not len(food) or luck < HESITATE:
        return NORTH + int(4 * way)
    gathered = np.concatenate([own[None], others])
    goal = food[np.abs(food[:, None] - gathered).sum((1, 2)).argmin()]
    if np.abs(goal - own).sum() == 1:
        return LOAD
    taken = {tuple(cell) for cell in np.concatenate([food, others]).tolist()}
    open_ways = {move: own + np.array(by) for move, by in STEPS.items() if tuple((own + np.array(by)).tolist()) not in taken}
    if not open_ways:
        return STAY
    # Between equally short ways chance decides, so that agents do not mirror each other for ever.
    ways = sorted(open_ways, key=lambda move: (np.abs(goal - open_ways[move]).sum(), (move + int(4 * way)) % 4))
    return ways[0]


PUBLISHED: dict[str, dict[str, Any]] = {
    "8x8-2p-2f-coop": {"coop": True},
    "2s-8x8-2p-2f-coop": {"coop": True, "sight": 2},
    "2s-10x10-3p-3f": {"size": 10, "n_agents": 3, "n_food": 3, "sight": 2, "food_levels": "v2"},
}

FORAGING = Game(
    "foraging",
    version=0,
    params=ForagingParams,
    state=ForagingState,
    roles=roles,
    begin=begin,
    step=step,
    observe=observe,
    measure=measure,
    metrics=METRICS,
    reward=REWARD,
    baselines={"gather": gather},
    reference=lambda p: "gather",
    presets=PUBLISHED,
    citation="Papoudakis et al. 2021, Benchmarking multi-agent deep reinforcement learning algorithms in cooperative tasks",
)
