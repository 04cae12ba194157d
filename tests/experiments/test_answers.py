"""`marl answers`: what counts as right, what is not run again, and (slow) the whole of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import answers, measures, run_folder
from experiments.compose import compose
from experiments.measures import CASES, Answer
from tests.experiments.conftest import Marl

FIRST, FIVE, SECOND = CASES
GOOD = Answer("first_price", 0, 0.49, 0.5, 0.01, 1 / 6, 0.17, 0.16, 0.18, 0.0001, 0.001, 0.0005, 0.0015, 9.0)
EARNER = replace(GOOD, case="second_price", multiplier=0.9, theory=1.0, surplus=0.99 / 6, exploitability=None, response=None)


@pytest.mark.parametrize(
    ("case", "answer", "expected"),
    [
        (FIRST, GOOD, [True, True]),
        (FIRST, replace(GOOD, multiplier=0.469), [False, True]),
        (FIRST, replace(GOOD, multiplier=0.531), [False, True]),
        (FIRST, replace(GOOD, exploitability=0.0034), [True, False]),
        (FIRST, replace(GOOD, response=0.0034), [True, False]),
        (SECOND, EARNER, [True]),
        (SECOND, replace(EARNER, surplus=0.979 / 6), [False]),
    ],
)
def test_what_is_asked(case: measures.Case, answer: Answer, expected: list[bool]) -> None:
    found = measures.verdicts(case, [GOOD if case is FIRST else EARNER, answer])
    assert [good for good, _ in found] == expected


def test_the_table_names_the_failure() -> None:
    found = [GOOD, replace(GOOD, case="first_price_five", multiplier=0.9, theory=0.8), EARNER]
    text = answers.show([replace(a, seed=seed) for a in found for seed in (0, 1)])
    assert "PASS  first price, 2 bidders: multipliers within 0.0100 of 0.5" in text
    assert "FAIL  first price, 5 bidders: multipliers within 0.1000 of 0.8" in text
    assert "PASS  second price, 1 learner against a truthful rival: surplus at least 99.00%" in text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.experiment)
def test_presets_are_the_games_of_the_cases(case: measures.Case) -> None:
    setup = compose([f"experiment={case.experiment}"])
    assert setup.game is not None
    assert setup.game.known is not None
    assert setup.config["env"]["n_agents"] == case.agents
    known = setup.game.known(setup.params)
    theory = {"first_price": (1 / 2, 1 / 6), "first_price_five": (4 / 5, 1 / 30), "second_price": (1.0, 1 / 6)}[case.experiment]
    assert (known["multiplier"], known["surplus"]) == pytest.approx(theory)


def test_a_finished_seed_is_not_run_again(tmp_path: Path) -> None:
    path = tmp_path / "first_price-s0"
    setup = compose(["experiment=first_price", "seed=0", f"run_dir='{path}'"])
    folder = run_folder.create(path, setup.config)
    (path / answers.ANSWER).write_text(json.dumps(GOOD.__dict__))
    assert answers.learn(FIRST, 0, tmp_path) == GOOD
    manifest = folder.read_manifest()
    folder.manifest.write_text(json.dumps({**manifest, "config_hash": "another"}))
    assert not answers._same(setup, folder)
    folder.manifest.write_text(json.dumps({**manifest, "git": {"commit": "another", "dirty": False}}))
    assert not answers._same(setup, folder)


@pytest.mark.slow
def test_all_answers_are_right_and_the_second_call_runs_nothing(marl: Marl, tmp_path: Path) -> None:
    said = marl("answers", "--folder", str(tmp_path / "a"), "--picture", str(tmp_path / "docs" / "picture.png"))
    assert said.code == 0
    assert "FAIL" not in said.out
    assert (tmp_path / "docs" / "picture.png").read_bytes() == (tmp_path / "a" / answers.PICTURE).read_bytes()
    report = json.loads((tmp_path / "a" / answers.REPORT).read_text())
    assert report["passed"]
    assert len(report["answers"]) == 9
    before = (tmp_path / "a" / "first_price-s0" / "metrics.jsonl").stat().st_mtime_ns
    assert marl("answers", "--folder", str(tmp_path / "a")).code == 0
    assert (tmp_path / "a" / "first_price-s0" / "metrics.jsonl").stat().st_mtime_ns == before
