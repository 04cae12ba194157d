"""Games by name. `GAMES` is the registry: adding a game is a folder here and one line in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envs.auction import AUCTION
from envs.auction_log import AUCTION_LOG
from envs.classic import CLASSIC
from envs.resource_allocation import RESOURCE_ALLOCATION
from envs.supply_chain import SUPPLY_CHAINS
from envs.trading import TRADING
from marl.errors import UserError
from marl.game import Game

if TYPE_CHECKING:
    from marl.parallel import ParallelGame
    from marl.vector import VectorGame

GAMES: dict[str, Game] = {game.name: game for game in (AUCTION, AUCTION_LOG, *RESOURCE_ALLOCATION, *SUPPLY_CHAINS, *TRADING, *CLASSIC)}


def game(name: str) -> Game:
    """The game of that name; an unknown one is refused with the legal ones."""
    if name not in GAMES:
        raise UserError(f"env = {name!r}: no such game, legal are {', '.join(GAMES)}")
    return GAMES[name]


def make(name: str, n_envs: int = 1, **params: Any) -> VectorGame:
    """`n_envs` copies of a game stepped together; `params` are its parameters, and threads, weights and preset."""
    from marl.vector import VectorGame

    return VectorGame(game(name), n_envs, **params)


def parallel_env(name: str, render_mode: str | None = None, **params: Any) -> ParallelGame:
    """One copy of a game as a PettingZoo ParallelEnv."""
    from marl.parallel import ParallelGame

    return ParallelGame(game(name), render_mode=render_mode, **params)
