"""Runs that stand in a table: each counted once, trained in the table's setting, seeds of one row where only their seeds differ."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from filecmp import cmp
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.compose import Setup
from experiments.run_folder import SAME_NUMBERS, RunFolder
from experiments.stored import opened
from marl.errors import UserError
from marl.params import Params

if TYPE_CHECKING:
    from marl.train import Run

APART = (*SAME_NUMBERS, "seed", "threads", "device", "checkpoint")
"""Keys of the configuration in which seeds of one row may differ."""


@dataclass(frozen=True)
class Entrant:
    """A run as `--run` named it. `params` are those that its policies were trained in last, of a curriculum's stage where it has one."""

    given: str
    folder: RunFolder
    setup: Setup
    checkpoint: str
    params: Params
    recipe: Mapping[str, Any]

    @property
    def algorithm(self) -> str:
        """Its algorithm's name."""
        return str(self.setup.config["algorithm"]["name"])

    @property
    def seed(self) -> int:
        """The seed that it was trained from."""
        return int(self.setup.config["seed"])

    @property
    def rivals(self) -> str | None:
        """The baseline that all but the first of each role played in training; None where all learned."""
        name: str | None = self.setup.config["opponents"]
        return name

    @property
    def among(self) -> str:
        """Among whom it was trained, in words."""
        return "trained together" if self.rivals is None else f"trained among {self.rivals}"

    def load(self) -> Run:
        """The run with the policies of its checkpoint; nothing collects or logs."""
        from experiments.build import run_of

        run = run_of(self.setup, self.folder)
        run.load(f"{self.checkpoint}.pt")
        run.close()
        return run


def check_there(paths: Sequence[str]) -> None:
    """Raise UserError for what is no run's folder, before anything is computed."""
    for path in paths:
        if not RunFolder(Path(path)).config.is_file():
            raise UserError(f"--run {path}: no run there, a folder with config.yaml is expected")


def entrants(paths: Sequence[str], checkpoint: str, games: Sequence[str], params: Params, free: Collection[str]) -> list[Entrant]:
    """The runs in these folders, of one of these games, trained in the setting `params` but for the parameters in `free`.

    A run that is named twice, or whose copy is, counts once, with a warning. Raises UserError for a run of another game or setting, and
    for two runs of one configuration and one seed: they are no two seeds.
    """
    found: list[Entrant] = []
    for path in paths:
        own = _entrant(path, checkpoint, games)
        _check_setting(own, params, free)
        twin = next((other for other in found if other.seed == own.seed and alike(other, own)), None)
        if twin is None:
            found.append(own)
        elif _one_run(twin.folder, own.folder):
            print(f"marl: warning: --run {path} is the run of --run {twin.given}: it counts once", file=sys.stderr)
        else:
            raise UserError(
                f"--run {twin.given} and --run {path}: both have seed = {own.seed} and one configuration, seeds of a row differ; name one"
            )
    return found


def _entrant(path: str, checkpoint: str, games: Sequence[str]) -> Entrant:
    folder, setup = opened(path, games)
    assert setup.params is not None
    recipe = {key: value for key, value in _flat(setup.config).items() if key.partition(".")[0] not in APART}
    name = folder.checkpoint(checkpoint)
    return Entrant(path, folder, setup, name, _last_setting(folder, setup, name), recipe)


def _last_setting(folder: RunFolder, setup: Setup, name: str) -> Any:
    """The run's parameters at a checkpoint: those of its curriculum's stage over its own."""
    from experiments.build import curriculum_of
    from marl import checkpoint

    curriculum, params = curriculum_of(setup), setup.params
    if curriculum is None:
        return params
    curriculum.load_state_dict(checkpoint.load(folder.path / f"{name}.pt", ("curriculum",))["curriculum"])
    return replace(params, **curriculum.params)  # type: ignore[type-var]


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested tables as one, keys joined by dots."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {f"{above}{key}": value}
    return found


def _one_run(one: RunFolder, other: RunFolder) -> bool:
    """Whether two folders are one, or one a copy of the other."""
    return one.path.samefile(other.path) or one.read_manifest()["id"] == other.read_manifest()["id"]


def same(one: Any, other: Any) -> bool:
    """Whether two values of a configuration are equal; paths of files of equal content are."""
    if one == other or not (isinstance(one, str) and isinstance(other, str)):
        return bool(one == other)
    return Path(one).is_file() and Path(other).is_file() and cmp(one, other, shallow=False)


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Keys whose values differ, or that only one of them has."""
    return [key for key in {**one, **other} if key not in one or key not in other or not same(one[key], other[key])]


def alike(one: Entrant, other: Entrant) -> bool:
    """Whether the configurations of two runs differ in nothing but `APART`."""
    return not differing(one.recipe, other.recipe)


def by_row(found: Sequence[Entrant], label: Callable[[Entrant], str]) -> dict[str, list[Entrant]]:
    """Label of a row -> the runs that are its seeds. Unlike runs of one label have rows of their own, whose labels say what differs."""
    rows: dict[str, list[list[Entrant]]] = {}
    for own in found:
        kinds = rows.setdefault(label(own), [])
        kind = next((kind for kind in kinds if alike(kind[0], own)), None)
        if kind is None:
            kinds.append([own])
        else:
            kind.append(own)
    named: dict[str, list[Entrant]] = {}
    for name, kinds in rows.items():
        keys = [key for key in kinds[0][0].recipe if any(key in differing(kinds[0][0].recipe, kind[0].recipe) for kind in kinds)]
        for kind in kinds:
            said = ", ".join(f"{key}={kind[0].recipe.get(key)}" for key in keys)
            named[f"{name} ({said})" if said else name] = kind
    return named


def _check_setting(own: Entrant, params: Params, free: Collection[str]) -> None:
    """Raise UserError where the run was trained in another setting than the table's, but for the parameters in `free`."""
    mine, theirs = (asdict(p) for p in (own.params, params))  # type: ignore[call-overload]
    for key in differing(mine, theirs):
        if key not in free:
            raise UserError(
                f"--run {own.given}: its env.{key} differs, {mine.get(key)!r} in its training and {theirs.get(key)!r} in this table: "
                f"name the setting that it was trained in, {', '.join(free)} may differ"
            )
