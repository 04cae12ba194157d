"""`marl list`: what there is to choose from; of one game or algorithm, every key with its range, and the resolved columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_type_hints

import algorithms
import curricula
import envs
from experiments.cli import load_modules, parser
from experiments.compose import composed, resolve
from experiments.groups import TRACKERS
from experiments.schema import TrainConfig, default_of, legal, limits_of
from experiments.tables import table
from marl.errors import UserError
from marl.game import Column, Component, Discrete, Game


def overview() -> str:
    """Games, algorithms, curricula, trackers and the run's own keys."""
    games = []
    for name, game in envs.GAMES.items():
        roles = game.roles(game.make_params())
        shape = ", ".join(f"{r.count} {r.name} ({len(r.observation)} obs, {len(r.action)} act)" for r in roles)
        games.append([name, shape, ", ".join(game.presets) or "-"])
    learners = [[name, ", ".join(_documented(name))] for name in algorithms.ALGORITHMS]
    return "\n\n".join(
        [
            table(["env", "roles by default", "presets"], [*games, ["pettingzoo", "any ParallelEnv: env.factory=module:function", "-"]]),
            table(["algorithm", "settings"], learners),
            table(["curriculum", "stages"], [["none", "the game stays as it is"], *([n, _stages(n)] for n in curricula.CURRICULA)]),
            table(["tracker", "rows go to metrics.jsonl and to"], [[n, ", ".join(kinds) or "nobody"] for n, kinds in TRACKERS.items()]),
            keys(TrainConfig, ""),
            "more: marl list env=NAME [env.preset=...], marl list algorithm=NAME",
        ]
    )


def _documented(name: str) -> list[str]:
    return [f.name for f in fields(algorithms.settings_of(name))]


def _stages(name: str) -> str:
    return " -> ".join(stage.name for stage in curricula.load(name).stages)


def keys(node: type, prefix: str) -> str:
    """A table of a dataclass's keys: default, what is legal, what it is for."""
    return table(["key", "default", "legal", ""], _key_rows(node, prefix))


def _key_rows(node: type, prefix: str) -> list[list[str]]:
    hints, rows = get_type_hints(node), []
    for f in fields(node):
        if hasattr(hints[f.name], "__dataclass_fields__"):
            rows += _key_rows(hints[f.name], f"{prefix}{f.name}.")
        elif hints[f.name] is not Any:
            limits, default = limits_of(f), default_of(f)
            rows.append([f"{prefix}{f.name}", "null" if default is None else str(default), legal(hints[f.name], limits), limits.help])
    return rows


def of_game(game: Game, params: Any) -> str:
    """A game with these parameters: roles and columns as they come out, metrics, baselines, parameters."""
    text = [f"{game.name}, version {game.version}" + (f" ({game.citation})" if game.citation else "")]
    for role in game.roles(params):
        rows = [["observation", name, *_range(column)] for name, column in role.observation.items()]
        rows += [["action", name, *_range(column)] for name, column in role.action.items()]
        head = f"role {role.name}: {role.count} agents, {len(role.observation)} observation and {len(role.action)} action columns"
        text.append(f"{head}\n{table(['', 'column', 'range', 'unit'], rows)}")
    rows = [["reward", name, f"weight {c.weight:g}", c.unit] for name, c in game.reward.items() if isinstance(c, Component)]
    rows += [[kind, n, *_range(c)] for kind, columns in (("cost", game.cost), ("metric", game.metrics)) for n, c in columns.items()]
    text.append(table(["", "name", "range", "unit"], rows))
    reference = game.reference(params) if game.reference is not None else "none"
    text.append(f"baselines: {', '.join([*game.baselines, 'random'])}; score 0: {game.naive}, score 1: {reference}")
    if game.known is not None:
        known = game.known(params)
        text.append("known answers: " + (", ".join(f"{name} {value:.6g}" for name, value in known.items()) or "none in this setting"))
    if game.presets:
        text.append("presets: " + ", ".join(game.presets))
    declared = [[r[0], str(getattr(params, r[0].removeprefix("env."))), *r[1:]] for r in _key_rows(type(params), "env.")]
    text.append(table(["key", "value", "default", "legal", ""], declared))
    return "\n\n".join(text)


def _range(column: Column | Discrete) -> list[str]:
    if isinstance(column, Discrete):
        return [f"one of {', '.join(column.labels) or column.k}", ""]
    explored = ""
    if column.explore is not None:
        falls = "" if column.explore_last is None else f" to {column.explore_last:g}"
        explored = f", explored by {column.explore:g}{falls} of half of it"
    return [f"[{column.low:g}, {column.high:g}]" + (", log" if column.scale == "log" else "") + explored, column.unit]


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    options = parser("list")
    options.add_argument("overrides", nargs="*", metavar="key=value", help="env=NAME env.preset=..., or algorithm=NAME")
    given = options.parse_intermixed_args(list(arguments))
    load_modules(given.module)
    print(chosen(given.overrides) if given.overrides else overview())
    return 0


def chosen(overrides: Sequence[str]) -> str:
    """What the overrides choose, in detail. Raises UserError."""
    groups = [line.partition("=")[0].partition(".")[0] for line in overrides]
    if not set(groups) <= {"env", "algorithm"}:
        meant = [
            f"{key}={w}" for w in overrides for key, names in (("env", envs.GAMES), ("algorithm", algorithms.ALGORITHMS)) if w in names
        ]
        if meant:
            raise UserError(f"marl list {' '.join(overrides)}: write marl list {' '.join(meant)}")
        raise UserError(f"marl list {' '.join(overrides)}: legal are env=NAME, env.*, algorithm=NAME")
    setup = resolve(composed(overrides))
    text = []
    if "env" in groups:
        if setup.game is None:
            raise UserError(f"env = {setup.config['env']['name']!r}: its columns are known when the environment is made, not before")
        text.append(of_game(setup.game, setup.params))
    if "algorithm" in groups:
        name = setup.config["algorithm"]["name"]
        text.append(f"{name}\n{keys(algorithms.settings_of(name), 'algorithm.')}")
    return "\n\n".join(text)
