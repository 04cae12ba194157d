"""The games in PettingZoo's own registry (from 1.27 on): `pettingzoo.make("parallel", "market_marl/auction-v0", preset="first_price_two")`.

Importing this module registers them; `import envs` does where PettingZoo is loaded already. Games that are registered later are
entered by `register()`.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import envs
from marl.errors import UserError

if TYPE_CHECKING:
    from marl.parallel import ParallelGame

NAMESPACE = "market_marl"
"""What stands before the games' names in PettingZoo's registry."""


def names() -> dict[str, str]:
    """Game -> its name in PettingZoo's registry."""
    return {name: f"{NAMESPACE}/{name}-v{game.version}" for name, game in envs.GAMES.items()}


def register() -> list[str]:
    """Enter the games that are not there yet, as parallel and as turn-based environments; returns the names of all. Raises UserError."""
    try:
        own: Any = importlib.import_module("pettingzoo.env_registry.registration")
    except ImportError as error:
        raise UserError(f"PettingZoo's registry: 1.27 has one, and here is {_version()}; envs.parallel_env serves all") from error
    for name, known in names().items():
        for kind, registry, function in (("parallel", own.parallel_registry, "parallel_env"), ("aec", own.aec_registry, "env")):
            if known not in registry:
                own.register(kind, known, entry_point=f"{__name__}:{function}", kwargs={"name": name})
    return list(names().values())


def _version() -> str:
    found: Any = importlib.import_module("pettingzoo")
    return f"{found.__version__}"


def parallel_env(name: str, max_cycles: int | None = None, **params: Any) -> ParallelGame:
    """`envs.parallel_env`; `max_cycles` is the parameter `horizon` of a game that has one. Raises UserError."""
    given = params if max_cycles is None else {**params, "horizon": max_cycles}
    return envs.parallel_env(name, **given)


def env(name: str, max_cycles: int | None = None, **params: Any) -> Any:
    """The same with its agents taking turns, as PettingZoo converts it."""
    conversions: Any = importlib.import_module("pettingzoo.utils.conversions")
    return conversions.parallel_to_aec(parallel_env(name, max_cycles, **params))


if importlib.util.find_spec("pettingzoo.env_registry") is not None:
    register()
