"""Overrides to a resolved configuration: precedence, what is filled in, and back from a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import algorithms
import envs
from curricula import CURRICULA
from experiments import run_folder
from experiments.compose import CONF, accepted, compose
from experiments.stored import stored
from experiments.training import override_lines
from marl.errors import UserError
from tests.experiments.conftest import TINY, Marl

GAMES = dict(envs.GAMES)
PRESETS = [(game.name, preset) for game in envs.GAMES.values() for preset in game.presets]


def test_defaults_are_the_declared_ones() -> None:
    config = compose(["env=harvest"]).config
    assert config["env"] == {
        "name": "harvest", "preset": None, "weights": {"harvest": 1.0, "waste": 0.0},
        "n_agents": 4, "horizon": 100, "capacity": 100.0, "growth": 0.25, "noise": 0.1,
    }  # fmt: skip
    assert config["algorithm"]["name"] == "ippo"
    assert config["seed"] == 0
    assert config["total_steps"] == 1_000_000
    assert config["evaluation"]["every"] == config["checkpoint"]["every"] == 50_000
    assert config["run_dir"].startswith("runs/")
    assert config["run_dir"].endswith("-harvest-ippo-s0")


def test_an_optional_group_may_be_null() -> None:
    assert compose(["env=harvest", "experiment=null", "profile=null", "seed=3"]).config["seed"] == 3


def test_given_beats_preset_beats_declared() -> None:
    config = compose(["env=auction", "env.preset=first_price_five", "env.auctions_per_tick=1_000"]).config["env"]
    assert (config["n_agents"], config["format"], config["auctions_per_tick"], config["reserve"]) == (5, "first", 1000, 0.0)


@pytest.mark.parametrize(("env", "preset"), PRESETS)
def test_every_preset_of_parameters_resolves(env: str, preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(envs.GAMES, env, GAMES[env])  # not a toy of that name
    setup = compose([f"env={env}", f"env.preset={preset}"])
    asked = GAMES[env].presets[preset]
    assert {key: setup.config["env"][key] for key in asked} == asked


@pytest.mark.parametrize("experiment", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_preset_of_choices_resolves(experiment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, game in GAMES.items():
        monkeypatch.setitem(envs.GAMES, name, game)
    assert compose([f"experiment={experiment}"]).config["env"]["name"] in [*envs.GAMES, "pettingzoo"]


@pytest.mark.parametrize("algorithm", algorithms.ALGORITHMS)
def test_every_algorithm_has_a_schema(algorithm: str) -> None:
    setup = compose(["env=harvest", f"algorithm={algorithm}", "algorithm.gamma=0.5", "reward=team_sum"])
    assert type(setup.settings) is algorithms.settings_of(algorithm)
    assert setup.settings.gamma == setup.config["algorithm"]["gamma"] == 0.5


@pytest.mark.parametrize("curriculum", CURRICULA)
def test_every_curriculum_can_be_chosen(curriculum: str) -> None:
    assert compose(["env=auction", f"curriculum={curriculum}"]).config["curriculum"] == {"name": curriculum}


def test_episodes_are_the_unit_where_given() -> None:
    config = compose(["env=harvest", "total_episodes=200"]).config
    assert (config["total_steps"], config["evaluation"]["every"]) == (None, 10)


def test_profile_and_explicit_value() -> None:
    assert compose(["env=harvest", "profile=development"]).config["n_envs"] == 8
    assert compose(["env=harvest", "profile=development", "n_envs=3"]).config["n_envs"] == 3


def test_keys_of_a_foreign_environment_are_free() -> None:
    one = compose(["env=pettingzoo", "env.factory=a:b", "env.kwargs.N=3", "env.kwargs.deep.er=x"]).config["env"]["kwargs"]
    assert one == {"N": 3, "deep": {"er": "x"}}
    assert compose(["env=pettingzoo", "env.factory=a:b", "env.kwargs={N:3}"]).config["env"]["kwargs"] == {"N": 3}
    with pytest.raises(UserError, match="timeout = -1"):
        compose(["env=pettingzoo", "env.factory=a:b", "env.timeout=-1"])


def test_a_sweep_keeps_its_values() -> None:
    assert accepted(["seed=0,1", "env.kwargs.N=2"], sweep=True) == ["seed=0,1", "++env.kwargs.N=2"]


def test_values_from_python_survive_the_grammar() -> None:
    values: dict[str, Any] = {
        "env.capacity": 1e-3, "run_dir": "it's a {folder}, [so] = to=say\\", "evaluation": {"every": 7, "episodes": 3},
        "algorithm.hidden": [3, 4], "opponents": None, "algorithm.anneal": False, "tracker.tags": ["a b", "c,d"],
    }  # fmt: skip
    config = compose(["env=harvest", *override_lines(values)]).config
    assert config["env"]["capacity"] == 1e-3
    assert config["run_dir"] == values["run_dir"]
    assert config["evaluation"] == {**values["evaluation"], "sample": False, "best_response": None}
    assert (config["algorithm"]["hidden"], config["algorithm"]["anneal"]) == ([3, 4], False)
    assert (config["opponents"], config["tracker"]["tags"]) == (None, ["a b", "c,d"])


@pytest.mark.parametrize(
    "overrides",
    [
        ["env=auction", "env.preset=pacing_four", "algorithm=isac", "algorithm.hidden=[7]", "seed=3"],
        ["env=pettingzoo", "env.factory=a:b", "env.kwargs.N=3", "total_episodes=9"],
        ["env=harvest", "curriculum=none", "tracker=both", "opponents=random", "profile=development"],
    ],
)
def test_a_configuration_comes_back_from_its_folder(overrides: list[str], tmp_path: Path) -> None:
    setup = compose(overrides)
    folder = run_folder.create(tmp_path / "run", setup.config)
    assert stored(folder) == setup
    assert stored(folder, {"early_stopping": {"patience": 5}}).config["early_stopping"]["patience"] == 5
    with pytest.raises(UserError, match="no such key"):
        stored(folder, {"nope": 1})


def test_printed_configuration(marl: Marl) -> None:
    said = marl("train", *TINY, "--cfg", "job")
    assert said.code == 0
    assert "  n_agents: 2\n" in said.out
    assert "hydra" not in said.out
    assert "output_subdir: null" in marl("train", "env=harvest", "--cfg", "hydra").out


def test_module_brings_a_game(marl: Marl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(envs.GAMES, "harvest")
    assert "env = 'harvest'" in marl("train", "env=harvest", "--cfg", "job").refusal
    monkeypatch.delitem(__import__("sys").modules, "tests.toys", raising=False)
    said = marl("train", "--module", "tests.toys", "env=harvest", "--cfg", "job")
    assert "modules:\n- tests.toys\n" in said.out


PIPELINE = {
    "algorithm": {"name": "ippo", "hidden": [256, 256], "lr": 3e-4, "rollout": 128, "epochs": 4, "minibatches": 16, "clip": 0.2,
                  "entropy": 0.01, "value": 0.5},
    "evaluation": {"every": 500},
    "checkpoint": {"every": 2_000},
    "early_stopping": {"patience": 2_000},
}  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "env", "curriculum"), [([], "auction", "auction_formats"), (["env=harvest", "curriculum=none"], "harvest", None)]
)
def test_the_pipeline_is_what_its_documents_say(lines: list[str], env: str, curriculum: str | None) -> None:
    """256 rows a minibatch with the two bidders of the curriculum's stages."""
    config = compose(["experiment=pipeline", *lines]).config
    assert {k: {n: config[k][n] for n in values} for k, values in PIPELINE.items()} == PIPELINE
    assert (config["total_steps"], config["total_episodes"], config["n_envs"]) == (None, 10_000, 16)
    assert (config["env"]["name"], config["curriculum"]["name"]) == (env, curriculum)
    assert 2 * config["n_envs"] * config["algorithm"]["rollout"] / config["algorithm"]["minibatches"] == 256
