"""Who plays: parts of the agents that share parameters, each with an algorithm that learns or a policy that does not.

Tianshou's own multi-agent path pays only the last agent (tianshou#399, #1137); here every part has lanes of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from tianshou.algorithm.algorithm_base import Algorithm, OnPolicyAlgorithm, Policy, TrainingStats
from tianshou.algorithm.multiagent.marl import MapTrainingStats
from tianshou.data import Batch
from tianshou.trainer import OffPolicyTrainer, OnPolicyTrainer
from torch import nn

from marl import sight
from marl.convention import INDIVIDUAL, REWARDS
from marl.copies import Copies, Group
from marl.errors import UserError
from marl.game import Aims, Baseline, Column, Discrete, bounds

SHARING = ("all", "group", "none")


@dataclass(frozen=True)
class Part:
    """Agents lo .. hi - 1 that share one policy; `masked` where its observation rows end with the action mask.

    `learns` is false for agents that a script plays throughout a run.
    `reward` says what its agents are paid (`marl.convention`).
    `aims` is the goal that its agents are after, None where the game declares none.
    `grid` [K, U] are the actions that the game offers to learners that choose from a finite set, None where it offers none.
    `state_width` is S, the columns of the global state, `costs` names the game's cost columns. With `ids`, rows say which of
    the agents from `origin` on they are of.
    """

    name: str
    group: Group
    lo: int
    hi: int
    masked: bool
    learns: bool = True
    grid: npt.NDArray[np.float64] | None = field(default=None, compare=False)
    state_width: int = 0
    ids: int = 0
    origin: int = 0
    reward: str = INDIVIDUAL
    costs: tuple[str, ...] = ()
    aims: Aims | None = field(default=None, compare=False)

    @property
    def n(self) -> int:
        """Agents in the part."""
        return self.hi - self.lo

    @property
    def teams(self) -> bool:
        """Whether all its agents are paid the same, the team's reward."""
        return self.reward != INDIVIDUAL

    @property
    def observed(self) -> int:
        """Columns of an observation row that a network reads as numbers: the observation, then the one-hot identity where there is one."""
        return self.group.width + self.ids

    @property
    def width(self) -> int:
        """Columns of an observation row: those observed, then the mask where there is one."""
        return self.observed + self.mask_width

    @property
    def mask_width(self) -> int:
        """Columns of the mask at the end of an observation row."""
        return self.group.mask_width if self.masked else 0

    @property
    def joins(self) -> bool:
        """Whether a row has more than the observation, so that `rows` is a new array."""
        return self.mask_width > 0 or self.ids > 0

    def named(self) -> Part:
        """The part with its agents' identities in their rows: for a policy whose agents differ though they share parameters."""
        return replace(self, ids=self.n, origin=self.lo)

    def rows(self, obs: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
        """Observation rows [B, n, width] out of obs [B, A, O] and mask [B, A, M]: a view where nothing is joined to it."""
        own = obs[:, self.lo : self.hi, : self.group.width]
        return self.joined(own, mask[:, self.lo : self.hi, : self.mask_width], self.lo) if self.joins else own

    def joined(self, obs: npt.NDArray[Any], mask: npt.NDArray[Any], first: int) -> npt.NDArray[np.float32]:
        """Rows [B, k, width] of the agents first .. first + k - 1, out of their obs [B, k, O] and mask [B, k, M]."""
        pieces = [obs, mask]
        if self.ids:
            own = np.eye(self.ids)[first - self.origin : first - self.origin + obs.shape[1]]
            pieces.insert(1, np.broadcast_to(own, (*obs.shape[:2], self.ids)))
        return np.concatenate(pieces, -1, dtype=np.float32)


def parts(copies: Copies, sharing: str, learners: int | None = None, reward: str = INDIVIDUAL) -> dict[str, Part]:
    """Name -> part. `sharing`: all agents, each group, or nobody shares parameters. `reward`: what they are paid (`marl.convention`).

    With `learners`, only the first so many agents of each group learn: they make parts by `sharing`, and the others of
    each group a part `<group>_rivals`. Raises UserError where agents of different columns would share.
    """
    groups = [view.group for view in copies.groups.values()]
    if sharing not in SHARING:
        raise UserError(f"sharing = {sharing!r}: legal are {', '.join(SHARING)}")
    if reward not in REWARDS:
        raise UserError(f"reward = {reward!r}: legal are {', '.join(REWARDS)}")
    cuts = [(g, g.lo, g.hi if learners is None else min(g.lo + learners, g.hi)) for g in groups]
    named: list[Part] = []
    grids = _grids(copies)
    if sharing == "none":
        named = [Part(copies.agents[a], g, a, a + 1, copies.masked) for g, lo, hi in cuts for a in range(lo, hi)]
    elif sharing == "group" or len(groups) == 1:
        named = [Part(g.name, g, lo, hi, copies.masked) for g, lo, hi in cuts]
    elif any((g.observation, g.action) != (groups[0].observation, groups[0].action) for g in groups) or learners is not None:
        names = ", ".join(g.name for g in groups)
        raise UserError(
            f"sharing = 'all': groups {names} have different columns, or only some of their agents learn; legal are group, none"
        )
    else:
        named = [Part("all", groups[0], 0, copies.n_agents, copies.masked)]
    rivals = [Part(f"{g.name}_rivals", g, hi, g.hi, copies.masked, learns=False) for g, _, hi in cuts if hi < g.hi]
    width = copies.state.shape[1]
    of_all: dict[str, Any] = {"state_width": width, "reward": reward, "costs": copies.cost_names}
    aims = _aims(copies, groups)
    return {p.name: replace(p, grid=grids.get(p.group.name), aims=aims.get(p.group.name), **of_all) for p in [*named, *rivals]}


def _grids(copies: Copies) -> dict[str, npt.NDArray[np.float64]]:
    """Role -> [K, U] actions, for the roles to which the game offers a grid."""
    game = getattr(copies, "game", None)
    if game is None or game.action_grid is None:
        return {}
    return {role: np.asarray(rows, np.float64) for role, rows in game.action_grid(getattr(copies, "params", None)).items()}


def _aims(copies: Copies, groups: Sequence[Group]) -> dict[str, Aims]:
    """Role -> the goal that it is after, where the game declares one and its reward has the weights of these parameters."""
    game, weights, params = (getattr(copies, name, None) for name in ("game", "weights", "params"))
    if game is None or game.goal is None or weights != game.default_weights(params):
        return {}
    declared = {group.name: group for group in groups}
    return {role: goal.aims(declared[role], params) for role, goal in game.goal(params).items()}


def seen(rows: Any) -> Batch:
    """Observation rows as the Batch that a policy takes, made without parsing."""
    batch = Batch.__new__(Batch)
    batch.__dict__.update(obs=rows, info=None)
    return batch


class LightPolicy(Policy):
    """A Tianshou policy that does not compile Tianshou's return estimators when it is made (seconds a process)."""

    state_width = 0
    """Columns of what it remembers of a lane (`marl.recall`)."""
    certain = ""
    """Why it has no distribution to draw from, of a policy that has none (`marl.sample`)."""

    @staticmethod
    def _compile() -> None:
        """Left to the first update that needs them."""


class ScriptedPolicy(LightPolicy):
    """A baseline as an ordinary policy: its actions are in the units of the action table. `seed` is one number or several."""

    def __init__(self, baseline: Baseline, params: Any, seed: Sequence[int] = (0,)) -> None:
        super().__init__(action_space=spaces.Box(-np.inf, np.inf, (1,)), action_bound_method=None)
        self._baseline, self._params, self._seed = baseline, params, tuple(seed)
        self.generator = np.random.default_rng(self._seed)

    @contextmanager
    def fixed_draws(self) -> Iterator[None]:
        """Draw the same as in every other such context, and go on afterwards as if it had not been."""
        kept, self.generator = self.generator, np.random.default_rng((*self._seed, 1))
        try:
            yield
        finally:
            self.generator = kept

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        """Batch(act [N, U])."""
        rows = batch.obs.cpu().numpy() if hasattr(batch.obs, "cpu") else np.asarray(batch.obs)
        return Batch(act=self._baseline(self._params, rows, self.generator), state=None)

    def map_action(self, act: Any) -> Any:
        """Scripted actions need no mapping."""
        return act


def random_baseline(part: Part) -> Baseline:
    """Uniform over the part's action columns (on their scale), over the legal choices where a mask says which."""
    columns = list(part.group.action.values())
    low, high = bounds(part.group.action)

    def act(_: Any, obs: npt.NDArray[np.float32], generator: np.random.Generator) -> npt.NDArray[Any]:
        draws = generator.random((len(obs), len(columns)))
        actions = low + (high - low) * draws
        begin = part.observed
        for u, column in enumerate(columns):
            if isinstance(column, Column) and column.scale == "log":
                actions[:, u] = low[u] * (high[u] / low[u]) ** draws[:, u]
            if isinstance(column, Discrete):
                legal = obs[:, begin : begin + column.k] if part.masked else np.ones((len(obs), column.k))
                legal = legal + (legal.sum(1, keepdims=True) == 0)  # an agent that left may have no legal choice
                edges = np.cumsum(legal / legal.sum(1, keepdims=True), 1)
                actions[:, u] = np.minimum((draws[:, u : u + 1] >= edges).sum(1), column.k - 1)
                begin += column.k
        return actions

    return act


def scripted(copies: Copies, part: Part, name: str, seed: int = 0) -> ScriptedPolicy:
    """The baseline of that name for a part; "random" serves every game. Two parts draw from two streams."""
    game = getattr(copies, "game", None)
    known = dict(game.baselines) if game is not None else {}
    if name != "random" and name not in known:
        raise UserError(f"baseline {name!r} of {copies.name}: legal are {', '.join([*known, 'random'])}")
    own = known[name] if name in known else random_baseline(part)
    return ScriptedPolicy(own, getattr(copies, "params", None), (seed % (1 << 64), part.lo))


class TeamPolicy(Policy):
    """One policy a part; the flag of a training step reaches every member that learns, the others stay at their mode."""

    def __init__(self, members: Mapping[str, Policy], learning: Collection[str]) -> None:
        super().__init__(action_space=spaces.Discrete(1), action_bound_method=None)
        self._learning = frozenset(learning)
        self.members = nn.ModuleDict(members)

    _compile = staticmethod(LightPolicy._compile)

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        """Batch(act={part: [N, raw U]}) for batch.obs = {part: [N, width]}."""
        return Batch(act={name: member(seen(batch.obs[name])).act for name, member in self.members.items()})

    @property
    def is_within_training_step(self) -> bool:
        """Whether members explore."""
        return self._within

    @is_within_training_step.setter
    def is_within_training_step(self, value: bool) -> None:
        self._within = value
        for name, member in (self._modules.get("members") or {}).items():
            member.is_within_training_step = value and name in self._learning


class Team(Algorithm):
    """Algorithms of the parts that learn and policies of those that do not, as the one algorithm that a trainer drives."""

    def __init__(self, plan: Mapping[str, Part], learners: Mapping[str, Algorithm], frozen: Mapping[str, Policy], warm_up: int = 0) -> None:
        if not learners:
            raise UserError("nobody learns: at least one part needs an algorithm")
        policies = {name: learners[name].policy if name in learners else frozen[name] for name in plan}
        super().__init__(policy=TeamPolicy(policies, learners))
        self.plan, self.warm_up = dict(plan), warm_up
        self._share_moments(learners)
        self.learners = nn.ModuleDict(learners)
        self.on_policy = all(isinstance(a, OnPolicyAlgorithm) for a in learners.values())

    def _share_moments(self, learners: Mapping[str, Any]) -> None:
        """Parts that standardise a team's reward do so by the same moments, since each bootstraps from the others' values."""
        paid = [a for name, a in learners.items() if self.plan[name].teams and getattr(a, "standardises", False)]
        for learner in paid:
            learner.ret_rms = paid[0].ret_rms

    def member(self, name: str) -> Policy:
        """The policy of a part."""
        policy: Policy = self.policy.members[name]
        return policy

    def create_trainer(self, params: Any) -> OnPolicyTrainer | OffPolicyTrainer:
        """Tianshou's stock trainer for what the parts are."""
        return OnPolicyTrainer(self, params) if self.on_policy else OffPolicyTrainer(self, params)

    def update(self, buffer: Any, **how: Any) -> TrainingStats:
        """Each part's own `update` on its own buffer, once that holds `warm_up` rows and two at least of agents that acted.

        On-policy, `batch_size=None` makes `learner.minibatches` of a part's rows, however many lanes it has, but none of
        a single row: its advantage has no deviation to be divided by.
        """
        stats = {}
        for name, learner in self.learners.items():
            own, algorithm = buffer[name], cast(Any, learner)
            if len(own) < self.warm_up or own.living < 2:
                continue
            size = {"batch_size": max(2, -(-own.living // algorithm.minibatches))} if how.get("batch_size", 0) is None else {}
            if not self.on_policy:
                sight.renew(learner)
            stats[name] = algorithm.update(own, **{**how, **size})
            if self.on_policy:
                sight.renew(learner)
        return MapTrainingStats(stats) if stats else TrainingStats()

    def state_dict(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Part -> networks, optimisers, and what Tianshou's own state_dict leaves out."""
        return {name: _state_of(learner) for name, learner in self.learners.items()}

    def load_state_dict(self, saved: Mapping[str, Any], *_: Any, **__: Any) -> None:
        """Continue where `state_dict` was taken. Raises UserError where parts differ."""
        if set(saved) != set(self.learners):
            raise UserError(f"saved team has parts {sorted(saved)}: expected {sorted(self.learners)}")
        for name, learner in self.learners.items():
            _restore(learner, saved[name], name)


def _state_of(learner: Any) -> dict[str, Any]:
    alpha = getattr(getattr(learner, "alpha", None), "_optim", None)
    moments = getattr(learner, "ret_rms", None)
    return {
        "tianshou": dict(learner.state_dict()),
        "schedulers": [s.state_dict() for s in learner.lr_schedulers],
        "alpha_optimiser": None if alpha is None else alpha.state_dict(),
        "return_moments": None if moments is None else [float(moments.mean), float(moments.var), float(moments.count)],
        "counters": {name: getattr(learner, name) for name in getattr(learner, "COUNTERS", ())},
    }


def _restore(learner: Any, saved: Mapping[str, Any], name: str) -> None:
    try:
        _load(learner, saved)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"saved team, part {name!r} does not fit these settings of the algorithm: {reason}") from error


def _load(learner: Any, saved: Mapping[str, Any]) -> None:
    learner.load_state_dict(dict(saved["tianshou"]))
    for scheduler, state in zip(learner.lr_schedulers, saved["schedulers"], strict=True):
        scheduler.load_state_dict(state)
    if saved["alpha_optimiser"] is not None:
        learner.alpha._optim.load_state_dict(saved["alpha_optimiser"])
    if saved["return_moments"] is not None:
        learner.ret_rms.mean, learner.ret_rms.var, learner.ret_rms.count = saved["return_moments"]
    for name, value in saved["counters"].items():
        setattr(learner, name, value)
