"""What a game is: the rules of one copy as compiled functions, and tables that name every column.

A `Game` is data. `marl.vector.VectorGame` steps many copies of it, `marl.parallel` shows one copy as a
PettingZoo environment; spaces, docs, log names and tests derive from the tables declared here.

Words: B copies, A agents, O observation columns, U action columns, M mask columns, R reward components,
C cost columns, S columns of the global state, Q residuals of the audit.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple, get_args, get_type_hints

import numpy as np
import numpy.typing as npt

from marl.errors import UserError
from marl.params import Params

RUNNING, TERMINATED, TRUNCATED = 0, 1, 2
"""What `step` returns. TERMINATED: the game is over. TRUNCATED: only the recording of a continuing game is cut."""

F4 = npt.NDArray[np.float32]
F8 = npt.NDArray[np.float64]
I8 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint64]
B1 = npt.NDArray[np.bool_]

EXPLORE = (1e-6, 10.0)
"""Legal range of `Column.explore` and `explore_last`."""

Rule = Callable[..., Any]
"""A function under `@marl.compiled.rule` that touches copy b and nothing else."""


@dataclass(frozen=True)
class Column:
    """A continuous quantity in [low, high], in `unit`. An action column may be spread by "log" instead of "linear" scale.

    `explore` says how widely an action column is explored at first: a standard deviation in halves of its range on its scale;
    `explore_last` what PPO's falls to over the run. A game declares them where exploring costs what it is to find out, or where what is
    best beside others who explore is not what is best beside others who do not. None: an algorithm's own. Settings given count before both.
    """

    low: float
    high: float
    unit: str = ""
    scale: str = "linear"
    explore: float | None = None
    explore_last: float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise UserError(f"Column low={self.low} high={self.high}: low must be below high")
        if self.scale not in ("linear", "log") or (self.scale == "log" and self.low <= 0):
            raise UserError(f"Column scale={self.scale!r} low={self.low}: legal are linear, and log for a low above 0")
        for name, wide in (("explore", self.explore), ("explore_last", self.explore_last)):
            if wide is not None and not EXPLORE[0] <= wide <= EXPLORE[1]:
                raise UserError(f"Column {name}={wide} halves of the range: legal range is [{EXPLORE[0]:g}, {EXPLORE[1]:g}]")


@dataclass(frozen=True)
class Discrete:
    """One of k choices, 0 to k - 1; `labels` names them where they have names."""

    k: int
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.k < 1 or (self.labels and len(self.labels) != self.k):
            raise UserError(f"Discrete k={self.k} labels={self.labels}: k is at least 1, with a label for each choice or for none")

    @property
    def low(self) -> float:
        return 0.0

    @property
    def high(self) -> float:
        return self.k - 1.0


@dataclass(frozen=True)
class Component:
    """A part of the reward; the reward is the sum of weight x component. The weight is a default: the config may set another."""

    weight: float = 1.0
    unit: str = ""


Table = Mapping[str, Column]
ActionTable = Mapping[str, Column | Discrete]


def index(table: Mapping[str, Any]) -> Any:
    """Column name -> its position, as attributes that compiled rules read as constants: `obs_ = index(OBSERVATION)`."""
    return namedtuple("Index", table)(*range(len(table)))


def array(*dims: str | int) -> Any:
    """Default of a field of a state: its shape behind the copies' axis. A dim is a number, "agents" or a parameter's name."""
    return dims


@dataclass(frozen=True)
class Role:
    """Agents with the same columns. Their names are `name_0` to `name_{count-1}`."""

    name: str
    count: int
    observation: Table
    action: ActionTable

    @property
    def mask_width(self) -> int:
        """Columns of the action mask: one for each choice of each Discrete column, in table order."""
        return sum(c.k for c in self.action.values() if isinstance(c, Discrete))


@dataclass(frozen=True)
class Goal:
    """That agents of a role are after a goal, which they see: columns of their observation, as many of the one as of the other.

    `outcome(params, achieved [N, g], desired [N, g])` is what a tick pays and whether it ends the game, (reward [N], over [N]),
    where those are what the observation after it shows. So what was reached can be learned from as if it had been the goal.
    A game that does not end by its goal (`ends` False) ends as it does whatever the goal is.
    """

    achieved: tuple[str, ...]
    desired: tuple[str, ...]
    outcome: Callable[[Any, F4, F4], tuple[F4, B1]]
    ends: bool = True

    def aims(self, role: Any, params: Any) -> Aims:
        """The goal by column number, of a role or its group. Raises UserError where the columns are not the role's."""
        columns = list(role.observation)
        missing = [name for name in (*self.achieved, *self.desired) if name not in columns]
        if missing or len(self.achieved) != len(self.desired):
            what = f"column {missing[0]!r}" if missing else f"{len(self.achieved)} columns achieved and {len(self.desired)} desired"
            raise UserError(f"goal of {role.name!r} has {what}: expected are as many columns of its observation of each kind")
        achieved, desired = (np.array([columns.index(name) for name in names]) for names in (self.achieved, self.desired))
        return Aims(achieved, desired, lambda a, d: self.outcome(params, a, d), self.ends)


class Aims(NamedTuple):
    """A goal at known parameters: numbers of the columns [g], outcome(achieved, desired) -> (reward [N], over [N]), what ends games."""

    achieved: npt.NDArray[np.intp]
    desired: npt.NDArray[np.intp]
    outcome: Callable[[F4, F4], tuple[F4, B1]]
    ends: bool = True


@dataclass(frozen=True)
class Picture:
    """The page that a game draws of one episode, for `marl replay`; a game without one gets a generic page.

    `draw` is "package.module:function", imported when a page is asked for: a domain has it in a module of its own beside
    its rules, and needs no plotting library there, `function(history, figure)` gets a `marl.history.History` (what was seen,
    done, paid and how it ended, tick by tick, with views by column name) and an empty matplotlib Figure to draw on.
    `state` names fields of the game's state that the history shall keep beside that.
    """

    draw: str
    state: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        module, _, function = self.draw.partition(":")
        if not module or not function.isidentifier():
            raise UserError(f"Picture draw={self.draw!r}: package.module:function is expected")


Baseline = Callable[[Any, F4, np.random.Generator], npt.NDArray[Any]]
"""(params, obs [N, O], generator) -> actions [N, U] in the units of the action table."""

HEAD = ("key", "episode", "t")
"""Fields [B] that every state has: the copy's random key, the episode's number, the tick in it. The driver keeps them."""


@dataclass(frozen=True)
class Game:
    """The rules of one copy. All functions are compiled (`@rule`), get `p` (numbers) and `s` (arrays), and touch copy b only.

    `begin(p, s, b)` starts an episode; `step(p, s, b, action, components, cost)` reads action [B, A, U], fills
    components [B, A, R] and cost [B, A, C] (zero on entry), and returns RUNNING, TERMINATED or TRUNCATED (the driver
    advances `s.t` afterwards); `observe(p, s, b, obs)` fills obs [B, A, O]; `measure(p, s, b, metrics)` fills
    metrics [B, A, M] at the end of an episode. Optional: `mask(p, s, b, mask)` clears illegal choices in
    mask [B, A, M] (True on entry); `living(p, s, b, alive)` clears agents that left in alive [B, A] (True on entry);
    `overview(p, s, b, state)` fills the global state [B, S] named by `state_table`, which is otherwise all observations
    in a row; `balance(p, s, b, residual)` fills residual [B, Q] named by `audit`, each of which must be 0 on every step.

    `beside(params)` names the baselines that a report plays beside what was learned (all, where it is None): those that are not alike in
    this setting. `reference(params)` names the baseline that scores are relative to. What scores 0 earns most of three: that named `naive`,
    the one named `idle` where doing nothing is legal, and drawn actions. `below` says that the reference may earn less than that, as an
    equilibrium can where restraint is not rewarded: then 0 is `naive` alone, and a score below the reference is a score. `unscaled` says of
    continuous action columns (`role.column`) why they need not lie as `marl.probe` asks. `known(params)`
    gives closed-form values by name: of metrics, or of `return`, where each agent plays for itself (an equilibrium; of a lone agent the
    optimum), and others under names that are no metric's; `together(params)` those where agents share one reward, of which `known` says
    nothing. `trials(params)` are named settings that an evaluation reports (a held-out file, say; the training's own setting where there
    is none). `action_grid(params)` maps a role to [K, U] rows of actions, `goal(params)` one to what its agents are after. `picture` says
    who draws an episode. `weights(params)` are default weights of reward components where they depend on the parameters.

    A game whose parameters make two worlds of it, with states, columns and rules of their own, names the others in `variants`: games
    with the same `params`, of which `variant(params)` names the one that plays them ("": this one). They compile apart.
    """

    name: str
    version: int
    params: type[Params]
    state: type
    roles: Callable[[Any], tuple[Role, ...]]
    begin: Rule
    step: Rule
    observe: Rule
    measure: Rule
    metrics: Table
    reward: Mapping[str, Component] = field(default_factory=lambda: {"reward": Component()})
    cost: Table = field(default_factory=dict)
    mask: Rule | None = None
    living: Rule | None = None
    overview: Rule | None = None
    state_table: Table = field(default_factory=dict)
    balance: Rule | None = None
    audit: tuple[str, ...] = ()
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    beside: Callable[[Any], Sequence[str]] | None = None
    naive: str = "random"
    below: bool = False
    unscaled: Mapping[str, str] = field(default_factory=dict)
    reference: Callable[[Any], str] | None = None
    known: Callable[[Any], Mapping[str, float]] | None = None
    together: Callable[[Any], Mapping[str, float]] | None = None
    trials: Callable[[Any], Mapping[str, Params]] | None = None
    action_grid: Callable[[Any], Mapping[str, npt.NDArray[Any]]] | None = None
    goal: Callable[[Any], Mapping[str, Goal]] | None = None
    picture: Picture | None = None
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights: Callable[[Any], Mapping[str, float]] | None = None
    variants: Mapping[str, Game] = field(default_factory=dict)
    variant: Callable[[Any], str] | None = None
    citation: str = ""

    def __post_init__(self) -> None:
        reserved = set(HEAD) & set(self.state_fields())
        if reserved:
            raise UserError(f"state {self.state.__name__} of game {self.name!r}: fields {sorted(reserved)} are the driver's")
        if (self.overview is None) != (not self.state_table) or (self.balance is None) != (not self.audit):
            raise UserError(f"game {self.name!r}: overview goes with state_table, balance with audit")
        strange = [] if self.picture is None else [f for f in self.picture.state if f not in (*HEAD, *self.state_fields())]
        if strange:
            raise UserError(f"picture of game {self.name!r}: its state has no field {strange[0]!r}")

    def __deepcopy__(self, memo: Any) -> Game:
        """A game is data that nobody changes: a copy of what refers to it refers to the same game."""
        return self

    def at(self, params: Any) -> Game:
        """The game that plays these parameters: itself or a variant."""
        name = self.variant(params) if self.variant is not None else ""
        return self.variants[name] if name else self

    def default_weights(self, params: Any) -> dict[str, float]:
        """Weight of each reward component at these parameters."""
        declared = {name: component.weight for name, component in self.reward.items()}
        return declared | dict(self.weights(params)) if self.weights is not None else declared

    def components(self) -> dict[str, Component]:
        """Reward components of the game and of its variants."""
        return {name: component for game in (*self.variants.values(), self) for name, component in game.reward.items()}

    def state_fields(self) -> dict[str, tuple[np.dtype[Any], tuple[str | int, ...]]]:
        """Field -> dtype and dims, read from the annotations and defaults of the state's NamedTuple."""
        hints = get_type_hints(self.state)
        dims = getattr(self.state, "_field_defaults", {})
        missing = [f for f in hints if f not in dims]
        if missing:
            raise UserError(f"state of game {self.name!r}: field {missing[0]!r} lacks its shape, write `= array(...)`")
        return {f: (np.dtype(get_args(get_args(h)[1])[0]), dims[f]) for f, h in hints.items()}

    def make_params(self, preset: str | None = None, **given: Any) -> Params:
        """Parameters: the preset's where one is named, then those given. Unknown names and values, and files not read, are refused."""
        return self.params_of(preset, given).check_read()

    def params_of(self, preset: str | None, given: Mapping[str, Any]) -> Params:
        """The same where a file may be for later: a stage of a curriculum reads it."""
        if preset and preset not in self.presets:
            raise UserError(f"{self.name}.preset = {preset!r}: legal are {', '.join(self.presets) or 'none, this game has no presets'}")
        return self.params.build({**(self.presets[preset] if preset else {}), **given})


def bounds(table: ActionTable | Table) -> tuple[F8, F8]:
    """(low [N], high [N]) of a table's columns."""
    columns = table.values()
    return np.array([c.low for c in columns], np.float64), np.array([c.high for c in columns], np.float64)


__all__ = [
    "B1", "F4", "F8", "I8", "RUNNING", "TERMINATED", "TRUNCATED", "U8", "ActionTable", "Baseline", "Column", "Component",
    "Discrete", "Game", "Goal", "Params", "Picture", "Role", "Rule", "Table", "array", "bounds", "index", "inf",
]  # fmt: skip
