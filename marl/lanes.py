"""Copies of a game as a Gymnasium vector environment: for learners of one agent, each lane an environment of its own to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from marl import masks, spaces
from marl.copies import checked
from marl.errors import UserError
from marl.evaluate import choose
from marl.game import F4, RUNNING, TERMINATED, TRUNCATED, Game
from marl.team import parts, scripted
from marl.vector import VectorGame

Array = npt.NDArray[Any]


class LaneEnv(VectorEnv[Any, Any, Any]):
    """Lanes of `n_envs` copies of `game`. `agent` is who learns: one agent (the first by default), or a role, of which each is a lane.

    All others play the baseline `others`: the game's reference by default, "random" where it has none. `num_envs` is copies x
    learners, lane b * learners + i is learner i of copy b. Spaces are those of the PettingZoo view (`marl.parallel`, also `flatten`),
    batched; `params` are the game's parameters, `preset`, `weights` and `threads`.

    A lane whose episode ends shows the next one's first observation at once (AutoresetMode.SAME_STEP), and infos["final_obs"] what
    the episode ended with, infos["final_info"] its metrics. All lanes of a copy end together: one whose agent left before sees zeros
    and is paid nothing until then. Actions outside their range are clipped into it. Arrays are fresh: whoever gets them may keep them.
    """

    def __init__(
        self, game: Game, n_envs: int = 1, agent: str | None = None, others: str | None = None, flatten: bool = False, **params: Any
    ) -> None:
        self.copies = copies = VectorGame(game, n_envs, **params)
        self.game, self.params, self.flatten = copies.game, copies.params, flatten
        self.metadata = {"name": f"{copies.game.name}_v{copies.game.version}", "autoreset_mode": AutoresetMode.SAME_STEP}
        self.metadata["render_modes"] = []
        self._group, self._learners = _who(copies, agent)
        self.agents = tuple(copies.agents[a] for a in self._learners) * n_envs
        self.num_envs = len(self.agents)
        self._plan = parts(copies, "group")
        declared = self.game.reference(self.params) if self.game.reference is not None else "random"
        self.others = declared if others is None else others
        self._begin(0)
        self.single_observation_space = spaces.box(self._group.observation)
        self.single_action_space = spaces.action_space(self._group.action, flatten)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._begun = False

    def _begin(self, seed: int) -> None:
        """The others' draws from their beginning."""
        self._scripts = {name: scripted(self.copies, part, self.others, seed) for name, part in self._plan.items()}

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle keeps: all but the others' policies, of which their draws."""
        draws = {name: script.generator for name, script in self._scripts.items()}
        return {name: value for name, value in vars(self).items() if name not in ("_plan", "_scripts")} | {"draws": draws}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        draws = kept.pop("draws")
        self.__dict__.update(kept)
        self._plan = parts(self.copies, "group")
        self._begin(0)
        for name, script in self._scripts.items():
            script.generator = draws[name]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[F4, dict[str, Any]]:
        """Start an episode in every copy: of a new run of seeds where `seed` is given, else the next one. Returns (obs [N, O], infos)."""
        if isinstance(seed, list | tuple):
            raise UserError(f"seed of {self.game.name} = {seed}: one seed for all lanes is expected, copy b is seeded from it and b")
        if seed is not None or not self._begun:
            super().reset(seed=None if seed is None else int(checked(seed)))
            drawn = int(self.np_random.integers(1 << 31)) if seed is None else seed
            self.copies.reset(drawn)
            self._begin(int(drawn))
            self._begun = True
        else:
            self.copies.next_episode()
        infos: dict[str, Any] = {}
        self._add_masks(infos)
        return self._rows(self.copies.obs), infos

    def step(self, actions: Any) -> tuple[F4, Array, Array, Array, dict[str, Any]]:
        """A tick of all lanes with actions in `action_space`: (obs [N, O], rewards, terminations, truncations [N], infos)."""
        copies, group = self.copies, self._group
        if not self._begun:
            raise UserError(f"step of {self.game.name} before reset: call reset() first")
        for name, part in self._plan.items():
            copies.action[:, part.lo : part.hi, : part.group.action_width] = choose(self._scripts[name], part, copies)
        own = self._numbers(actions).reshape(copies.n_envs, len(self._learners), -1)
        copies.action[:, self._learners, : group.action_width] = own
        copies.tick()
        infos = self._told()
        over = np.repeat(copies.status != RUNNING, len(self._learners))
        if over.any():
            self._add_ends(infos, over)
        self._add_masks(infos)
        terminated, truncated = (np.repeat(copies.status == how, len(self._learners)) for how in (TERMINATED, TRUNCATED))
        return self._rows(copies.obs), self._lanes(copies.reward).astype(np.float64), terminated, truncated, infos

    def _lanes(self, values: Array) -> Array:
        """Rows [N, ...] of the learners out of [B, A, ...]: a copy."""
        taken = values[:, self._learners]
        return taken.reshape(self.num_envs, *taken.shape[2:])

    def _rows(self, obs: F4) -> F4:
        return np.ascontiguousarray(self._lanes(obs)[:, : self._group.width])

    def _numbers(self, actions: Any) -> Array:
        """The actions as rows [N, U]. Raises UserError for other shapes, no numbers and NaN."""
        table, written = self._group.action, spaces.form(self._group.action, self.flatten)
        if written == "named":
            if not isinstance(actions, Mapping) or set(actions) != set(table):
                raise UserError(f"actions of {self.game.name}: a dict with the columns {', '.join(table)} is expected")
            columns = [self._checked(actions[name], (self.num_envs,), f"column {name!r} of the actions") for name in table]
            return np.stack(columns, 1)
        shape = (self.num_envs,) if written == "discrete" else (self.num_envs, len(table))
        return self._checked(actions, shape, "actions").reshape(self.num_envs, -1)

    def _checked(self, given: Any, shape: tuple[int, ...], what: str) -> Array:
        row = np.asarray(given)
        if row.size != np.prod(shape) or len(row) != self.num_envs or row.dtype.kind not in "fiub":
            raise UserError(f"{what} of {self.game.name} of shape {row.shape}, {row.dtype}: numbers of shape {shape} are expected")
        if np.isnan(row).any():
            raise UserError(f"{what} of {self.game.name}: lane {int(np.argwhere(np.isnan(row))[0][0])} is NaN, a number is expected")
        return row.reshape(shape)

    def _told(self) -> dict[str, Any]:
        """Reward components and costs of the lanes [N] by name, each with its `_name` that says of which lanes it is."""
        copies, infos = self.copies, {}
        for kind, names, values in (("reward", copies.component_names, copies.components), ("cost", copies.cost_names, copies.cost)):
            for column, name in enumerate(names):
                infos[f"{kind}/{name}"] = self._lanes(values[:, :, column])
        return infos | {f"_{key}": np.ones(self.num_envs, np.bool_) for key in infos}

    def _add_ends(self, infos: dict[str, Any], over: Array) -> None:
        """What the episodes ended with, as Gymnasium's own SAME_STEP environments tell it."""
        final, rows = np.full(self.num_envs, None, object), self._rows(self.copies.final_obs)
        for lane in np.flatnonzero(over):
            final[lane] = rows[lane]
        metrics: dict[str, Any] = {}
        for column, name in enumerate(self.copies.metric_names):
            metrics[f"metric/{name}"] = np.where(over, self._lanes(self.copies.metrics[:, :, column]), 0.0)
            metrics[f"_metric/{name}"] = over.copy()
        infos |= {"final_obs": final, "_final_obs": over.copy(), "final_info": metrics, "_final_info": over.copy()}

    def _add_masks(self, infos: dict[str, Any]) -> None:
        """Legal choices [N, k] of the present tick; of several choices those of all columns in a row."""
        if self.game.mask is None or not self._group.mask_width:
            return
        rows = self._lanes(self.copies.action_mask)[:, : self._group.mask_width].astype(np.int8)
        if spaces.form(self._group.action, self.flatten) in ("discrete", "choices"):
            parts_of: dict[str, Array] = {masks.STANDARD: rows}
        else:
            told = [spaces.told_mask(self._group.action, row, self.flatten) for row in rows]
            parts_of = {key: np.stack([one[key] for one in told]) for key in told[0]}
        for key, part in parts_of.items():
            infos |= {key: part, f"_{key}": np.ones(self.num_envs, np.bool_)}

    def close_extras(self, **_: Any) -> None:
        """Release the copies."""
        self.copies.close()


def _who(copies: VectorGame, agent: str | None) -> tuple[Any, list[int]]:
    """(group, agents' numbers) of who learns. Raises UserError."""
    asked = copies.agents[0] if agent is None else agent
    if asked in copies.groups:
        group = copies.groups[asked].group
        return group, list(range(group.lo, group.hi))
    if asked not in copies.agents:
        raise UserError(f"agent = {asked!r} of {copies.name}: legal are {', '.join([*copies.agents, *copies.groups])}")
    number = copies.agents.index(asked)
    return next(v.group for v in copies.groups.values() if v.group.lo <= number < v.group.hi), [number]
