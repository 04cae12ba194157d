"""Games and algorithms that live elsewhere: known by the key that they were registered under, refused in one line where they are not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import algorithms
import envs
from envs.resource_allocation.commons import COMMONS as SHIPPED
from marl.errors import UserError
from tests.commons import COMMONS
from tests.experiments.conftest import TINY, Marl


def test_a_game_is_known_by_its_key(marl: Marl, tmp_path: Path) -> None:
    """The toy calls itself as a shipped game does; from the first command to the last it is what it was registered as."""
    assert COMMONS.name == SHIPPED.name == "commons" and envs.GAMES["harvest"].name == "harvest"
    assert envs.make("harvest").name == "harvest" and "capacity" in marl("list", "env=harvest").out
    run = tmp_path / "run"
    assert marl("train", *TINY, "total_steps=40", f"run_dir={run}").code == 0
    assert "env:\n  name: harvest\n" in (run / "config.yaml").read_text()
    assert marl("evaluate", str(run), "--episodes", "4").code == marl("resume", str(run)).code == 0
    assert marl("replay", str(run), "-o", str(tmp_path / "page.png")).out.startswith("harvest: ippo")
    assert json.loads((run / "evaluation.json").read_text())["checkpoint"] == "last"


def test_a_shipped_game_is_not_replaced() -> None:
    with pytest.raises(UserError, match=r"GAMES\['commons'\]: a game of that name is shipped, register yours under another"):
        envs.GAMES["commons"] = COMMONS
    assert envs.GAMES["commons"] is SHIPPED
    envs.GAMES["commons"] = SHIPPED
    with pytest.raises(UserError, match=r"GAMES\['auction'\]: a game of that name is shipped"):
        envs.GAMES["auction"] = replace(COMMONS, name="auction")
    with pytest.raises(UserError, match=r"GAMES\['mine'\] = 3: a marl.Game is expected"):
        envs.GAMES["mine"] = 3  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nowhere.at_all:Learner", "algorithms.ALGORITHMS['mine'] = 'nowhere.at_all': no module named 'nowhere'"),
        ("tests.toy_algorithm:Missing", "'tests.toy_algorithm:Missing': module 'tests.toy_algorithm' has no 'Missing'"),
        ("tests.toy_algorithm", "algorithms.ALGORITHMS['mine'] = 'tests.toy_algorithm': module:name is expected"),
    ],
)  # fmt: skip
def test_an_algorithm_that_cannot_be_imported_is_a_line(address: str, words: str, marl: Marl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(algorithms.ALGORITHMS, "mine", address)
    assert words in marl("train", "env=harvest", "algorithm=mine").refusal


@pytest.mark.parametrize(("given", "steps"), [("1e6", 1_000_000), ("2.5E+5", 250_000), ("1e3", 1_000), ("1_000", 1_000)])
def test_a_count_may_have_an_exponent(given: str, steps: int, marl: Marl) -> None:
    assert f"\ntotal_steps: {steps}\n" in marl("train", "env=harvest", f"total_steps={given}", "--cfg", "job").out


def test_an_exponent_below_one_is_no_count(marl: Marl) -> None:
    assert "total_steps = '0.015'" in marl("train", "env=harvest", "total_steps=1.5e-2").refusal
    assert "\n  lr: 0.001\n" in marl("train", "env=harvest", "algorithm.lr=1e-3", "--cfg", "job").out
