"""`marl generate` and `marl allocators`: files that games read, tables of mechanisms, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.auction_log.data import fitted, read_log
from envs.resource_allocation.data import read_trace
from envs.resource_allocation.params import MECHANISMS
from envs.trading.data import read_bars
from experiments import allocation_page
from experiments.allocators import PLACED, SHOWN
from tests.experiments.conftest import Marl


@pytest.mark.parametrize("name", ["trace.csv", "folder/trace.csv.gz"])
def test_a_generated_trace_is_read(marl: Marl, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    said = marl("generate", "allocation_log", "-o", str(path), "--rows", "300", "--seed", "4")
    assert said.code == 0 and "300 rows for env=allocation_log" in said.out
    first = read_trace(str(path))
    assert len(first.arrival) == 300
    marl("generate", "allocation_log", "-o", str(tmp_path / "again.csv"), "--rows", "300", "--seed", "4")
    assert (read_trace(str(tmp_path / "again.csv")).context == first.context).all()


def test_a_generated_log_is_read_and_has_its_law(marl: Marl, tmp_path: Path) -> None:
    """Declared: iPinYou 1458's prices; like another log: that log's moments."""
    path, like = tmp_path / "log.csv", tmp_path / "like.csv.gz"
    assert marl("generate", "auction", "-o", str(path), "--rows", "40000").code == 0
    log = read_log(str(path))
    price = np.log(log.price[log.price > 0])
    assert len(log.price) == 40_000 and log.price.max() == 300
    assert price.mean() == pytest.approx(3.87, abs=0.03) and price.std() == pytest.approx(0.87, abs=0.05)
    assert log.click.mean() == pytest.approx(0.00444, abs=0.0015)
    assert marl("generate", "auction", "-o", str(like), "--rows", "40000", "--seed", "1", "--like", str(path)).code == 0
    assert fitted(read_log(str(like))) == pytest.approx(fitted(log), rel=0.35)


def test_generated_bars_are_read(marl: Marl, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv.gz"
    said = marl("generate", "trading", "-o", str(path), "--rows", "40", "--seed", "4")
    assert said.code == 0 and "40 rows for env=trading" in said.out
    assert sum(len(own.dates) for own in read_bars(str(path)).values()) == 40
    assert "2 bars: legal are 3 and more" in marl("generate", "trading", "-o", str(path), "--rows", "2").refusal


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["spread", "-o", "x"], "marl generate spread: legal are"),
        (["allocation_log", "-o", "x", "--like", "y"], "--like y: legal with auction, auction_log"),
        (["allocation_log"], "-o"),
        (["allocation_log", "-o", "x", "--rows", "1"], "--rows = 1: legal range is [2, 10000000]"),
        (["allocation_log", "-o", "x", "--seed", "-1"], "--seed = -1: legal are whole numbers from 0"),
    ],
)
def test_refusals_of_generate(marl: Marl, arguments: list[str], said: str) -> None:
    assert said in marl("generate", *arguments).refusal


def test_mechanisms_side_by_side(marl: Marl, tmp_path: Path) -> None:
    page = tmp_path / "docs" / "allocation.md"
    said = marl("allocators", "n_agents=3", "horizon=40", "--episodes", "3", "-o", str(page))
    assert said.code == 0
    assert all(name in said.out for name in (*MECHANISMS, *SHOWN))
    text = page.read_text()
    assert text.count("\n| ") == len(MECHANISMS) + len(PLACED) + 2 and "n_agents=3 horizon=40; 3 episodes" in text
    assert page.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"


def test_learners_beside_the_mechanisms_are_seeds_of_one_row(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    tiny = ["n_envs=2", "algorithm.rollout=4", "algorithm.hidden=[8]", "evaluation.episodes=2", "total_steps=8", "env.horizon=20"]
    for seed, mechanism in ((0, "proportional_share"), (1, "proportional_share"), (0, "arbiter")):
        runs += ["--run", str(tmp_path / f"{mechanism}-{seed}")]
        game = ["env=allocation_log", "env.n_agents=3", f"env.mechanism={mechanism}", f"seed={seed}", f"run_dir='{runs[-1]}'"]
        assert marl("train", "algorithm=ippo", *game, *tiny).code == 0
    for name, place in (("PAGE", tmp_path / "page.md"), ("TABLES", tmp_path / "tables")):
        monkeypatch.setattr(allocation_page, name, place)
    said = marl("allocators", "n_agents=3", "horizon=20", "--episodes", "3", *runs, "--record", "small")
    assert said.code == 0, said.err
    (one, two), (three,) = (line.values for line in allocation_page.tables()[0].lines[-2:])
    assert len(one) == len(two) == len(three) == len(SHOWN) and one != two
    text = (tmp_path / "page.md").read_text()
    learners = [line for line in text.splitlines() if "learners" in line and line.startswith("|")]
    assert "ippo learners, proportional_share, 2 seeds | " in learners[0] and "[" in learners[0]
    assert "ippo learners, arbiter, 1 seed | " in learners[1] and "[" not in learners[1]
    assert (tmp_path / "resource_allocation-small.png").exists() and "](resource_allocation-small.png)" in text
    assert "--record ../x: letters" in marl("allocators", "n_agents=3", "horizon=2", "--episodes", "1", "--record", "../x").err


def test_the_page_is_made_of_what_is_recorded() -> None:
    assert allocation_page.PAGE.read_text() == allocation_page.whole_page(), "make it again: marl allocators --report"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["n_agents"], "marl allocators n_agents: key=value is expected"),
        (["n_agents=0"], "AllocationLogParams.n_agents = 0 tenants: legal range is [1, 128]"),
        (["--episodes", "0"], "--episodes = 0: legal are whole numbers from 1"),
    ],
)
def test_refusals_of_allocators(marl: Marl, arguments: list[str], said: str) -> None:
    assert said in marl("allocators", *arguments).refusal


def test_daily_demand_is_generated_and_policies_stand_side_by_side(marl: Marl, tmp_path: Path) -> None:
    path, page = tmp_path / "daily.csv", tmp_path / "docs" / "supply_chain.md"
    assert "2,000 rows for env=supply_chain" in marl("generate", "supply_chain", "-o", str(path), "--rows", "2000").out
    said = marl("replenishment", f"env.trace='{path}'", "env.n_agents=3", "-o", str(page))
    assert said.code == 0 and all(name in said.out for name in ("pass_through", "base_stock", "reorder", "moving_average"))
    text = page.read_text()
    assert text.count("\n| ") == 6 and "3 items, lead 3" in text and "daily.csv: " in text


def test_runs_of_one_algorithm_are_seeds_of_one_row(marl: Marl, tmp_path: Path) -> None:
    own = ["env.n_agents=3", "env.horizon=20"]
    small = ["experiment=supply_chain_log", *own, "n_envs=2", "algorithm.hidden=[4]", "algorithm.rollout=4", "total_steps=16"]
    for seed in (0, 1):
        done = marl("train", *small, "evaluation.episodes=2", f"seed={seed}", f"run_dir='{tmp_path / str(seed)}'")
        assert done.code == 0
    said = marl("replenishment", *own, "--run", str(tmp_path / "0"), "--run", str(tmp_path / "1"))
    assert said.code == 0 and said.out.count("ippo, 2 seeds") == 1 and " [" in said.out.splitlines()[-1]
    assert "its env.horizon differs" in marl("replenishment", "env.n_agents=3", "--run", str(tmp_path / "0")).refusal


def test_runs_of_other_games_do_not_stand_beside(marl: Marl, tmp_path: Path) -> None:
    assert "no run there" in marl("replenishment", "env.n_agents=3", "--run", str(tmp_path / "none")).refusal
