"""What the registry promises of every algorithm: a documented file, a known answer, a resume, refusals of what it cannot serve."""

from __future__ import annotations

import ast
import importlib.util
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import algorithms
import envs
from algorithms import ALGORITHMS, SETTINGS
from experiments.cli import main
from experiments.schema import limits_of
from marl.errors import UserError
from marl.game import Column, Game, bounds, inf
from marl.opinion import opinion_of
from marl.team import parts
from marl.vector import VectorGame
from tests.algorithms.test_answers import ANSWERED, ELSEWHERE
from tests.commons import COMMONS
from tests.lanes import SMALL, paid
from tests.resumable import SETTINGS as RESUMED
from tests.riddles import BARGAIN, SHELF

ROOT = Path(__file__).parents[2]
LONGEST = 200
"""Lines of an algorithm's file."""
COST = {"harm": Column(0.0, inf)}
GAMES: dict[str, Game] = {
    "pasture": replace(COMMONS, name="pasture", action_grid=None),
    "fields": COMMONS,
    "shelf": replace(SHELF, cost=COST),
    "bargain": replace(BARGAIN, cost=COST),
}
"""A continuous column, the same with an action grid, a masked Discrete column, one of each kind without a grid. All have a cost."""

each = pytest.mark.parametrize("name", ALGORITHMS)


def path_of(name: str) -> Path:
    spec = importlib.util.find_spec(ALGORITHMS[name].partition(":")[0])
    assert spec is not None and spec.origin is not None
    return Path(spec.origin)


def faults(text: str) -> list[str]:
    """What is wrong with the source of an algorithm."""
    said = ast.get_docstring(ast.parse(text)) or ""
    length = len(text.splitlines())
    return [
        *([f"{length} lines: at most {LONGEST}"] if length > LONGEST else []),
        *([] if re.search(r"\w\S* = \S", said) else ["no equation"]),
        *([] if re.search(r"[A-Z]\w+ .*\b(19|20)\d\d\b", said) else ["no source with its year"]),
    ]


@each
def test_a_file_is_short_and_holds_its_equation_and_its_source(name: str) -> None:
    assert faults(path_of(name).read_text()) == []


def test_the_walk_sees_what_is_missing() -> None:
    assert faults('"""PPO, clipped."""\n' + 200 * "x = 1\n") == ["201 lines: at most 200", "no equation", "no source with its year"]
    assert faults('"""J = E[r] (Schulman et al. 2017)."""\n') == []


@each
def test_its_settings_are_declared_with_range_and_help(name: str) -> None:
    for f in fields(SETTINGS[name]):
        limits = limits_of(f)
        assert limits.help, f.name
        assert limits.options or f.type == "bool" or limits.low < limits.high, f.name


def asked(path: str, name: str) -> set[str]:
    """Which of the marks of a slow test of the algorithm are in a file."""
    text = (ROOT / path).read_text()
    return {mark for mark in (f'load("{name}")', "@pytest.mark.slow") if mark in text}


@each
def test_it_has_a_known_answer_a_resume_and_a_line_for_readers(name: str) -> None:
    """The tests that train are parametrised over these tables: an algorithm that is in none would never be asked."""
    assert name in ANSWERED or {f'load("{name}")', "@pytest.mark.slow"} <= asked(ELSEWHERE[name], name)
    assert name in RESUMED
    assert name in SMALL
    assert f"`{name}`" in (ROOT / "README.md").read_text()


def made(name: str, game: Game) -> Any:
    """The algorithm for the game's agents, or its refusal in words."""
    (part,) = parts(VectorGame(game), "group", reward=paid(name)).values()
    settings = algorithms.settings_of(name)(**SMALL[name])
    try:
        return algorithms.load(name)(settings, part, 10)
    except UserError as error:
        return str(error)


def rows_of(game: Game) -> Any:
    """Observation rows [N, width] of the game's first tick."""
    copies = VectorGame(game, 3)
    copies.reset(0)
    (part,) = parts(copies, "group").values()
    return np.ascontiguousarray(part.rows(copies.obs, copies.action_mask).reshape(-1, part.width))


@pytest.mark.parametrize("label", GAMES)
@each
def test_it_is_made_for_what_it_serves_and_else_names_who_can(name: str, label: str) -> None:
    """Those that a refusal names can indeed, and all of them."""
    found = made(name, GAMES[label])
    if not isinstance(found, str):
        rows = torch.from_numpy(rows_of(GAMES[label]))
        opinion, _ = opinion_of(found.policy, rows, 1.0)
        low, high = bounds(next(iter(VectorGame(GAMES[label]).groups.values())).group.action)
        assert opinion.action.shape == (len(rows), len(low))
        assert ((low <= opinion.action) & (opinion.action <= high)).all()
        assert all(np.allclose(chances.sum(1), 1.0) for chances in opinion.chances or ())
        return
    role = next(iter(VectorGame(GAMES[label]).groups))
    assert found.startswith(f"algorithm = {name!r} for {role}, whose action is ")
    assert "\n" not in found
    able = found.partition("legal there are ")[2].split(", ")
    assert able == [other for other in ALGORITHMS if not isinstance(made(other, GAMES[label]), str)]


REFUSED = [
    *((name, "pasture") for name in ("idqn", "rainbow", "vdn", "qmix")),
    *((name, "bargain") for name in ("idqn", "rainbow", "vdn", "qmix", "itd3")),
    ("itd3", "shelf"),
    *(("hybrid", label) for label in ("pasture", "fields", "shelf")),
]


def test_every_refusal_is_asked_for_on_the_command_line() -> None:
    found = [(name, label) for name in ALGORITHMS for label in GAMES if isinstance(made(name, GAMES[label]), str)]
    assert sorted(found) == sorted(REFUSED)


@pytest.mark.parametrize(("name", "label"), REFUSED)
def test_the_command_line_refuses_it_in_one_line(
    name: str, label: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(envs.GAMES, label, GAMES[label])
    monkeypatch.chdir(tmp_path)
    assert main(["train", f"env={label}", f"algorithm={name}", f"reward={paid(name)}", "n_envs=2", "run_dir=run"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith(f"marl: error: algorithm = {name!r} for ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if SETTINGS[name].joint])
def test_a_value_of_the_team_needs_its_reward(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(envs.GAMES, "shelf", SHELF)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "env=shelf", f"algorithm={name}", "run_dir=run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"reward = 'individual' under algorithm = {name!r}" in line
    able = line.partition("individual serves ")[2].split(", ")
    assert able == [other for other in ALGORITHMS if not SETTINGS[other].joint]
    assert list(tmp_path.iterdir()) == []
