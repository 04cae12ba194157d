"""Sample efficiency: when a goal is reached, what a censored seed counts, the ratio and its interval; and the sessions of a duopoly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
import experiments
from envs.classic import bertrand
from experiments import published, races, recorded, reproduction, seed_run
from experiments.published import Rule, built
from experiments.races import OURS, THEIRS, Race
from experiments.seed_run import OUTCOME, Outcome
from experiments.sessions import payoff
from marl.errors import UserError
from tests.experiments.conftest import Marl
from tests.experiments.test_reproduction import VALUES, row

SIDE: dict[str, Any] = {"steps": 100, "algorithm": VALUES["algorithm"], "run": {"n_envs": 4}}
RACE = Race(
    "dash", "a dash", VALUES["task"], "team_sum", "return_sum", "the sum", Rule("mean", at_least=-1e9), 20, SIDE,
    {**SIDE, "steps": 60, "algorithm": {**VALUES["algorithm"], "lr": 0.5}}, 2, 1, "a toy", 4, 2, 2,
)  # fmt: skip


def runner(**changed: Any) -> published.Row:
    return published.make({**VALUES, "kind": "race", "lasting": 2, **changed}, "tiny")


@pytest.mark.parametrize(
    ("values", "step"), [([1, 5, 5], 10), ([5, 1, 5, 5, 5], 20), ([5, 1, 5, 1, 5], None), ([5, 5, 1], None), ([5, 5, 5], 10), ([], None)]
)
def test_a_goal_is_reached_where_it_lasts(values: list[float], step: int | None) -> None:
    points = [[10.0 * i, v] for i, v in enumerate(values)]
    assert races.reached(runner(passes={"of": "mean", "at_least": 4}), points) == step


def test_a_race_ends_at_the_goal_or_counts_as_censored(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(races, "load_races", lambda: {"dash": RACE})
    said = marl("reproduce", "--efficiency", "dash", "--dir", "runs", "--jobs", "0")
    assert "ours: 20, 20\n  theirs: 20, 20" in said.out
    assert (said.code, json.loads(Path("runs/dash-race.json").read_text())["cap"]) == (1, 100)
    outcome = json.loads(Path("runs/dash-ours/seed-0", OUTCOME).read_text())
    assert [step for step, _ in outcome["curve"]] == [0, 20, 40]  # two evaluations in a row, then no further
    never = runner(passes={"of": "mean", "at_least": 1e9})
    found = experiments.reproduce(never, seeds=1, root="runs", jobs=0)
    assert (found.values, found.counts) == ([100.0], {"censored": 1})


def test_an_interrupted_race_is_the_race_that_was_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C where the goal is met, then where it is written down: what is on disk is gone on from."""
    whole = experiments.reproduce(runner(seeds=1), seeds=1, root=tmp_path / "whole", jobs=0)
    folder = tmp_path / "broken" / "tiny" / "seed-0"

    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    real = races.reached

    def interrupted_late(row: published.Row, points: list[list[float]]) -> int | None:
        return interrupt() if len(points) > 2 else real(row, points)

    for place, instead in (("reached", interrupted_late), ("_outcome", interrupt)):
        with monkeypatch.context() as patched:
            patched.setattr(races, place, instead)
            with pytest.raises(KeyboardInterrupt):
                experiments.reproduce(runner(seeds=1), seeds=1, root=tmp_path / "broken", jobs=0)
        assert not (folder / OUTCOME).exists()
    found = experiments.reproduce(runner(seeds=1), seeds=1, root=tmp_path / "broken", jobs=0)
    assert found.values == whole.values == [20.0]
    assert (folder / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "tiny" / "seed-0" / "metrics.jsonl").read_bytes()


def test_another_goal_is_another_outcome(tmp_path: Path) -> None:
    experiments.reproduce(runner(), seeds=1, root=tmp_path, jobs=0)
    assert seed_run.outcome_of(runner(), 0, tmp_path) is not None
    assert seed_run.outcome_of(runner(lasting=3), 0, tmp_path) is None


def done(steps: list[int | None]) -> list[Outcome]:
    """Outcomes of seeds that needed so many steps; None: censored."""
    return [
        Outcome("x", i, [float(s or 7)], 0, 0, {} if s is not None else {"censored": 1}, [], [], 0, {}, 0, 30, None)
        for i, s in enumerate(steps)
    ]


def test_the_ratio_and_its_interval() -> None:
    """The cap is 100: means 20 and 70, of which one of two seeds is censored."""
    found = races.compare(RACE, done([10, 30]), done([40, None]), [])
    assert found.means == (20.0, 70.0)
    assert found.ratio is not None
    assert found.ratio.point == 3.5
    # Squared errors of the means' logarithms are 1/4 and 9/49, with 1.95 degrees of freedom by Welch: 1, whose t is 12.706.
    half = 12.7062 * (1 / 4 + 9 / 49) ** 0.5
    assert (found.ratio.low, found.ratio.high) == pytest.approx((3.5 * np.exp(-half), 3.5 * np.exp(half)), rel=1e-4)
    assert not found.passed
    assert not races.compare(RACE, done([10, 10]), done([40, None]), []).passed  # two seeds so far apart say little
    assert races.compare(RACE, done([10, 10]), done([90, None]), []).passed
    assert not races.compare(RACE, done([10, 10]), done([90, None]), ["a seed crashed"]).passed
    text = races.show([found])
    assert "70, 1 of 2 censored" in text
    assert "theirs: 40, censored" in text


def test_recorded_races(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recorded, "RESULTS", tmp_path)
    monkeypatch.setattr(races, "load_races", lambda: {"dash": RACE})
    with pytest.raises(UserError, match="dash: 1 and 2 seeds have a result, 2 are needed"):
        recorded.record_race(races.compare(RACE, done([10]), done([40, 50]), []))
    recorded.record_race(races.compare(RACE, done([10, 10]), done([90, None]), []))
    text = recorded.races_page([RACE], recorded.results(tmp_path / "races"))
    assert "| `dash` | return_sum >= -1e+09 | 10 | 95, 1 of 2 censored | 9.5 [4.867, 18.54] | >= 2 | PASS | 2 min |" in text
    assert "Theirs: 90, censored." in text


@pytest.mark.parametrize(
    ("changed", "text"),
    [({"like": "nobody"}, "race dash: ours: like = 'nobody': no such row"), ({"steps": "x"}, "race dash: ours: steps = 'x': a whole")],
)
def test_what_is_wrong_with_a_side(changed: dict[str, Any], text: str) -> None:
    race = built(Race, {**{n: getattr(RACE, n) for n in RACE.__dataclass_fields__}, OURS: {**SIDE, **changed}}, "dash")
    with pytest.raises(UserError, match=text):
        race.row(OURS)
    assert race.row(THEIRS).steps == 60


def test_what_the_firms_play_for_is_the_games_profit() -> None:
    """q (x - c) of the logit demand, by hand for every pair of prices."""
    params: Any = envs.make("bertrand", 1, m=4).params
    found, prices = payoff(envs.make("bertrand", 16, m=4), 4), bertrand.grid(params)
    weight = np.exp((params.quality - prices) / params.mu)
    for i in range(4):
        for j in range(4):
            whole = weight[i] + weight[j] + 1.0
            expected = [(prices[i] - params.cost) * weight[i] / whole, (prices[j] - params.cost) * weight[j] / whole]
            assert found[i, j] == pytest.approx(expected, rel=1e-12)


DUOPOLY: dict[str, Any] = {
    **VALUES, "kind": "sessions", "task": {"name": "bertrand", "m": 4}, "measure": "collusion", "reward": "individual", "steps": 4_000,
    "algorithm": {"name": "tabular", "beta": 1e-3, "patience": 500}, "run": {}, "episodes": 3, "passes": {"of": "mean", "at_least": -5},
}  # fmt: skip


def test_sessions_through_the_same_command(tmp_path: Path) -> None:
    firms = published.make(DUOPOLY, "firms")
    found = reproduction.reproduce(firms, root=tmp_path, jobs=0)
    assert (found.seeds, len(found.values), found.passed) == ([0, 1], 6, True)
    assert max(found.values) <= 1.0
    assert (tmp_path / "tiny" / "curves.png").stat().st_size > 5_000
    assert reproduction.reproduce(firms, root=tmp_path, jobs=0).wall == found.wall  # nothing is run twice
    faster = published.make({**DUOPOLY, "algorithm": {"name": "tabular", "beta": 1e-2, "patience": 500}}, "firms")
    assert seed_run.outcome_of(faster, 0, tmp_path) is None


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"algorithm": {"name": "ippo"}}, "row tiny: algorithm.name = 'ippo': legal for sessions is tabular"),
        ({"algorithm": {"name": "tabular", "speed": 1}}, "row tiny: algorithm: .* unexpected keyword argument 'speed'"),
        ({"measure": "profit"}, "row tiny: measure = 'profit': legal for sessions are collusion"),
    ],
)
def test_sessions_that_are_refused(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text):
        published.make({**DUOPOLY, **changed}, "firms").check()


def test_a_race_is_paid_like_its_row() -> None:
    assert row(kind="race").conventions == "reward team_sum, time limit bootstrap"
