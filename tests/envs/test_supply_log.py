"""Daily demand: what is read, what is refused, and that the replay is the file; on a small written one, and on a real one where it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from envs.supply_chain.data import Daily, generate, part_of, read_daily, synthetic_daily, write_daily
from marl import UserError
from tests.envs.test_supply import follow, item

REAL = (
    Path(os.environ.get("MARL_DATA") or Path(__file__).parents[3] / "shared" / "data") / "supply_chain/online_retail_daily_200skus.csv.gz"
)
HEAD = "stock_code,date,units\n"


def small(folder: Path) -> str:
    path = str(folder / "daily.csv")
    generate(path, 3_000, seed=3)
    return path


def test_synthetic_demand_has_the_facts() -> None:
    daily = synthetic_daily(seed=1)
    assert daily.units.shape == (374, 32) and (np.diff(daily.units.sum(0)) <= 0).all()
    busy = daily.units[:, :].sum(1) > 0
    assert not daily.units[3::7].any() and busy.mean() > 0.84  # 2010-12-04 is a Saturday
    assert daily.units[-60:].mean() > 1.2 * daily.units[:200].mean()
    assert (synthetic_daily(4, 20, 1).units != synthetic_daily(4, 20, 2).units).any()


@pytest.mark.parametrize("name", ["daily.csv", "daily.csv.gz"])
def test_what_is_written_is_read(name: str, tmp_path: Path) -> None:
    path, daily = str(tmp_path / name), synthetic_daily(5, 40, 9)
    busy = np.flatnonzero(daily.units.sum(1))
    whole = Daily(daily.items, daily.units[busy[0] : busy[-1] + 1])
    write_daily(path, whole)
    assert read_daily(path).items == daily.items and (read_daily(path).units == whole.units).all()


def test_so_many_rows_are_generated(tmp_path: Path) -> None:
    lines = Path(small(tmp_path)).read_text().splitlines()
    assert 2_900 < len(lines) - 1 <= 3_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "line 1: column 'stock_code' is missing"),
        ("stock_code,units\nA,2\n", "line 1: column 'date' is missing"),
        (HEAD, "no sales after the header, at least one line is expected"),
        (HEAD + "A,2011-01-01\n", "line 2: 2 cells, 3 are expected"),
        (HEAD + "A,01/02/2011,5\n", "line 2, column 'date': '01/02/2011', a day like 2011-09-30 is expected"),
        (HEAD + "A,2011-01-01,many\n", "line 2, column 'units': 'many'"),
        (HEAD + "A,2011-01-01,-2\n", "line 2, column 'units': '-2'"),
        (HEAD + "A,2011-01-01,1.5\n", "line 2, column 'units': 1.5, a whole number of units is expected"),
        (HEAD + "A,2011-01-01,2\n", "1 days from the first to the last"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "broken.csv"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_daily(str(path))
    assert said in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def replayed(path: str, **settings: Any) -> Any:
    """Units that customers wanted [T, retailers x P] from the first day on, and the game."""
    game = envs.make("supply_chain_log", 1, trace=path, horizon=100_000, **settings)
    game.reset(0)
    days: int = game.params.replay_days  # type: ignore[attr-defined]
    offset = int(game.world.all[0, 6])
    retail = [j for j in range(game.n_agents) if game.params.tables()["nodes"][j, 6] >= 0]
    found = np.zeros((days, len(retail) * game.params.products))  # type: ignore[attr-defined]
    for t in range(days):
        game.step(np.zeros(game.action.shape))
        found[(offset + t) % days] = item(game, "asked")[0, retail].ravel()
    return found, game


def check_replay(path: str) -> None:
    daily = read_daily(path)
    border = round(len(daily.units) * 0.73)
    for split, part in (("train", slice(0, border)), ("test", slice(border, None))):
        found, _ = replayed(path, split=split)
        best = np.argsort(-daily.units[:border].sum(0), kind="stable")[: found.shape[1]]
        assert (found == daily.units[part][:, best]).all()


def test_the_replay_is_the_file(tmp_path: Path) -> None:
    check_replay(small(tmp_path))


def test_the_replay_is_the_real_file() -> None:
    if not REAL.exists():
        pytest.skip(f"{REAL} is not here: the real demand lies beside the checkout or under MARL_DATA")
    daily = read_daily(str(REAL))
    assert daily.units.shape == (374, 200) and (daily.units > 0).sum() == 46_105
    check_replay(str(REAL))


def test_training_begins_anywhere_and_the_test_at_its_first_day() -> None:
    for split, several in (("train", True), ("test", False)):
        game = envs.make("supply_chain_log", 30, split=split)
        game.reset(0)
        assert (len(set(game.world.all[:, 6].tolist())) > 10) == several


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_season_seen_is_the_weekday_wherever_a_replay_begins(split: str) -> None:
    game = envs.make("supply_chain_log", 30, split=split)
    game.reset(0)
    columns = [list(game.groups["node"].group.observation).index(name) for name in ("season_sine", "season_cosine")]
    seen, asked = [], []
    for _ in range(20):
        seen.append(game.groups["node"].obs[:, 0, columns].copy())
        game.step(np.zeros(game.action.shape))
        asked.append(item(game, "asked").sum((1, 2)))
    angle = 2 * np.pi * 3 / 7  # 2010-12-01 was a Wednesday
    saturday = np.isclose(np.array(seen), [np.sin(angle), np.cos(angle)], atol=1e-6).all(2)
    assert saturday.mean() == pytest.approx(1 / 7, abs=0.05)
    assert not np.array(asked)[saturday].any() and (np.array(asked)[~saturday] > 0).mean() > 0.9


def test_trials_are_the_held_out_days_and_means_are_of_training() -> None:
    game = envs.game("supply_chain_log")
    p: Any = game.make_params()
    (held,) = game.trials(p).values()  # type: ignore[misc]
    assert held.split == "test" and (held.mean == p.mean).all() and held.horizon == 100  # type: ignore[attr-defined]
    assert p.mean[p.mean > 0] == pytest.approx(part_of("synthetic", 4, 0.27, False).mean(0))
    played = follow(envs.make("supply_chain_log", 2, split="test", horizon=60), "base_stock")
    assert (played.metrics[:, :, played.metric_names.index("fill_rate")] > 0.3).all()


def test_other_demand_is_the_other_games() -> None:
    with pytest.raises(UserError, match=r"SupplyLogParams.demand = 'poisson': legal is 'trace'"):
        envs.game("supply_chain_log").make_params(demand="poisson")
    with pytest.raises(UserError, match=r"nowhere\.csv: cannot be read"):
        envs.game("supply_chain_log").make_params(trace="nowhere.csv")
    with pytest.raises(UserError, match="32 items, retailers x products = 40 are expected at most"):
        envs.game("supply_chain_log").make_params(topology="parallel", n_agents=20)
