"""`marl replay`: the episode is the evaluation's, every game gets a page, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from envs.resource_allocation.commons import COMMONS as FISHERY
from experiments import pages
from experiments.replay import replay
from marl.errors import UserError
from marl.game import Picture
from tests.experiments.conftest import TINY, Marl

PNG = b"\x89PNG"


@pytest.fixture
def a_run(marl: Marl, tmp_path: Path) -> Path:
    path = tmp_path / "run"
    assert marl("train", *TINY, "algorithm=ippo", "total_steps=40", f"run_dir='{path}'").code == 0
    return path


def test_an_episode_is_the_one_that_is_evaluated(a_run: Path, marl: Marl, tmp_path: Path) -> None:
    from experiments.build import run_of
    from experiments.run_folder import find
    from experiments.stored import stored
    from marl.evaluate import evaluate

    folder = find(a_run)
    run = run_of(stored(folder), folder)
    run.load("last.pt")
    played = evaluate(lambda n: run.make({}, n), run.plan, run.policies, 4, run.final_seed)
    for k in (0, 3):
        shown = replay(a_run, episode=k)
        assert shown.reward.sum(0) == pytest.approx(played.returns[k]) and shown.ticks == played.lengths[k]
        assert shown.metrics == pytest.approx(played.metrics[k])
    said = marl("replay", str(a_run), "--episode", "3", "-o", str(tmp_path / "page.png"))
    assert said.code == 0 and "harvest: ippo, last checkpoint, step" in said.out and "episode 3: 5 ticks" in said.out
    assert (tmp_path / "page.png").read_bytes()[:4] == PNG


def test_a_baseline_in_the_game_of_a_run_and_without_a_run(a_run: Path, marl: Marl, tmp_path: Path) -> None:
    one, two = replay(a_run, baseline="random"), replay(a_run, baseline="random", episode=1)
    assert (one.action != two.action).any() and one.title == "harvest: random, episode 0"
    page = tmp_path / "folder" / "page.svg"
    assert marl("replay", "env=harvest", "env.horizon=7", "--baseline", "random", "-o", str(page)).code == 0
    assert "<svg" in page.read_text()


def test_columns_by_name() -> None:
    found = replay(["env=cluster", "env.mechanism=arbiter", "env.horizon=12", "env.n_agents=3"], baseline="steady")
    assert found.ticks == 12 and found.obs.shape[0] == 13
    assert found.seen("time_left", "tenant")[:, 0] == pytest.approx(1 - np.arange(13) / 12)
    assert found.seen("jain", "arbiter").shape == (13, 1) and found.did("weight_2", "arbiter").tolist() == [[1.0]] * 12
    assert found.did("bid").shape == found.paid("utility").shape == (12, 3)
    assert found.names() == ("tenant_0", "tenant_1", "tenant_2") and found.metric("jain").shape == (3,)
    for ask, said in (
        (lambda: found.seen("stock"), "tenant sees: no column 'stock', legal are time_left"),
        (lambda: found.did("bid", "arbiter"), "arbiter does: no column 'bid', legal are weight_0"),
        (lambda: found.did("bid", "owner"), "role 'owner' of cluster: legal are tenant, arbiter"),
    ):
        with pytest.raises(UserError, match=said):
            ask()


def test_state_that_a_picture_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setitem(envs.GAMES, "fishery", replace(FISHERY, picture=Picture("envs.resource_allocation.page:commons", ("stock", "t"))))
    found = replay(["env=fishery", "env.horizon=6"], baseline="optimal")
    assert found.state["t"].tolist() == [0, 1, 2, 3, 4, 5]
    assert found.state["stock"] / 1e8 == pytest.approx(found.seen("stock")[:-1, 0], abs=1e-6)
    with pytest.raises(UserError, match="picture of game 'commons': its state has no field 'fish'"):
        replace(FISHERY, picture=Picture("a:b", ("fish",)))
    with pytest.raises(UserError, match=r"Picture draw='page': package\.module:function is expected"):
        Picture("page")


@pytest.mark.parametrize("name", [name for name, game in envs.GAMES.items() if game.picture is not None])
def test_pages_of_games(name: str, marl: Marl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    said = marl("replay", f"env={name}", "env.horizon=20", "-o", str(page))
    assert said.code == 0, said.err
    assert page.read_bytes()[:4] == PNG


@pytest.mark.parametrize("choices", [["env=harvest", "env.horizon=1"], ["env=rock_paper_scissors"], ["env=spread"]])
def test_the_generic_page(choices: list[str], marl: Marl, tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    assert marl("replay", *choices, "--generic", "--baseline", "random", "-o", str(page)).code == 0
    assert page.read_bytes()[:4] == PNG


def test_many_agents_are_drawn_as_their_mean_within_their_range() -> None:
    figure = pages.blank()
    few, many, alike = figure.subplots(3, 1)
    values: Any = np.arange(60.0).reshape(3, 20)
    pages.lines(few, values[:, :4], "abcd")
    pages.lines(many, values, "a" * 20)
    pages.lines(alike, np.ones((3, 20)), "a" * 20)
    assert [len(ax.get_lines()) for ax in (few, many, alike)] == [4, 2, 1]
    assert many.get_lines()[1].get_ydata().tolist() == values.mean(1).tolist()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "-o", "x.png"], "RUN = 'nowhere': no run there"),
        (["env=harvest", "nowhere", "-o", "x.png"], "one run's folder, or key=value choices of a game are expected"),
        (["env=harvest", "-o", "x.gif"], "output = 'x.gif': legal endings are .png, .pdf, .svg"),
        (["env=harvest", "--episode", "-1", "-o", "x.png"], "episode = -1: legal are whole numbers in [0, 1000000]"),
        (["env=harvest", "--checkpoint", "first", "-o", "x.png"], "checkpoint = 'first': legal are result, best, last"),
        (["env=harvest", "--baseline", "clever", "-o", "x.png"], "baseline 'clever' of harvest: legal are"),
    ],
)
def test_refusals(arguments: list[str], said: str, marl: Marl) -> None:
    assert said in marl("replay", *arguments).refusal
