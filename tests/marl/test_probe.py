"""Columns of actions lie where they can be learned, and no constant beats a reference: of toys by hand, and of every game."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import envs
from envs import GAMES
from marl.game import Column
from marl.probe import Scan, scan, spread
from marl.vector import VectorGame
from tests.experiments.conftest import Marl, marl  # noqa: F401

SETTINGS: dict[str, dict[str, Any]] = {"auction market": {"preset": "train", "auctions_per_tick": 64, "horizon": 24}}
"""Further settings of games, beside their defaults."""
QUICK = ("auction", "commons", "sharing", "kyle", "liquidation", "quoting")


def continuous() -> list[Any]:
    """Every game with a reference and a continuous column, at its defaults, and the further settings."""
    found = []
    for key, given in [*((name, {}) for name in GAMES), *SETTINGS.items()]:
        game = GAMES[key.split()[0]]
        params = game.make_params(**given)
        at = game.at(params)
        if at.reference is not None and any(isinstance(c, Column) for role in at.roles(params) for c in role.action.values()):
            found.append(pytest.param(game.name, given, id=key, marks=() if key in QUICK else pytest.mark.slow))
    return found


@pytest.mark.parametrize(("name", "given"), continuous())
def test_columns_of_a_game_can_be_learned(name: str, given: dict[str, Any]) -> None:
    """But for those of which the game says why not."""
    make = partial(VectorGame, GAMES[name], **given)
    meant = make(1).game.unscaled
    wrong = {f"{s.role}.{s.name}": s.faults() for s in scan(make) if s.faults() and f"{s.role}.{s.name}" not in meant}
    assert wrong == {}


def test_what_a_game_declares_is_a_column_with_a_reason() -> None:
    for game in GAMES.values():
        at = game.at(game.make_params())
        known = {f"{role.name}.{column}" for role in at.roles(game.make_params()) for column in role.action}
        for column, reason in at.unscaled.items():
            assert column.split(".")[0] in {name.split(".")[0] for name in known} and len(reason.split()) >= 4


def made(means: Any, reference: float, naive: float = 0.0, spread_of: float = 0.01) -> Scan:
    """A scan whose returns have these means [V]; 64 episodes with the same luck."""
    luck = np.random.default_rng(0).normal(0.0, spread_of, 64)
    values = np.linspace(0.0, 1.0, len(means))
    own = np.random.default_rng(1).normal(0.0, spread_of, (len(means), 64))
    return Scan("user", "x", Column(0, 1), values, np.asarray(means)[:, None] + luck + own, reference + luck, naive + luck)


def test_a_hill_is_fine() -> None:
    assert made(1.0 - (np.linspace(0, 1, 21) - 0.4) ** 2 * 6, 1.0).faults() == []


def test_a_needle_a_plateau_and_no_reference_are_named() -> None:
    at = np.linspace(0, 1, 21)
    (needle,) = made(np.where(np.abs(at - 0.5) < 0.01, 1.0, -50 * np.abs(at - 0.5)), 1.0).faults()
    assert needle.startswith("a needle: ")
    (plateau,) = made(np.where(at < 0.2, -at, 1.0), 1.0).faults()
    assert plateau.startswith("a plateau: 80% of the range is flat")
    (beaten,) = made(2.0 - (at - 0.5) ** 2 * 20, 1.0).faults()
    assert beaten.startswith("no reference: the constant 0.") and beaten.endswith(" earns more")


def test_values_are_even_on_the_columns_scale() -> None:
    assert spread(Column(0.0, 2.0), 3).tolist() == [0.0, 1.0, 2.0]
    assert spread(Column(0.01, 1.0, scale="log"), 3) == pytest.approx([0.01, 0.1, 1.0])


def test_the_closed_form_along_a_column() -> None:
    """Second price against truth: a multiplier a earns (a - a^2/2)/3 up to 1 in the mean, and truth is best."""
    game = partial(envs.make, "auction", preset="second_price_two", horizon=4, auctions_per_tick=256)
    (found,) = scan(game, 64, 5)
    assert found.values[:4].tolist() == [0.0, 0.375, 0.75, 1.125]
    closed = (found.values[:3] - found.values[:3] ** 2 / 2) / 3 / (1 / 6)
    assert found.means[:3] / found.reference.mean() == pytest.approx(closed, abs=0.05)
    assert found.beaten is None


def test_the_command(marl: Marl, tmp_path: Any) -> None:  # noqa: F811
    said = marl("probe", "env=quoting", "--episodes", "8", "-o", str(tmp_path / "page.png"))
    assert said.code == 0 and "maker" in said.out and (tmp_path / "page.png").exists()
    assert "legal endings" in marl("probe", "env=quoting", "-o", "page.txt").refusal
    assert "rock_paper_scissors has no reference in this setting" in marl("probe", "env=rock_paper_scissors").refusal
