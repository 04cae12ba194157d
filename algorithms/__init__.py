"""Algorithms by name. Adding one is one file here and one line in `ALGORITHMS`; nothing heavy is imported until one is asked for.

The class named in `ALGORITHMS` is made as `Class(settings, part, updates)`: its settings (a dataclass, `Class.Settings`), the
part of the agents it learns for (`marl.team.Part`), and how many updates the run will make. It is a Tianshou Algorithm, on-policy
or off-policy, with
- `record(rows, out)`: further numbers a row that its updates read, as named in `FIELDS`;
- `policy`: a `marl.team.LightPolicy` that draws within a training step and takes its mode outside, with `row_width`, the columns of
  an action row as it is stored, and `map_action`, from such rows into the units of the action table; `random_action(rows)` where
   the settings have a `warm_up`; `drawn` where it has a distribution, else `certain`, why not (`marl.sample`); `opinion`
   (`marl.opinion`) where it knows how sure it is;
 - `expects(buffer, index)`, what it values that which follows rows with, where it bootstraps under a team's reward from who is
   still there when an agent has left (`algorithms.death`);
- `minibatches` where it is on-policy, `CENTRAL = True` where it learns from team rows and the global state (`marl.joint`), and in
  `COUNTERS` the attributes that a resumed run must have and a `state_dict` does not hold.

tests/toy_algorithm.py is a whole one, registered from outside.
"""

from __future__ import annotations

from typing import Any

from algorithms import settings
from marl.convention import INDIVIDUAL, REWARDS
from marl.errors import UserError
from marl.game import ActionTable, Column, Discrete
from marl.plugins import load_attribute

ALGORITHMS: dict[str, str] = {
    "ippo": "algorithms.ippo:IPPO",
    "isac": "algorithms.isac:ISAC",
    "ippo_lagrangian": "algorithms.ippo_lagrangian:IPPOLagrangian",
    "ia2c": "algorithms.ia2c:IA2C",
    "reinforce": "algorithms.reinforce:REINFORCE",
    "idqn": "algorithms.idqn:IDQN",
    "rainbow": "algorithms.rainbow:Rainbow",
    "itd3": "algorithms.itd3:ITD3",
    "mappo": "algorithms.mappo:MAPPO",
    "vdn": "algorithms.vdn:VDN",
    "qmix": "algorithms.qmix:QMIX",
    "maddpg": "algorithms.maddpg:MADDPG",
    "matd3": "algorithms.matd3:MATD3",
    "hybrid": "algorithms.hybrid:Hybrid",
}

SETTINGS: dict[str, type] = {
    "ippo": settings.IPPO,
    "isac": settings.ISAC,
    "ippo_lagrangian": settings.IPPOLagrangian,
    "ia2c": settings.IA2C,
    "reinforce": settings.Reinforce,
    "idqn": settings.IDQN,
    "rainbow": settings.Rainbow,
    "itd3": settings.ITD3,
    "mappo": settings.MAPPO,
    "vdn": settings.VDN,
    "qmix": settings.QMIX,
    "maddpg": settings.MADDPG,
    "matd3": settings.MATD3,
    "hybrid": settings.Hybrid,
}
"""Settings of the algorithms here, readable without torch; an algorithm that lives elsewhere has them as `Class.Settings`."""


def load(name: str) -> Any:
    """The algorithm's class."""
    if name not in ALGORITHMS:
        raise UserError(f"algorithm = {name!r}: no such algorithm, legal are {', '.join(ALGORITHMS)}")
    return load_attribute(ALGORITHMS[name], f"algorithms.ALGORITHMS[{name!r}]")


def settings_of(name: str) -> type:
    """The dataclass of the algorithm's settings."""
    if name in SETTINGS:
        return SETTINGS[name]
    found: type = load(name).Settings
    return found


def check_serves(name: str, where: str, action: ActionTable, grid: Any) -> None:
    """Raise UserError where the algorithm cannot learn these action columns of the agents `where`, naming those that can."""
    kind = _serves(name)
    if _fits(kind, action, grid):
        return
    column = next((n for n, c in action.items() if kind != "continuous" or isinstance(c, Discrete)), "")
    what = f"{len(action)} columns" if kind != "continuous" and len(action) > 1 else f"{column!r}, {_told(action[column])}"
    needs = {
        "choices": "a single Discrete column or an action_grid",
        "continuous": "only continuous columns",
        "mixed": "a continuous column beside Discrete ones",
    }[kind]
    able = ", ".join(other for other in ALGORITHMS if _fits(_serves(other), action, grid))
    raise UserError(f"algorithm = {name!r} for {where}, whose action is {what}: it learns {needs}, legal there are {able}")


def _told(column: Column | Discrete) -> str:
    if isinstance(column, Discrete):
        return f"one of {column.k} choices"
    return f"a continuous quantity in [{column.low:g}, {column.high:g}] {column.unit}".rstrip()


def check_team(name: str, reward: str, sharing: str = "group") -> None:
    """Raise UserError where the algorithm learns a team's value and everybody is paid its own reward, or is a team of its own."""
    if not getattr(settings_of(name), "joint", False):
        return
    if sharing == "none":
        raise UserError(f"sharing = 'none' under algorithm = {name!r}, which mixes the values of agents that share: legal are all, group")
    if reward != INDIVIDUAL:
        return
    team = ", ".join(r for r in REWARDS if r != INDIVIDUAL)
    able = ", ".join(other for other in ALGORITHMS if not getattr(settings_of(other), "joint", False))
    raise UserError(
        f"reward = {reward!r} under algorithm = {name!r}, which learns one value of the team: legal are {team}; individual serves {able}"
    )


def check_goal(goals: float, where: str, aims: Any, reward: str) -> None:
    """Raise UserError where hindsight is asked for and the agents `where` have no goal of their own."""
    if goals and aims is None:
        raise UserError(f"algorithm.hindsight = {goals:g} for {where}, whose game declares no goal at these env.weights: legal is 0")
    if goals and reward != INDIVIDUAL:
        raise UserError(f"algorithm.hindsight = {goals:g} with reward = {reward!r}: legal is {INDIVIDUAL}, a goal pays who reaches it")


def _serves(name: str) -> str:
    return getattr(settings_of(name), "serves", "any")


def _fits(kind: str, action: ActionTable, grid: Any) -> bool:
    columns = list(action.values())
    if kind == "choices":
        return grid is not None or (len(columns) == 1 and isinstance(columns[0], Discrete))
    if kind == "mixed":
        return {type(c) for c in columns} == {Column, Discrete}
    return kind == "any" or all(isinstance(c, Column) for c in columns)
