"""One episode, tick by tick: what a picture of it is drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from marl.copies import Copies, Group
from marl.errors import UserError

if TYPE_CHECKING:
    from tianshou.algorithm.algorithm_base import Policy

    from marl.team import Part

Array = npt.NDArray[Any]
LONGEST = 200_000
"""Most ticks of an episode that is kept."""


@dataclass(frozen=True)
class History:
    """An episode of T ticks of one copy. `title` says who played it.

    obs [T + 1, A, O]: what agents saw before each tick, and after the last; alive [T + 1, A]: who acted. action [T, A, U] as the
    rules got it; reward [T, A]; components [T, A, R]; cost [T, A, C]; metrics [A, K] of the whole episode. All padded to the
    widest role. state: field -> [T, ...], as each tick found it (the game's `Picture` names the fields). `params` are the game's.
    """

    name: str
    title: str
    params: Any
    agents: tuple[str, ...]
    groups: Mapping[str, Group]
    obs: Array
    alive: Array
    action: Array
    reward: Array
    components: Array
    cost: Array
    metrics: Array
    state: Mapping[str, Array]
    component_names: tuple[str, ...]
    cost_names: tuple[str, ...]
    metric_names: tuple[str, ...]

    @property
    def ticks(self) -> int:
        """T."""
        return len(self.reward)

    def seen(self, column: str, role: str | None = None) -> Array:
        """An observation column of a role's agents (of the first role by default), [T + 1, n]."""
        group = self._group(role)
        found: Array = self.obs[:, group.lo : group.hi, _at(list(group.observation), column, f"{group.name} sees")]
        return found

    def did(self, column: str, role: str | None = None) -> Array:
        """An action column of a role's agents (of the first role by default), in the table's units, [T, n]."""
        group = self._group(role)
        found: Array = self.action[:, group.lo : group.hi, _at(list(group.action), column, f"{group.name} does")]
        return found

    def paid(self, component: str, role: str | None = None) -> Array:
        """A reward component of a role's agents (of the first role by default), before its weight, [T, n]."""
        group = self._group(role)
        found: Array = self.components[:, group.lo : group.hi, _at(self.component_names, component, f"reward of {self.name}")]
        return found

    def metric(self, name: str, role: str | None = None) -> Array:
        """A metric of a role's agents (of the first role by default), [n]."""
        group = self._group(role)
        found: Array = self.metrics[group.lo : group.hi, _at(self.metric_names, name, f"metrics of {self.name}")]
        return found

    def names(self, role: str | None = None) -> tuple[str, ...]:
        """Agents of a role (of the first role by default)."""
        group = self._group(role)
        return self.agents[group.lo : group.hi]

    def _group(self, role: str | None) -> Group:
        if role is None:
            return next(iter(self.groups.values()))
        if role not in self.groups:
            raise UserError(f"role {role!r} of {self.name}: legal are {', '.join(self.groups)}")
        return self.groups[role]


def _at(names: Sequence[str], name: str, where: str) -> int:
    if name not in names:
        raise UserError(f"{where}: no column {name!r}, legal are {', '.join(names)}")
    return list(names).index(name)


class Recorder:
    """Keeps the first copy's part of every tick of a play, up to the end of its episode."""

    def __init__(self, fields: Sequence[str] = ()) -> None:
        self._fields, self._over = tuple(fields), False
        self._rows: dict[str, list[Array]] = {}

    def before(self, copies: Copies) -> None:
        """Keep what the tick begins with."""
        if not self._over:
            self._keep({"obs": copies.obs, "alive": copies.alive})
            world: Any = getattr(copies, "world", None)  # a foreign environment shows no state
            self._keep({f"state.{name}": getattr(world, name) for name in self._fields})

    def after(self, copies: Copies) -> None:
        """Keep what the tick did."""
        if self._over:
            return
        self._keep({name: getattr(copies, name) for name in ("action", "reward", "components", "cost")})
        if copies.status[0]:
            self._over = True
            self._keep({"obs": copies.final_obs, "metrics": copies.metrics})
            self._rows["alive"].append(self._rows["alive"][-1])

    def _keep(self, arrays: Mapping[str, Array]) -> None:
        for name, values in arrays.items():
            self._rows.setdefault(name, []).append(values[0].copy())

    def history(self, copies: Copies, title: str = "") -> History:
        """What was kept of an episode that is over."""
        rows = {name: np.array(values) for name, values in self._rows.items()}
        return History(
            copies.name, title, getattr(copies, "params", None), copies.agents, {n: v.group for n, v in copies.groups.items()},
            rows["obs"], rows["alive"], rows["action"], rows["reward"], rows["components"], rows["cost"], rows["metrics"][0],
            {name: rows[f"state.{name}"] for name in self._fields},
            copies.component_names, copies.cost_names, copies.metric_names,
        )  # fmt: skip


def record(
    copies: Copies,
    plan: Mapping[str, Part],
    policies: Mapping[str, Policy],
    title: str = "",
    fields: Sequence[str] = (),
    sample: bool = False,
) -> History:
    """Play one copy from where it stands to the end of its episode with frozen policies, as `marl.evaluate.play` does.

    Raises UserError where the episode goes on after `LONGEST` ticks.
    """
    from marl.evaluate import play

    recorder = Recorder(fields)
    play(copies, plan, policies, LONGEST, recorder, sample)
    return recorder.history(copies, title)
