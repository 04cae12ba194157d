"""The contract of a game as functions that raise: call `check_game` on your own, in a test. Stricter than PettingZoo's.

from marl.check import check_game
check_game(MY_GAME, n_agents=3, horizon=20)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from marl import contract, episodes
from marl.episodes import check_parallel
from marl.errors import UserError
from marl.game import Game
from marl.plugins import load_attribute
from marl.trial import Trial, digest

REGISTRY = "envs:GAMES"
"""Where a game that is given by name is looked up: by name and only when asked, for marl stands below the games and imports none."""

CHECKS: dict[str, Callable[[Trial], None]] = {
    "params": contract.check_params,
    "names": episodes.check_names,
    "values": contract.check_values,
    "reward": contract.check_reward,
    "balance": contract.check_balance,
    "clock": contract.check_clock,
    "seeds": contract.check_seeds,
    "batch": contract.check_batch,
    "threads": contract.check_threads,
    "clipping": contract.check_clipping,
    "masks": contract.check_masks,
    "goal": contract.check_goal,
    "living": episodes.check_living,
    "ends": episodes.check_ends,
    "begin": episodes.check_begin,
    "final": episodes.check_final,
    "fork": episodes.check_fork,
    "view": episodes.check_view,
}
"""Every check by name, in the order in which they run."""


def check_game(name_or_game: str | Game, only: str | None = None, preset: str | None = None, **params: Any) -> None:
    """Run all checks (or `only` one, by name) on a game at these parameters; UserError with the reason where one fails."""
    game = named(name_or_game) if isinstance(name_or_game, str) else name_or_game
    if only is not None and only not in CHECKS:
        raise UserError(f"check {only!r}: legal are {', '.join(CHECKS)}")
    trial = Trial.of(game, game.make_params(preset, **params))
    for check in CHECKS.values() if only is None else [CHECKS[only]]:
        check(trial)


def named(name: str) -> Game:
    """The registered game of that name."""
    games: Mapping[str, Game] = load_attribute(REGISTRY, "registry of games")
    if name not in games:
        raise UserError(f"game {name!r}: no such game, legal are {', '.join(games) or 'none'}")
    return games[name]


__all__ = ["CHECKS", "REGISTRY", "Trial", "check_game", "check_parallel", "digest", "named"]
