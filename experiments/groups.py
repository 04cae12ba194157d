"""Config groups made from what is registered: a game's parameters, an algorithm's settings, trackers.

A key of `env` is null where the preset's value, or else the declared default, is meant; `experiments.compose` fills it in.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any, Optional, get_type_hints

from algorithms import ALGORITHMS, settings_of
from curricula import CURRICULA
from envs import GAMES
from experiments.schema import COUNT, Tracker, TrainConfig, maybe
from marl.errors import UserError
from marl.game import Game
from marl.params import Limits, param, text

OWN = ("name", "preset", "weights")
"""Keys of `env` that are not parameters of the game."""
TRACKERS: dict[str, tuple[str, ...]] = {
    "none": (), "wandb": ("wandb",), "tensorboard": ("tensorboard",), "both": ("wandb", "tensorboard"),
}  # fmt: skip
"""Choice of `tracker` -> who gets the rows."""


@dataclass
class ForeignEnv:
    """Any PettingZoo ParallelEnv, made by calling `factory`."""

    name: str = "pettingzoo"
    factory: str = text("???", "module:function that returns a ParallelEnv")
    kwargs: dict[str, Any] = field(default_factory=dict, metadata={"limits": Limits(help="of the factory")})
    on_error: str | None = field(
        default=None, metadata={"limits": Limits(options=("raise", "restart"), help="null: restart where reset and step are async")}
    )
    timeout: float = param(60.0, 1e-3, 1e6, "s", "of one async step")
    retries: int = param(2, 0, 1000, "tries", "of a failed async reset or step")
    longest: int | None = maybe(
        1, COUNT, "ticks", "after which an episode that goes on is cut; null: 10000, or those of the run a copy, but 1000 at least"
    )


@dataclass
class Stages:
    """A curriculum by name; null: the game stays as it is."""

    name: str | None = None


def game_schema(game: Game) -> type:
    """Schema of `env` for a game: its parameters, each of which may be null, and name, preset and weights."""
    hints = get_type_hints(game.params)
    taken = [f.name for f in fields(game.params) if f.name in OWN]  # type: ignore[arg-type]
    if taken:
        raise UserError(f"{game.params.__name__}.{taken[0]}: the name is taken, a game's parameters may not be called {', '.join(OWN)}")
    weights = make_dataclass(f"{game.name}_weights", [(name, Optional[float], field(default=None)) for name in game.components()])  # noqa: UP045
    own = [("name", str, field(default=game.name)), ("preset", Optional[str], field(default=None))]  # noqa: UP045
    parameters = [
        (f.name, Optional[hints[f.name]], field(default=None, metadata=f.metadata))  # noqa: UP045
        for f in fields(game.params)  # type: ignore[arg-type]
    ]
    return make_dataclass(f"{game.name}_env", [*own, ("weights", weights, field(default_factory=weights)), *parameters])


def settings_schema(name: str, settings: type) -> type:
    """Schema of `algorithm`: the settings, and the name."""
    hints = get_type_hints(settings)
    copied = [
        (f.name, hints[f.name], field(default=f.default, default_factory=f.default_factory, metadata=f.metadata)) for f in fields(settings)
    ]
    return make_dataclass(f"{name}_algorithm", [("name", str, field(default=name)), *copied])


_stored: list[Any] = []
"""What is in Hydra's store: making the schemas again takes longer than composing a configuration."""


def register() -> None:
    """Put every schema into Hydra's store. Called again after modules have registered games and algorithms."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("drawn", lambda: secrets.token_hex(2), replace=True, use_cache=True)
    now = [(name, id(game)) for name, game in GAMES.items()] + [*ALGORITHMS.items(), *CURRICULA.items(), *TRACKERS.items()]
    if now == _stored:
        return
    _stored[:] = now
    store = ConfigStore.instance()
    store.store(name="schema", node=TrainConfig)
    for game in GAMES.values():
        store.store(group="env", name=game.name, node=game_schema(game))
    store.store(group="env", name="pettingzoo", node=ForeignEnv)
    for name in ALGORITHMS:
        store.store(group="algorithm", name=name, node=settings_schema(name, settings_of(name)))
    store.store(group="curriculum", name="none", node=Stages())
    for name in CURRICULA:
        store.store(group="curriculum", name=name, node=Stages(name))
    for name, kinds in TRACKERS.items():
        store.store(group="tracker", name=name, node=Tracker(kinds=list(kinds)))


def build_settings(name: str, values: dict[str, Any]) -> Any:
    """An algorithm's settings from the values of `algorithm`. Raises UserError for a value out of range."""
    settings = settings_of(name)(**{key: value for key, value in values.items() if key != "name"})
    settings.check()
    return settings
