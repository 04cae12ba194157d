"""`marl list`."""

from __future__ import annotations

import algorithms
import envs
from curricula import CURRICULA
from experiments.groups import TRACKERS
from tests.experiments.conftest import Marl


def test_everything_that_can_be_chosen(marl: Marl) -> None:
    said = marl("list")
    first = {line.split()[0] for line in said.out.splitlines() if line}
    assert {*envs.GAMES, "pettingzoo", *algorithms.ALGORITHMS, *CURRICULA, *TRACKERS, "n_envs", "evaluation.every"} <= first


def test_a_game_with_its_columns(marl: Marl) -> None:
    said = marl("list", "env=harvest", "env.n_agents=3").out
    assert "role harvester: 3 agents, 2 observation and 1 action columns" in said
    assert "share of an equal split" in said
    (row,) = [line.split() for line in said.splitlines() if line.startswith("env.n_agents")]
    assert row[1:3] == ["3", "4"]
    assert "[1, 128] agents" in " ".join(row)


def test_a_preset_resolves_its_columns(marl: Marl) -> None:
    one, many = (marl("list", "env=auction", f"env.preset={p}").out for p in ("asymmetric", "first_price_two"))
    assert "observation  value " in one
    assert "observation  value " not in many
    assert "known answers: multiplier 0.5" in many
    assert "[0, 1.5], explored by 0.15 to 0.01 of half of it" in many


def test_an_algorithm_with_its_settings(marl: Marl) -> None:
    said = marl("list", "algorithm=isac").out
    assert "algorithm.tau" in said
    assert "a number in [0, 1]" in said


def test_columns_of_a_foreign_environment(marl: Marl) -> None:
    assert "known when the environment is made" in marl("list", "env=pettingzoo", "env.factory=a:b").refusal
