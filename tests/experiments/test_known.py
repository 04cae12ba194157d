"""Known answers in a summary: whose they are, how far a run is from them, and which experiment is made to find them.

Slow: a default run of every setting with a known answer comes near it, or says how far it is and which experiment gets there.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from experiments import known, tables
from experiments.cli import main
from experiments.compose import compose
from experiments.known import NEAR, Distance

SETTINGS = [(name, preset) for name, game in envs.GAMES.items() if game.known is not None for preset in (None, *game.presets)]


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No toy game stands in for a shipped one; W&B stays offline whatever the machine has."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)


WITHOUT = {
    "climbing": "two who learn for themselves settle below the optimum, at 175 of 275 where published",
    "penalty": "the same where a miss costs, at 50 of 250",
    "kyle four_auctions": "profit is flat around the optimum: within 1 % of it, where the first order's intensity is half as large again",
}
"""Games, or settings of games, that defaults do not reach and that have no experiment which is made to find them, and why."""


class Played:
    """An evaluation of two episodes in which every learner's metrics and return are the same."""

    def __init__(self, agents: int, learners: int, **metrics: float) -> None:
        self.learners = np.arange(agents) < learners
        self.metric_names = list(metrics)
        self.metrics = np.broadcast_to(np.array(list(metrics.values())), (2, agents, len(metrics)))
        self.by_episode = np.full(2, -1.0)

    def metric(self, name: str) -> Any:
        return self.metrics[:, self.learners, self.metric_names.index(name)]


COMMONS = ["env=commons", "env.preset=steady_two"]
FIRST = ["env=auction", "env.preset=first_price_two"]


def test_users_who_learn_for_themselves_are_measured_by_the_equilibrium_and_a_team_by_the_optimum() -> None:
    """Two users: effort 2/3 of an equal split of open access and rent 28.44 each at Nash, 1/2 and 32 where they share."""
    played = Played(2, 2, effort=0.51, rent=32.0)
    own = known.distances(compose([*COMMONS]), played)  # type: ignore[arg-type]
    assert own["effort"] == Distance(0.51, 0.0, pytest.approx(2 / 3), True, "equilibrium")  # type: ignore[arg-type]
    assert own["rent"].known == pytest.approx(28.444, abs=1e-3) and own["rent"].far
    shared = known.distances(compose([*COMMONS, "reward=team_mean"]), played)  # type: ignore[arg-type]
    assert {name: (found.known, found.far, found.kind) for name, found in shared.items()} == {
        "effort": (0.5, False, "optimum"),
        "rent": (pytest.approx(32.0), False, "optimum"),
    }


def test_bidders_who_share_their_reward_are_measured_by_no_equilibrium() -> None:
    assert known.distances(compose([*FIRST, "reward=team_sum"]), Played(2, 2, multiplier=0.0)) == {}  # type: ignore[arg-type]


def test_a_learner_among_those_who_follow_a_baseline_is_not_said_to_have_missed_the_equilibrium() -> None:
    """The equilibrium is that of all; beside rivals who bid otherwise something else may be best."""
    found = known.distances(compose([*FIRST, "opponents=shaded"]), Played(2, 1, multiplier=0.25))["multiplier"]  # type: ignore[arg-type]
    assert (found.kind, found.far) == ("elsewhere", False)


def test_a_lone_agent_has_an_optimum() -> None:
    found = known.distances(compose(["env=liquidation"]), Played(1, 1, cost=1.0))  # type: ignore[arg-type]
    assert {distance.kind for distance in found.values()} == {"optimum"} and set(found) == {"cost", "return"}


def test_what_is_known_to_be_nothing_is_missed_by_more_than_a_rounding() -> None:
    for payoff, far in ((1e-9, False), (1e-3, True)):
        assert known.distances(compose(["env=rock_paper_scissors"]), Played(2, 2, payoff=payoff))["payoff"].far is far  # type: ignore[arg-type]


def test_what_a_few_noisy_episodes_cannot_tell_is_not_said_to_be_missed() -> None:
    """Costs of 1 and 3: their mean is 2, and by Student's t of one degree of freedom its 95 % interval is 12.706 to either side."""
    played = Played(1, 1, cost=2.0)
    played.metrics = played.metrics + np.array([-1.0, 1.0])[:, None, None]
    found = known.distances(compose(["env=liquidation"]), played)["cost"]  # type: ignore[arg-type]
    assert found.learned == pytest.approx(2.0) and found.error == pytest.approx(12.706, abs=1e-3) and not found.far


@pytest.mark.parametrize(("game", "preset"), SETTINGS)
def test_what_is_known_of_every_setting_is_written_as_a_report_has_it(game: str, preset: str | None) -> None:
    """Whatever numbers a game's closed forms give, NumPy's too."""
    setup = compose([f"env={game}", *([f"env.preset={preset}"] if preset else [])])
    names = known.answers(setup)[0]
    played = Played(1, 1, **dict.fromkeys(names, 0.25))
    json.dumps({name: asdict(distance) for name, distance in known.distances(setup, played).items()})  # type: ignore[arg-type]


def test_a_recipe_of_another_size_is_words_that_compose_to_the_run() -> None:
    """Texts of several words are quoted for the shell and for the configuration."""
    setup = compose(
        ["env=auction", "env.preset=fppe", "env.mode=uniform_ipv", "env.horizon=1", "env.auctions_per_tick=256", "env.budgets=''"]
    )
    words = known.recipe(setup)
    assert words is not None and "env.values=\"'2 1'\"" in words
    assert compose(shlex.split(words)).params == setup.params


@pytest.mark.parametrize("experiment", ["commons", "bids_for_shares", "misreport", "newsvendor", "first_price", "avellaneda_stoikov"])
def test_an_experiment_is_its_own_recipe_among_those_built_on_it_for_other_games(experiment: str) -> None:
    """Bids for shares are built on the commons' experiment, and are another game with other parameters."""
    assert known.recipe(compose([f"experiment={experiment}"])) == f"experiment={experiment}"


def test_a_summary_says_so_where_no_experiment_is_made_to_find_an_answer() -> None:
    far = {"learned": 0.5, "error": 0.01, "known": 0.75, "far": True, "kind": "equilibrium"}
    told = tables.answers({"known": {"multiplier": far}, "recipe": None})
    assert told == [
        "known answer (equilibrium): multiplier 0.75, learned 0.5 +- 0.01, off by 0.25 (33%): not reached",
        "no experiment here is made to find it",
    ]


def test_a_short_default_run_says_how_far_it_is_and_which_experiment_gets_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two bidders whose untrained multiplier is .75, where .5 is right."""
    words = ["env=auction", "env.mode=uniform_ipv", "env.format=first", "env.n_agents=2", "algorithm=ippo", "seed=17"]
    told = run([*words, "n_envs=2", "total_steps=256", "evaluation.episodes=4"], tmp_path, capsys)
    assert "known answer (equilibrium): multiplier 0.5, learned 0.7" in told and "%): not reached" in told
    assert "made to find it: marl train experiment=first_price" in told


@pytest.mark.slow
@pytest.mark.parametrize(("game", "preset"), SETTINGS)
def test_a_default_run_comes_near_what_is_known_or_says_how_far_it_is(
    game: str, preset: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"env={game}", *([f"env.preset={preset}"] if preset else []), "seed=17"]
    setup = compose(words)
    at = envs.GAMES[game].at(setup.params)
    answers = {} if at.known is None else at.known(setup.params)
    if not any(name in (*at.metrics, "return") or name.rpartition("_")[0] in at.metrics for name in answers):
        pytest.skip("nothing is known of a metric in this setting")
    told = run([*words, "algorithm=ippo"], tmp_path, capsys)
    report = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert report["known"]
    for name, found in report["known"].items():
        print(game, preset, report["checkpoint"], report["step"], name, found["learned"], found["known"])
        near = abs(found["learned"] - found["known"]) <= max(NEAR * abs(found["known"]), known.NOTHING) + found["error"]
        (line,) = [x for x in told.splitlines() if x.startswith("known answer") and f": {name} " in x]
        assert near is not line.endswith(": not reached") and found["far"] is not near
    if any(found["far"] for found in report["known"].values()):
        if game in WITHOUT or f"{game} {preset}" in WITHOUT:
            assert "no experiment here is made to find it" in told
            return
        assert f"made to find it: marl train {report['recipe']}" in told
        assert compose(shlex.split(report["recipe"])).params == setup.params


def run(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `marl train` prints at last."""
    assert main(["train", *words, f"run_dir={tmp_path / 'run'}"]) == 0
    return capsys.readouterr().out
