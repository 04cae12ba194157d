"""A resolved configuration made into objects: copies of the game, schedule, curriculum, run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

import algorithms
import curricula
import envs
from experiments.compose import Setup
from experiments.run_folder import RunFolder
from experiments.schema import EPISODES, EVALUATIONS
from marl.errors import UserError

if TYPE_CHECKING:
    from marl.copies import Copies
    from marl.game import Game
    from marl.schedule import MakeCopies, Progress, Schedule
    from marl.track import Tracker
    from marl.train import Run


def copies_of(setup: Setup) -> MakeCopies:
    """(parameters that replace the run's own, n) -> n copies of the run's game."""
    if setup.game is None:
        return _foreign(setup)
    game, params = setup.game, setup.params
    assert params is not None
    threads, weights = setup.config["threads"], setup.config["env"]["weights"]

    def make(stage: Mapping[str, Any], n: int) -> Copies:
        from marl.vector import VectorGame

        return VectorGame(game, n, replace(params, **stage) if stage else params, threads=threads, weights=weights)  # type: ignore[type-var]

    return make


def _foreign(setup: Setup) -> MakeCopies:
    env = setup.config["env"]
    options = {key: env[key] for key in ("on_error", "timeout", "retries")}
    words: set[str] = set()  # what these copies and those of the evaluations have said already

    def make(stage: Mapping[str, Any], n: int) -> Copies:
        from marl.external import from_factory

        central = getattr(algorithms.load(setup.config["algorithm"]["name"]), "CENTRAL", False)
        copies = {"longest": env["longest"], "own_state": central, "words": words}
        return from_factory(env["factory"], n, **options, copies=copies, **{**env["kwargs"], **stage})

    return make


def schedule_of(setup: Setup) -> Schedule:
    """Length of the run and what happens when."""
    from marl.schedule import Schedule

    config = setup.config
    in_steps = config["total_episodes"] is None
    total, asked = config["total_steps"] if in_steps else config["total_episodes"], config["evaluation"]
    return Schedule(
        total=total,
        unit="steps" if in_steps else "episodes",
        evaluation_every=max(1, total // EVALUATIONS) if asked["every"] is None else asked["every"],
        evaluation_episodes=EPISODES if asked["episodes"] is None else asked["episodes"],
        checkpoint_every=config["checkpoint"]["every"],
        keep=config["checkpoint"]["keep"],
        patience=config["early_stopping"]["patience"],
        evaluation_sample=config["evaluation"]["sample"],
    )


def curriculum_of(setup: Setup) -> curricula.Curriculum | None:
    """The curriculum at its first stage, its stages checked against the game; None where there is none."""
    name = setup.config["curriculum"]["name"]
    if name is None:
        return None
    if setup.game is None or setup.params is None:
        raise UserError(f"curriculum = {name!r}: stages change a game's parameters, a foreign environment has none")
    _check_meant(name, setup.game)
    return curricula.load(name, curricula.same_columns(setup.game, asdict(setup.params)))  # type: ignore[call-overload]


def _check_meant(name: str, game: Game) -> None:
    """Raise UserError where stages name parameters that the game lacks and another game has, naming that game and its like."""
    names = {f.name for f in fields(game.params)}  # type: ignore[arg-type]
    if all(key in names for stage in curricula.load(name).stages for key in stage.params):
        return
    meant = [other for other, theirs in envs.GAMES.items() if _fits(name, theirs)]
    if not meant:
        return  # the check of the stages says which is unknown
    fit = [other for other in curricula.CURRICULA if _fits(other, game)]
    legal = f"legal with env = {game.name!r} are {', '.join([*fit, 'none'])}" if fit else f"env = {game.name!r} has none"
    raise UserError(f"curriculum = {name!r}: {name} is a curriculum of {' and '.join(meant)}, {legal}")


def _fits(curriculum: str, game: Game) -> bool:
    """Whether the game at its defaults can have these stages."""
    try:
        curricula.load(curriculum, curricula.same_columns(game))
    except UserError:
        return False
    return True


def run_of(setup: Setup, folder: RunFolder, trackers: Sequence[Tracker] = (), watch: Callable[[Progress], None] = lambda _: None) -> Run:
    """The run, not begun: `start`, `resume` or `load` it."""
    import torch

    from marl.train import Run

    config = setup.config
    torch.set_num_threads(config["threads"])
    return Run(
        copies_of(setup),
        algorithms.load(config["algorithm"]["name"]),
        setup.settings,
        schedule_of(setup),
        seed=config["seed"],
        n_envs=config["n_envs"],
        folder=folder.path,
        sharing=config["sharing"],
        rivals=config["opponents"],
        reward=config["reward"],
        time_limit=config["time_limit"],
        trackers=trackers,
        curriculum=curriculum_of(setup),
        device=device(config["device"]),
        watch=watch,
    )


def device(name: str) -> str:
    """A torch device that is there and holds numbers. Raises UserError."""
    import torch

    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0]
        reason = "there is no such kind" if "Expected one of" in said else said
        raise UserError(f"device = {name!r}: legal are cpu, and cuda, cuda:N or mps where torch finds them ({reason})") from error
    return name
