"""Games by name. `GAMES` is the registry: adding a game is a folder here and one line in it."""

from __future__ import annotations

import copyreg
import sys
from dataclasses import replace
from importlib import import_module
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
    from marl.lanes import LaneEnv
    from marl.parallel import ParallelGame
    from marl.vector import VectorGame

SHIPPED = (AUCTION, AUCTION_LOG, *RESOURCE_ALLOCATION, *SUPPLY_CHAINS, *TRADING, *CLASSIC)


class Registry(dict[str, Game]):
    """Games by name. A game is known by the key that it was registered under, whatever it calls itself."""

    def __setitem__(self, name: str, game: Game) -> None:
        """Register a game. Raises UserError for the name of a game that is shipped: runs and rows mean that one by it."""
        if not isinstance(game, Game):
            raise UserError(f"GAMES[{name!r}] = {game!r}: a marl.Game is expected")
        if name in {shipped.name for shipped in SHIPPED} and game not in SHIPPED:
            raise UserError(f"GAMES[{name!r}]: a game of that name is shipped, register yours under another")
        super().__setitem__(name, game if game.name == name else replace(game, name=name))


GAMES: dict[str, Game] = Registry({game.name: game for game in SHIPPED})


def _reduced(game: Game) -> Any:
    """A game pickles as where it is found again: by its name in the registry, or as a module's own. Its baselines may be lambdas.

    One that is found nowhere, or in a script or notebook alone, pickles as what it is made of, where that can be.
    """
    for name, known in GAMES.items():
        if known is game and known in SHIPPED:
            return _found, (name, "")
        for variant, other in known.variants.items():
            if other is game and known in SHIPPED:
                return _found, (name, variant)
    for rule in (game.params, game.begin, game.state):
        module = sys.modules.get(rule.__module__)
        for attribute, value in vars(module).items() if module is not None and module.__name__ != "__main__" else ():
            if isinstance(value, Game) and value in (game, replace(game, name=value.name)):
                return _taken, (rule.__module__, attribute, game.name)
    return game.__reduce_ex__(2)


def _found(name: str, variant: str) -> Game:
    known = game(name)
    return known.variants[variant] if variant else known


def _taken(module: str, attribute: str, name: str) -> Game:
    known: Game = getattr(import_module(module), attribute)
    return known if known.name == name else GAMES.get(name, replace(known, name=name))


copyreg.pickle(Game, _reduced)


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


def vector_env(name: str, n_envs: int = 1, agent: str | None = None, others: str | None = None, **params: Any) -> LaneEnv:
    """Lanes of `n_envs` copies of a game as a Gymnasium VectorEnv, for learners of one agent; see `marl.lanes`."""
    from marl.lanes import LaneEnv

    return LaneEnv(game(name), n_envs, agent, others, **params)


if "pettingzoo.env_registry" in sys.modules:  # loaded before us: its registry holds our games from here on
    import_module("envs.zoo")
