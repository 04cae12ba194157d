"""`marl replay`: one episode of a run's policies, or of a named baseline, played on one copy and drawn as a page of plots.

Episode K of a run meets the draws of the K-th that `marl evaluate` plays. A game that has a page of its own (`Game.picture`) draws it;
any other gets `experiments.pages.generic`: rewards, actions, observation columns through time, the episode's metrics.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import pages
from experiments.cli import Parser, load_modules, parser
from experiments.compose import Setup, compose
from experiments.evaluation import CHECKPOINTS
from experiments.stored import loaded
from marl.errors import UserError

if TYPE_CHECKING:
    from marl.copies import Copies
    from marl.history import History
    from marl.team import Part

FORMATS = (".png", ".pdf", ".svg")
MOST = 1_000_000
"""Highest number of an episode."""


def replay(
    what: str | Path | Sequence[str],
    output: str | Path | None = None,
    *,
    episode: int = 0,
    checkpoint: str = "result",
    baseline: str | None = None,
    generic: bool = False,
) -> History:
    """Play one episode of a run's checkpoint, and draw it into `output` where that is given; returns what happened, tick by tick.

    `what` is a run's folder, or `key=value` choices (`env=cluster`, ...) with a `baseline` that everybody plays. With a baseline
    a run's folder gives the game alone. `generic` draws the generic page even where the game has its own. Raises UserError.
    """
    check_episode(episode, checkpoint)
    if output is not None and Path(output).suffix not in FORMATS:
        raise UserError(f"output = {str(output)!r}: legal endings are {', '.join(FORMATS)}")
    from marl.history import record

    with stage(what, episode, checkpoint, baseline) as ready:
        found = record(ready.copies, ready.plan, ready.policies, ready.title, _fields(ready.setup))
    if output is not None:
        draw(found, Path(output), _own(found.name) if not generic else None)
    return found


def check_episode(episode: int, checkpoint: str) -> None:
    """Raises UserError for what is no episode of an evaluation."""
    if not isinstance(episode, int) or not 0 <= episode <= MOST:
        raise UserError(f"episode = {episode}: legal are whole numbers in [0, {MOST}]")
    if checkpoint not in CHECKPOINTS:
        raise UserError(f"checkpoint = {checkpoint!r}: legal are {', '.join(CHECKPOINTS)}")


@dataclass(frozen=True)
class Stage:
    """One copy of a game at the beginning of an episode, and who plays it: a run's policies, or everybody a baseline."""

    setup: Setup
    copies: Copies
    plan: Mapping[str, Part]
    policies: Mapping[str, Any]
    title: str


@contextmanager
def stage(
    what: str | Path | Sequence[str],
    episode: int,
    checkpoint: str = "result",
    baseline: str | None = None,
    given: Callable[[Any], Mapping[str, Any]] | None = None,
) -> Iterator[Stage]:
    """An episode of a run's folder or of a game's `key=value` choices, see `replay`; `given` finds parameters that
    replace some of the present ones.

    Raises UserError.
    """
    from experiments.build import copies_of

    if isinstance(what, str | Path):
        setup, run, step, name = loaded(what, checkpoint)
        seed, who = run.final_seed, f"{setup.config['algorithm']['name']}, {name} checkpoint, step {step:,}"
    else:
        setup, run = compose(what), None
        seed, who = setup.config["seed"], ""
        if baseline is None:
            game = setup.game.at(setup.params) if setup.game is not None else None
            baseline = game.reference(setup.params) if game is not None and game.reference is not None else "random"
    copies = (run.make if run is not None else copies_of(setup))(given(setup.params) if given is not None else {}, 1)
    try:
        copies.reset(_episodes(seed), first=episode)
        if baseline is None:
            assert run is not None
            plan, policies = run.plan, run.policies
        else:
            plan, policies = _everybody(copies, baseline, seed + episode)
        yield Stage(setup, copies, plan, policies, f"{copies.name}: {baseline or who}, episode {episode}")
    finally:
        copies.close()


def _episodes(seed: int) -> int:
    """Seed of the episodes of an evaluation."""
    from marl.evaluate import seed_of

    return seed_of(seed)


def _everybody(copies: Any, baseline: str, seed: int) -> Any:
    """(plan, policies) of everybody playing a baseline."""
    from marl.team import parts, scripted

    plan = parts(copies, "group")
    return plan, {name: scripted(copies, part, baseline, seed) for name, part in plan.items()}


def _fields(setup: Setup) -> tuple[str, ...]:
    return setup.game.picture.state if setup.game is not None and setup.game.picture is not None else ()


def _own(name: str) -> Callable[..., None] | None:
    """The page of a game, None where it has none."""
    import envs

    picture = envs.GAMES[name].picture if name in envs.GAMES else None
    if picture is None:
        return None
    module, _, function = picture.draw.partition(":")
    found: Callable[..., None] = getattr(importlib.import_module(module), function)
    return found


def draw(found: History, path: Path, own: Callable[..., None] | None = None) -> Path:
    """Draw an episode into a file, by a game's own page or by the generic one."""
    figure = pages.blank()
    (own or pages.generic)(found, figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def episode_parser(name: str) -> Parser:
    """A parser of a subcommand that plays episodes of a run or of a game."""
    options = parser(name)
    options.add_argument("what", nargs="+", metavar="RUN | key=value", help="a run's folder, or a game: env=cluster env.mechanism=drf ...")
    options.add_argument("--episode", type=int, default=0, help="which of the evaluation's episodes, or the first (0)")
    options.add_argument(
        "--checkpoint", default="result", help="result, best or last (result: the best where the run has one, else the last)"
    )
    options.add_argument("--baseline", metavar="NAME", help="everybody plays this; without a run by default the game's reference")
    return options


def what_of(name: str, words: Sequence[str]) -> str | Sequence[str]:
    """What `stage` takes: a run's folder or a game's choices. Raises UserError."""
    if len(words) > 1 and any("=" not in word for word in words):
        raise UserError(f"marl {name} {' '.join(words)}: one run's folder, or key=value choices of a game are expected")
    return words if "=" in words[0] and not Path(words[0]).is_dir() else words[0]


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = episode_parser("replay")
    options.add_argument("--generic", action="store_true", help="the generic page even where the game has its own")
    options.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help=f"where it goes: {', '.join(FORMATS)}")
    given = options.parse_intermixed_args(list(arguments))
    load_modules(given.module)
    found = replay(
        what_of("replay", given.what), given.output, episode=given.episode, checkpoint=given.checkpoint, baseline=given.baseline,
        generic=given.generic,
    )  # fmt: skip
    print(f"{found.title}: {found.ticks:,} ticks\n{pages.ending(found)}\n{given.output}")
    return 0
