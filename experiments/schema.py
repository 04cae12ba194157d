"""The configuration of a run, each key declared once: name, type, default, legal range, unit.

`env`, `algorithm`, `curriculum` and `tracker` are config groups; `experiments.groups` makes their schemas. Counts of
`total_*`, `every` and `patience` share one unit: environment steps, or episodes where `total_episodes` is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from math import inf
from types import NoneType
from typing import Any, get_args, get_type_hints

from marl.convention import ENSEMBLES, REWARDS, TIME_LIMITS
from marl.errors import UserError
from marl.params import Limits, choice, param, text

COUNT = 10**15
"""Steps or episodes beyond which a count is a slip of the hand."""
DEFAULT_STEPS = 1_000_000
"""Environment steps of a run that names neither total_steps nor total_episodes."""
EVALUATIONS = 20
"""Evaluations of a run that does not say how often."""
EPISODES = 32
"""Episodes of an evaluation of a game, where nothing is said. Of foreign environments both are made to fit (`experiments.foresight`)."""


def maybe(low: float, high: float, unit: str, help: str) -> Any:
    """A number in [low, high] that may be left out (null)."""
    return field(default=None, metadata={"limits": Limits(low, high, unit, help=help)})


@dataclass
class Evaluation:
    every: int | None = maybe(1, COUNT, "steps or episodes", "between evaluations; null: a twentieth of the run")
    episodes: int | None = maybe(
        2, 1_000_000, "episodes", "of each evaluation, on fixed seeds; an interval needs two; null: 32, or as a foreign environment allows"
    )
    sample: bool = field(
        default=False, metadata={"limits": Limits(help="whether policies draw from their distributions, instead of acting at their mode")}
    )
    best_response: int | None = maybe(
        0, COUNT, "steps", "of a best response at the end; null: a twentieth of the run where several learn a known answer for themselves"
    )


@dataclass
class Checkpoint:
    every: int | None = maybe(1, COUNT, "steps or episodes", "between checkpoints; null: with every evaluation")
    keep: int = param(0, 0, 1000, "files", "numbered checkpoints that stay beside last.pt and best.pt")


@dataclass
class EarlyStopping:
    patience: int = param(0, 0, COUNT, "steps or episodes", "without a better evaluation before the run ends; 0: never")


@dataclass
class Ensemble:
    """What `marl train` trains in turn and then evaluates as one (`experiments.members`)."""

    members: list[str] = field(default_factory=list, metadata={"limits": Limits(help="experiments; each gets a folder in run_dir")})
    kind: str = choice("mean", ENSEMBLES, "how the members act as one")


@dataclass
class Tracker:
    """Who gets a copy of metrics.jsonl; the file itself is always written."""

    kinds: list[str] = field(default_factory=list, metadata={"limits": Limits(options=("wandb", "tensorboard"))})
    project: str = text("market-marl", "W&B project")
    group: str = text("${env.name}-${algorithm.name}", "W&B group")
    job_type: str = text("train", "W&B job type")
    tags: list[str] = field(default_factory=lambda: ["${env.name}", "${algorithm.name}"], metadata={"limits": Limits(help="W&B tags")})


@dataclass
class TrainConfig:
    env: Any = field(default="???", metadata={"limits": Limits(help="the game, env.* its parameters")})
    algorithm: Any = field(default="???", metadata={"limits": Limits(help="the learner, algorithm.* its settings")})
    curriculum: Any = field(default="???", metadata={"limits": Limits(help="the stages of the game")})
    tracker: Tracker = field(default_factory=Tracker)
    seed: int = param(0, 0, 2**53, "", "of every random number of the run")
    n_envs: int = param(64, 1, 1_000_000, "copies", "of the game, stepped together")
    total_steps: int | None = maybe(1, COUNT, "environment steps", "length of the run")
    total_episodes: int | None = maybe(1, COUNT, "episodes", "length of the run, instead of total_steps")
    sharing: str = choice("group", ("all", "group", "none"), "who learns the same parameters")
    opponents: str | None = field(
        default=None, metadata={"limits": Limits(help="baseline that all but the first agent of every role follow; null: all learn")}
    )
    reward: str = choice("individual", REWARDS, "what a learner is paid: its own reward, or that of all who learn, summed or averaged")
    time_limit: str = choice("bootstrap", TIME_LIMITS, "what follows the horizon of a continuing game: its value, or nothing")
    device: str = text("cpu", "torch device")
    threads: int = param(1, 1, 1024, "threads", "of torch and of the rules")
    run_dir: str = text(
        "runs/${now:%Y%m%d-%H%M%S}-${drawn:}-${env.name}-${algorithm.name}-s${seed}", "run folder; in a sweep, the folder of its runs"
    )
    log_level: str = choice("INFO", ("DEBUG", "INFO", "WARNING", "ERROR"), "of log.jsonl")
    profile: str | None = field(default=None, metadata={"limits": Limits(help="development or production: sizes and log level")})
    modules: list[str] = field(default_factory=list, metadata={"limits": Limits(help="modules with games and algorithms (--module)")})
    evaluation: Evaluation = field(default_factory=Evaluation)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    ensemble: Ensemble = field(default_factory=Ensemble)


WANTED = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
EXAMPLES = {list[str]: "a list like [a, b]", list[int]: "a list like [64, 64]", dict[str, Any]: "a table like {name: 1}"}


def limits_of(f: Field[Any]) -> Limits:
    """Legal values of a dataclass field, as games, algorithms and this room declare them."""
    if "limits" in f.metadata:
        found: Limits = f.metadata["limits"]
        return found
    known = {key: f.metadata[key] for key in ("low", "high", "unit", "options", "help") if key in f.metadata}
    return Limits(**known)


def plain(hint: Any) -> Any:
    """The type behind `T | None`."""
    rest = [a for a in get_args(hint) if a is not NoneType]
    return rest[0] if NoneType in get_args(hint) and len(rest) == 1 else hint


def legal(hint: Any, limits: Limits) -> str:
    """What a key may be, in words: `a whole number in [1, 128] agents`, `one of first, second`."""
    kind, nullable = plain(hint), " or null" if NoneType in get_args(hint) else ""
    if limits.options:
        return ("one of " if kind is str else "a list of ") + ", ".join(limits.options) + nullable
    if is_dataclass(kind):
        return "a value for " + " or ".join(f.name for f in fields(kind))
    words = WANTED.get(kind) or EXAMPLES.get(kind, str(kind))
    if kind in (int, float):
        low, high = (f"{bound:.0f}" if kind is int and abs(bound) < inf else f"{bound:g}" for bound in (limits.low, limits.high))
        words += f" in [{low}, {high}]" + (f" {limits.unit}" if limits.unit else "")
    return words + nullable


def check(node: type, values: Mapping[str, Any], where: str = "") -> None:
    """Refuse values outside the declared limits of a dataclass, by full key. Raises UserError."""
    hints = get_type_hints(node)
    for f in fields(node):
        value, key = values[f.name], f"{where}{f.name}"
        if is_dataclass(hints[f.name]):
            check(hints[f.name], value, f"{key}.")
        elif value is not None:
            _check_one(key, hints[f.name], limits_of(f), value)


def _check_one(key: str, hint: Any, limits: Limits, value: Any) -> None:
    kind = plain(hint)
    if isinstance(value, list) and get_args(kind) and not all(isinstance(item, get_args(kind)[0]) for item in value):
        raise UserError(f"{key} = {value!r}: legal is {legal(hint, limits)}")
    outside = kind in (int, float) and not limits.low <= value <= limits.high
    if outside or (limits.options and not set(value if isinstance(value, list) else [value]) <= set(limits.options)):
        raise UserError(f"{key} = {value!r}: legal is {legal(hint, limits)}")


def default_of(f: Any) -> Any:
    """The default that a dataclass field declares, `...` where it has none."""
    if f.default is not MISSING:
        return f.default
    return f.default_factory() if f.default_factory is not MISSING else ...
