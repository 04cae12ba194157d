"""Published results as data: `experiments/rows/*.yaml`, each row a task, a recipe, the value that was published and when ours passes.

A file holds the rows of one task: `common`, which all of them have, and `rows` by name, each with what differs. Everything
is checked when it is loaded, in one line an error; the configuration that a row describes is composed as `marl train` composes one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from marl.convention import REWARDS, TIME_LIMITS
from marl.errors import UserError

if TYPE_CHECKING:
    from experiments.compose import Setup

T = TypeVar("T")
ROWS = Path(__file__).with_name("rows")
LEARNED, SESSIONS, RACE = "learned", "sessions", "race"
KINDS = (LEARNED, SESSIONS, RACE)
"""`learned`: a run of `marl train` a seed. `sessions`: tabular Q-learners, many sessions a seed (`experiments.sessions`).
`race`: a run that ends once `lasting` evaluations in a row are as `passes` asks; what counts are its steps (`experiments.races`)."""
MEAN, SEEDS = "mean", "seeds"
RETURNS = ("return_sum", "return_mean")
"""Measures beside the game's own metrics: the sum and the mean over agents of their returns."""
GAIN = "gain"
"""The measure of a run with `opponents`: what its learner earns beyond an opponent in its seat on the same draws, as a share of that."""
CHECKPOINTS = ("last", "best")
POINTS = 40
"""Evaluations of a run that does not say how often: the published curves have 41 points."""


@dataclass(frozen=True)
class Published:
    """What was published: a value with the half-width of its 95 % interval (None where none was given).

    `read`: whether the number was read in `where`, else it is from memory and has to be verified before it is quoted.
    """

    value: float
    where: str
    read: bool
    half: float | None = None


@dataclass(frozen=True)
class Rule:
    """When a row passes: `of` "mean": the mean over seeds lies in [at_least, at_most]; "seeds": that share of the seeds does."""

    of: str
    at_least: float = -inf
    at_most: float = inf
    share: float = 1.0

    def words(self) -> str:
        """The rule in a few words."""
        low, high = (format(x, ".6g") for x in (self.at_least, self.at_most))
        if self.at_least == self.at_most:
            asked = f"= {low}"
        elif self.at_most == inf:
            asked = f">= {low}"
        else:
            asked = f"in {low} to {high}" if self.at_least > -inf else f"<= {high}"
        return f"mean {asked}" if self.of == MEAN else f"{self.share:.0%} of seeds {asked}"

    def holds(self, value: float) -> bool:
        """Whether a value lies within the bounds."""
        return self.at_least <= value <= self.at_most


@dataclass(frozen=True)
class Row:
    """A published result and how it is reproduced.

    `task` and `algorithm` are the keys of `env` and `algorithm` (`name` chooses), `run` any other keys of a run. `measure` is
    what is compared, in the scale that `scale` describes: a metric of the game, one of RETURNS, or GAIN. `steps`: environment steps
    a seed. `seeds` counts from 0. `episodes`: fresh greedy episodes that decide, or sessions, a seed. `minutes`: processor time of a seed.
    `note`: what else a reader of the value has to know. `cause`: why the row does not pass, found where it does not.
    """

    name: str
    title: str
    published: Published
    task: Mapping[str, Any]
    algorithm: Mapping[str, Any]
    reward: str
    measure: str
    scale: str
    passes: Rule
    steps: int
    minutes: float
    note: str = ""
    cause: str = ""
    kind: str = LEARNED
    time_limit: str = "bootstrap"
    run: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 5
    episodes: int = 1024
    checkpoint: str = "last"
    lasting: int = 1

    def overrides(self, seed: int, run_dir: Path) -> list[str]:
        """`key=value` lines of the run with that seed."""
        from experiments.training import override_lines

        point = max(1, self.steps // POINTS)
        run = merged({"evaluation": {"every": point, "episodes": 100}}, self.run)
        run |= {"reward": self.reward, "time_limit": self.time_limit, "total_steps": self.steps, "seed": seed, "run_dir": str(run_dir)}
        return [*_chosen("env", self.task), *_chosen("algorithm", self.algorithm), *override_lines(run)]

    def setup(self, seed: int, run_dir: Path) -> Setup:
        """The run with that seed, composed and checked. Raises UserError."""
        from experiments.compose import compose

        try:
            found = compose(self.overrides(seed, run_dir))
        except UserError as error:
            raise UserError(f"row {self.name}: {error}") from error
        legal = [*RETURNS, *([GAIN] if found.config["opponents"] is not None else []), *(() if found.game is None else found.game.metrics)]
        if self.measure not in legal:
            raise UserError(f"row {self.name}: measure = {self.measure!r}: legal are {', '.join(legal)}")
        return found

    def check(self) -> None:
        """Compose what the row describes, and refuse in one line what cannot be run. Raises UserError."""
        if self.kind != SESSIONS:
            self.setup(0, Path(self.name))
        else:
            from experiments.sessions import parts

            parts(self)

    @property
    def protocol(self) -> str:
        """What decides, in words."""
        if self.kind == SESSIONS:
            return f"{self.episodes} sessions a seed"
        how = "drawn" if self.run.get("evaluation", {}).get("sample") else "greedy"
        return f"{self.episodes:,} fresh {how} episodes a seed, {self.checkpoint} checkpoint"

    @property
    def conventions(self) -> str:
        """What a learner is paid, and what the time limit means, in words."""
        return f"reward {self.reward}" + ("" if self.kind == SESSIONS else f", time limit {self.time_limit}")

    @property
    def fingerprint(self) -> str:
        """Digest of what determines the row's numbers: figures that were recorded under another one are of another recipe."""
        own = {name: getattr(self, name) for name in NUMBERS}
        return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:12]


NUMBERS = ("kind", "task", "algorithm", "run", "reward", "time_limit", "measure", "steps", "episodes", "checkpoint", "lasting")


def _chosen(group: str, values: Mapping[str, Any]) -> list[str]:
    from experiments.training import override_lines

    return [f"{group}={values['name']}", *override_lines({k: v for k, v in values.items() if k != "name"}, f"{group}.")]


def load(folder: Path = ROWS) -> dict[str, Row]:
    """Every row by name, in the order of the files. Raises UserError naming file, row and key."""
    rows: dict[str, Row] = {}
    for path in sorted(folder.glob("*.yaml")):
        for row in read(path):
            if row.name in rows:
                raise UserError(f"{path}: row {row.name} is in another file already")
            rows[row.name] = row
    return rows


def read(path: Path) -> Iterator[Row]:
    """The rows of a file. Raises UserError."""
    found = document(path)
    if set(found) != {"common", "rows"} or not all(isinstance(x, dict) for x in found.values()):
        raise UserError(f"{path}: two tables are expected, common and rows")
    for name, own in found["rows"].items():
        if not isinstance(own, dict):
            raise UserError(f"{path}: row {name} = {own!r}: a table of keys is expected")
        yield make({"name": name, **merged(found["common"], own)}, f"{path.name}: row {name}")


def document(path: Path) -> dict[str, Any]:
    """A YAML table; a number like 7e-4 is one. Raises UserError."""
    from omegaconf import OmegaConf

    try:
        found: Any = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: a table of keys is expected")
    return found


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """`first` with the values of `second`, tables merged key by key."""
    both = dict(first)
    for key, value in second.items():
        inner = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = merged(both[key], value) if inner else value
    return both


def make(values: Mapping[str, Any], where: str) -> Row:
    """A row from its keys, checked. Raises UserError with `where` in front."""
    content = dict(values)
    for name, part in (("published", Published), ("passes", Rule)):
        if isinstance(content.get(name), Mapping):
            content[name] = built(part, content[name], f"{where}: {name}")
    row: Row = built(Row, content, where)
    return checked(row, where)


def built(cls: type, values: Mapping[str, Any], where: str) -> Any:
    """An instance of a dataclass of plain values, its keys and their types checked. Raises UserError with `where` in front."""
    legal = {f.name: f for f in fields(cls)}
    for key in values:
        if key not in legal:
            raise UserError(f"{where}: no such key {key!r}, legal are {', '.join(legal)}")
    for key, f in legal.items():
        if key not in values and f.default is MISSING and f.default_factory is MISSING:
            raise UserError(f"{where}: {key} is not given")
        if key in values and not _fits(str(f.type), values[key]):
            raise UserError(f"{where}: {key} = {values[key]!r}: {TYPES[str(f.type)][1]} is expected")
    return cls(**values)


TYPES: dict[str, tuple[Any, str]] = {
    "str": (str, "a text"),
    "bool": (bool, "true or false"),
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "float | None": ((int, float, type(None)), "a number or null"),
    "Mapping[str, Any]": (Mapping, "a table of keys"),
    "Published": (Published, "a table with value, half, where, read"),
    "Rule": (Rule, "a table with of, at_least, at_most, share"),
}


def _fits(kind: str, value: Any) -> bool:
    return isinstance(value, TYPES[kind][0]) and (kind == "bool" or not isinstance(value, bool))


def checked(row: Row, where: str) -> Row:
    """The row, if its values are legal. Raises UserError with `where` in front."""
    for key, value, legal in (
        ("reward", row.reward, REWARDS),
        ("time_limit", row.time_limit, TIME_LIMITS),
        ("kind", row.kind, KINDS),
        ("checkpoint", row.checkpoint, CHECKPOINTS),
        ("passes.of", row.passes.of, (MEAN, SEEDS)),
    ):
        if value not in legal:
            raise UserError(f"{where}: {key} = {value!r}: legal are {', '.join(legal)}")
    for key, number, low, high in (
        ("steps", row.steps, 1, 10**12),
        ("seeds", row.seeds, 1, 1000),
        ("episodes", row.episodes, 2, 10**6),
        ("lasting", row.lasting, 1, 1000),
        ("minutes", row.minutes, 0, 10**6),
        ("passes.share", row.passes.share, 1e-9, 1),
        ("passes.at_most", row.passes.at_most, row.passes.at_least, inf),
    ):
        if not low <= number <= high:
            raise UserError(f"{where}: {key} = {number}: legal range is [{low:g}, {high:g}]")
    if row.passes.at_least == -inf and row.passes.at_most == inf:
        raise UserError(f"{where}: passes: at_least, at_most or both are expected, else every result passes")
    for key in ("task", "algorithm"):
        if "name" not in getattr(row, key):
            raise UserError(f"{where}: {key}.name is not given")
    return row


def chosen(names: Sequence[str], rows: Mapping[str, T]) -> list[T]:
    """Rows, or races, by name. Raises UserError naming the closest one."""
    from experiments.refusals import unknown

    for name in names:
        if name not in rows:
            raise unknown(f"row {name!r}: no such row", name, list(rows))
    return [rows[name] for name in dict.fromkeys(names)]
