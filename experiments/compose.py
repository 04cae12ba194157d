"""Overrides to a resolved configuration: composed by Hydra, typed by the schemas, refused in one line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import algorithms
from experiments import groups, refusals, run_data
from experiments.schema import DEFAULT_STEPS, EPISODES, EVALUATIONS, TrainConfig, check
from experiments.trust import chosen
from marl.convention import LONGEST
from marl.errors import UserError
from marl.game import Game
from marl.params import Params

CONF = Path(__file__).with_name("conf")
OPTIONAL = ("experiment", "profile")
GROUPS = ("env", "algorithm", "curriculum", "tracker", *OPTIONAL)
OF_SWEEPS = ("hydra/launcher", "hydra/sweeper", "hydra.launcher.", "hydra.sweeper.")
"""Hydra's own keys that are the user's to set: who runs a sweep, and how."""
EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE]\+?\d{1,2}")
FOREIGN = "pettingzoo"
"""Choice of `env` that is anybody's environment."""
SHORT = 1_000
"""Ticks below which no episode is cut where nothing is said."""
PLAIN = re.compile(r"[A-Za-z0-9_.+-]*[A-Za-z0-9_+-]")
"""A text in which nothing has a meaning of Hydra's."""
NAMED = ("env.name", "algorithm.name", "curriculum.name")


@dataclass(frozen=True)
class Setup:
    """A run before it starts: the resolved configuration and what it names. `game` and `params` are None for a foreign environment."""

    config: Mapping[str, Any]
    game: Game | None
    params: Params | None
    settings: Any


def compose(overrides: Sequence[str]) -> Setup:
    """The run that `key=value` overrides describe: what code it names, whoever composed it named. Raises UserError."""
    setup = resolve(composed(overrides))
    chosen(setup.config)
    return setup


def composed(overrides: Sequence[str], hydra: bool = False) -> Any:
    """The typed configuration as Hydra composes it, nulls and references still in it; with its own node if asked. Raises UserError."""
    from hydra import compose as hydra_compose

    with session():
        try:
            return hydra_compose("train", overrides=accepted(overrides), return_hydra_config=hydra)
        except Exception as error:
            raise refused(error) from error


def refused(error: Exception) -> Exception:
    """Hydra's and OmegaConf's refusals as UserError; any other error as it is."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return refusals.explain(error) if isinstance(error, HydraException | OmegaConfBaseException) else error


def session() -> Any:
    """A context in which Hydra composes from `conf/` and the registered schemas."""
    from hydra import initialize_config_dir

    groups.register()
    return initialize_config_dir(str(CONF), job_name="marl", version_base="1.3")


def accepted(overrides: Sequence[str], sweep: bool = False) -> list[str]:
    """The overrides, read: keys are declared and stay, so none is added (`+`) or deleted (`~`); below `env.kwargs` any key is good.

    Several values of a key (`seed=0,1`) are a sweep. An optional group that is null is left out, as it is by default. Raises UserError.
    """
    found = [_accepted(_whole(line), sweep) for line in overrides]
    return [line for line in found if line is not None]


def _whole(line: str) -> str:
    """The override with whole numbers that are written with an exponent (`total_steps=1e6`) spelled out; anything else as it is."""
    key, equals, text = line.partition("=")
    values = text.split(",")
    if key == "run_dir" or not all(EXPONENT.fullmatch(value.strip()) and float(value).is_integer() for value in values):
        return line
    return f"{key}{equals}{','.join(str(int(float(value))) for value in values)}"


def _accepted(line: str, sweep: bool) -> str | None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    line = _path_as_text(line)
    try:
        override = OverridesParser.create().parse_overrides([line])[0]
    except HydraException as error:
        raise refusals.grammar(line, error) from error
    key, value = override.key_or_group, override.value()
    if not key or override.package is not None:
        raise UserError(f"override {line!r}: expected is key=value")
    if key.startswith("hydra") and not key.startswith(OF_SWEEPS):
        raise UserError(f"{key} = {value!r}: of Hydra's own keys legal are {', '.join(OF_SWEEPS)}*; folders are named by run_dir")
    if key in NAMED:
        raise UserError(f"{key}: choose it with {key.removesuffix('.name')}={value}")
    if override.is_sweep_override():
        if not sweep:
            raise refusals.several(line, key)
        _check_values(line, override)
        return line
    if key in OPTIONAL and value is None:
        return None  # Hydra takes no null for a group
    if key in GROUPS and not isinstance(value, str):
        raise UserError(f"{key} = {value!r}: the name of a choice is expected")
    if key.startswith("env.kwargs.") or (key == "env.kwargs" and isinstance(value, dict)):
        return f"++{key}={override.get_value_element_as_str()}"
    if override.is_delete() or override.is_add() or override.is_force_add():
        raise UserError(f"override {line!r}: every key is declared, none is added or removed; expected is key=value")
    return line


def _path_as_text(line: str) -> str:
    """A folder that is called like a number or a truth value (`run_dir=true`, `run_dir=007`) is called so, letter by letter."""
    key, equals, text = line.partition("=")
    return f"{key}='{text}'" if key == "run_dir" and equals and PLAIN.fullmatch(text) else line


def in_folder(path: Path) -> str:
    """The override that gives a run this folder, whatever characters its name has."""
    escaped = str(path).replace("'", "\\'")
    return f"run_dir='{escaped}'"


def _check_values(line: str, override: Any) -> None:
    """Raise UserError where a sweep has no values: an empty range, or one that is none."""
    if not override.is_discrete_sweep():
        return  # an interval: a sweeper that searches draws from it
    try:
        values = list(override.sweep_string_iterator())
    except (TypeError, ValueError) as error:
        raise UserError(f"override {line!r}: {error}; a range is written range(0,5) or range(0,1,0.25)") from error
    if not values:
        raise UserError(f"override {line!r}: there is no value in it, a range is written range(0,5) or range(0,1,0.25)")


def resolve(config: Any) -> Setup:
    """Fill in what is null by declaration, resolve references, refuse what is out of range. `config` is a composed DictConfig."""
    from omegaconf import OmegaConf

    try:
        values: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except Exception as error:
        raise refused(error) from error
    check(TrainConfig, values)
    if not values["run_dir"].strip():
        raise UserError(f"run_dir = {values['run_dir']!r}: the path of a folder is expected")
    _fill_counts(values)
    game, params = _fill_env(values["env"], values["curriculum"]["name"])
    _check_opponents(values["opponents"], values["env"]["name"], [*({} if game is None else game.baselines), "random"])
    algorithms.check_team(values["algorithm"]["name"], values["reward"], values["sharing"])
    settings = groups.build_settings(values["algorithm"]["name"], values["algorithm"])
    return Setup(values, game, params, settings)


def _fill_counts(values: dict[str, Any]) -> None:
    """Length of the run, and how often to evaluate and to save, where the configuration leaves them open."""
    if values["total_steps"] is not None and values["total_episodes"] is not None:
        both = f"total_steps = {values['total_steps']} and total_episodes = {values['total_episodes']}"
        raise UserError(f"{both}: a run has one length, give one of them")
    if values["total_episodes"] is None and values["total_steps"] is None:
        values["total_steps"] = DEFAULT_STEPS
    total = values["total_steps"] if values["total_episodes"] is None else values["total_episodes"]
    often, asked = max(1, total // EVALUATIONS), values["evaluation"]
    if values["checkpoint"]["every"] is None:
        values["checkpoint"]["every"] = often if asked["every"] is None else asked["every"]
    if values["env"]["name"] == FOREIGN:
        _fill_longest(values)
        return  # evaluations wait until it is known how long episodes are: `experiments.foresight`
    asked["every"] = often if asked["every"] is None else asked["every"]
    asked["episodes"] = EPISODES if asked["episodes"] is None else asked["episodes"]


def _fill_longest(values: dict[str, Any]) -> None:
    """Ticks after which an episode of a foreign environment is cut: an episode much longer than the run would not be learned from."""
    if values["env"]["longest"] is None:
        ticks = LONGEST if values["total_steps"] is None else values["total_steps"] // values["n_envs"]
        values["env"]["longest"] = min(LONGEST, max(SHORT, ticks))


def _fill_env(env: dict[str, Any], curriculum: str | None) -> tuple[Game | None, Params | None]:
    """The game and its parameters: given, else the preset's, else declared; and the weights of its reward components.

    A file of data that they do not read is refused, unless a stage of the curriculum reads it.
    """
    import envs

    if env["name"] == FOREIGN:
        check(groups.ForeignEnv, env, "env.")
        return None, None
    game = envs.game(env["name"])
    given = {key: value for key, value in env.items() if key not in groups.OWN and value is not None}
    params = game.params_of(env["preset"], given)
    if not curriculum or not run_data.read_by_a_stage(params, curriculum):
        params.check_read()
    game = game.at(params)
    env.update(asdict(params))  # type: ignore[call-overload]
    _fill_weights(game, params, env)
    return game, params


def _fill_weights(game: Game, params: Params, env: dict[str, Any]) -> None:
    """Weights of the reward's components where none is given; one of another variant of the game is refused."""
    weights = game.default_weights(params)
    for name, given in env["weights"].items():
        if given is not None and name not in weights:
            raise UserError(f"env.weights.{name} = {given!r}: this setting of {game.name} has the components {', '.join(weights)}")
    env["weights"] = {name: weights[name] if env["weights"][name] is None else env["weights"][name] for name in weights}


def _check_opponents(name: str | None, env: str, names: Sequence[str]) -> None:
    if name is not None and name not in names:
        raise refusals.unknown(f"opponents = {name!r}: no such baseline of {env}", name, names)
