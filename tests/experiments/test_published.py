"""Rows as data: each is composed as it is declared, what is wrong with one is refused in a line, the page is made of what is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from experiments import published, races, recorded
from experiments.published import Row, Rule
from experiments.seed_run import Outcome
from experiments.verdict import clock, missed, verdict
from marl.errors import UserError
from tests.experiments.test_reproduction import VALUES, row

ROWS = published.load()
LEARNED = [r for r in ROWS.values() if r.kind == published.LEARNED]


@pytest.fixture
def fishery(toys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The game, not the toy of its name."""


@pytest.mark.usefixtures("fishery")
@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_composed_as_it_is_declared(name: str) -> None:
    declared = ROWS[name]
    declared.check()
    assert declared.published.where
    if declared.kind == published.SESSIONS:
        return
    config = declared.setup(3, Path("runs/x")).config
    for group, values in (("env", declared.task), ("algorithm", declared.algorithm)):
        assert {key: config[group][key] for key in values} == values
    assert (config["seed"], config["total_steps"]) == (3, declared.steps)
    assert (config["reward"], config["time_limit"]) == (declared.reward, declared.time_limit)
    assert declared.episodes >= 1_000
    assert declared.seeds >= 5


def test_the_rows_that_are_asked_for_are_there() -> None:
    asked = {
        "two-step-qmix": (8, 8, 8), "two-step-vdn": (7, 7, 7), "penalty-0-ippo": (250, 250, None), "penalty-100-mappo": (50, 50, None),
        "climbing-ippo": (175, 175, None), "climbing-mappo": (175, 175, None), "climbing-ia2c": (175, 175, None),
        "lbf-8x8-2p-2f-coop-mappo": (1, 0.97, None), "lbf-8x8-2p-2f-coop-iql": (1, 0.97, None), "spread-mappo": (-133.54, -133.5, None),
        "spread-qmix": (-126.62, -133, None), "spread-maddpg": (-141.70, -147, None), "spread-ippo": (-133.86, -138.86, None),
        "spread-vdn": (-131.03, -136.03, None), "spread-iql": (-132.63, -137.63, None), "speaker-listener-mappo": (-10.68, -11.5, None),
        "bertrand-q": (0.85, 0.75, 0.90), "rware-tiny-2ag-mappo": (21.16, 17, None),
    }  # fmt: skip
    for name, (value, low, high) in asked.items():
        rule = ROWS[name].passes
        assert (ROWS[name].published.value, rule.at_least) == (value, low)
        assert rule.at_most == (high if high is not None else float("inf"))
    assert {f"penalty-{k}-{a}" for k in (0, 25, 50, 75, 100) for a in ("ippo", "mappo")} <= set(ROWS)


def test_the_page_is_made_of_what_is_recorded() -> None:
    assert recorded.PAGE.read_text() == recorded.whole_page(), "make it again: marl reproduce --report"


def test_what_is_recorded_is_of_declared_rows() -> None:
    for name, kept in recorded.results(recorded.RESULTS).items():
        assert kept["row"] == name
        assert len(kept["seeds"]) >= ROWS[name].seeds
        values = [Outcome(name, 0, kept["values"], 0, 0, {}, [], [], 0, {}, 0, 0, None)]
        again = verdict(ROWS[name], values, {})
        assert again.mean == pytest.approx(kept["mean"], abs=1e-5)
        assert again.missed == kept["missed"]
        assert kept["passed"] or ROWS[name].cause, "say why it does not pass"


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"rewards": "team_sum"}, "tiny: no such key 'rewards', legal are name, title"),
        ({"reward": "mine"}, "tiny: reward = 'mine': legal are individual, team_sum, team_mean"),
        ({"time_limit": "none"}, "tiny: time_limit = 'none': legal are bootstrap, terminal"),
        ({"steps": 1.5}, "tiny: steps = 1.5: a whole number is expected"),
        ({"steps": 0}, r"tiny: steps = 0: legal range is \[1, 1e\+12\]"),
        ({"seeds": True}, "tiny: seeds = True: a whole number is expected"),
        ({"passes": {"of": "max"}}, "tiny: passes.of = 'max': legal are mean, seeds"),
        ({"passes": {"share": 0}}, r"tiny: passes.share = 0: legal range is \[1e-09, 1\]"),
        ({"passes": {"at_least": 3, "at_most": 2}}, r"tiny: passes.at_most = 2: legal range is \[3, inf\]"),
        ({"published": {"value": "high"}}, "tiny: published: value = 'high': a number is expected"),
        ({"checkpoint": "first"}, "tiny: checkpoint = 'first': legal are last, best"),
        ({"kind": "guessed"}, "tiny: kind = 'guessed': legal are learned, sessions, race"),
        ({"algorithm": {"learning_rate": 1}}, "row tiny: algorithm.learning_rate: no such key"),
        ({"measure": "joy"}, "row tiny: measure = 'joy': legal are return_sum, return_mean, harvested"),
        ({"task": {"n_agents": 0}}, "row tiny: CommonsParams.n_agents = 0"),
    ],
)
def test_what_is_wrong_with_a_row_is_one_line(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError, match=text) as refused:
        row(**changed).check()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("rows: {}", "two tables are expected, common and rows"),
        ("- 1", "a table of keys is expected"),
        ("common: {}\nrows: {a: 3}", "row a = 3: a table of keys is expected"),
        ("common: {}\nrows: {a: {title: x}}", "bad.yaml: row a: published is not given"),
        ("common: {\n", "bad.yaml: "),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(content: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(content)
    with pytest.raises(UserError, match=text) as refused:
        published.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_row_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text(
            json.dumps({"common": {k: v for k, v in VALUES.items() if k != "name"}, "rows": {"tiny": {}}})
        )
    with pytest.raises(UserError, match=r"b.yaml: row tiny is in another file already"):
        published.load(tmp_path)


def test_a_rule_without_a_bound_is_refused() -> None:
    bare = {**VALUES, "passes": {"of": "mean"}}
    with pytest.raises(UserError, match="passes: at_least, at_most or both are expected, else every result passes"):
        published.make(bare, "tiny")


def ruled(**rule: Any) -> Row:
    return published.make({**VALUES, "passes": rule}, "tiny")


@pytest.mark.parametrize(
    ("rule", "values", "failed", "passes"),
    [
        ({"of": "mean", "at_least": 2}, [1.0, 3.0], {}, True),
        ({"of": "mean", "at_least": 2.001}, [1.0, 3.0], {}, False),
        ({"of": "mean", "at_least": 0.75, "at_most": 0.9}, [0.95, 0.95], {}, False),
        ({"of": "mean", "at_least": 2}, [3.0, 3.0], {1: "crashed"}, False),
        ({"of": "seeds", "share": 0.9, "at_least": 8, "at_most": 8}, [8.0] * 9 + [7.0], {}, True),
        ({"of": "seeds", "share": 0.9, "at_least": 8, "at_most": 8}, [8.0] * 8 + [7.0] * 2, {}, False),
        ({"of": "seeds", "share": 0.8, "at_least": 175}, [275.0, 175.0, 175.0, 175.0, 125.0], {}, True),
        ({"of": "seeds", "share": 0.8, "at_least": 175}, [275.0, 175.0, 175.0, 125.0, 125.0], {}, False),
        ({"of": "mean", "at_least": 2}, [], {}, False),
    ],
)
def test_what_passes(rule: dict[str, Any], values: list[float], failed: dict[int, str], passes: bool) -> None:
    assert (missed(ruled(**rule), values, failed) == []) == passes


def test_the_interval_is_students_and_points_are_means_of_seeds() -> None:
    def outcome(seed: int, value: float, curve: list[list[float]]) -> Outcome:
        return Outcome("tiny", seed, [value], 1.0, value + 1, {"8": 3}, [], curve, 50, {}, 2.0, 1.0, "abc")

    found = verdict(ruled(of="mean", at_least=0), [outcome(0, 1.0, [[0, 0], [50, 9]]), outcome(1, 3.0, [[0, 2], [50, 1]])], {})
    # Two seeds at distance 2: mean 2 +- t(.975, 1) sqrt(2) / sqrt(2) = 2 +- 12.7062
    assert (found.mean, found.low, found.high) == pytest.approx((2.0, 2 - 12.7062, 2 + 12.7062), abs=1e-4)
    assert (found.over_training, found.maximum, found.best) == (3.0, 5.0, 3.0)
    assert (found.counts, found.speed, found.commits) == ({"8": 6}, 25.0, ["abc"])


def test_words() -> None:
    assert Rule("mean", at_least=-133.5).words() == "mean >= -133.5"
    assert Rule("seeds", 8, 8, 0.9).words() == "90% of seeds = 8"
    assert Rule("mean", 0.75, 0.9).words() == "mean in 0.75 to 0.9"
    assert Rule("mean", at_most=3).words() == "mean <= 3"
    assert [clock(s) for s in (8.44, 750, 3_900)] == ["8.4 s", "12 min", "1 h 05 min"]


def test_races_are_composed() -> None:
    found = races.load_races()
    assert set(found) == {"spread", "first-price"}
    for race in found.values():
        assert (race.seeds, race.ratio) == (10, 2)
        for side in (races.OURS, races.THEIRS):
            config = race.row(side).setup(0, Path("runs/x")).config
            assert config["evaluation"] == {"every": race.every, "episodes": 256, "sample": False, "best_response": None}
    paper = found["spread"].row(races.THEIRS).setup(0, Path("runs/x"))
    assert (paper.config["n_envs"], paper.settings.epochs, paper.settings.minibatches, paper.settings.lr) == (128, 10, 1, 7e-4)
    assert found["spread"].row(races.OURS).algorithm == ROWS["spread-ippo"].algorithm
