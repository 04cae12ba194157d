"""The replay of a log: its twin, its money, its file format, and the figures of the real log where that is at hand."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from envs.auction_log import AUCTION_LOG, trials
from envs.auction_log.baselines import bids, shares_between, tuned
from envs.auction_log.data import read_log
from envs.auction_log.params import AuctionLogParams
from marl import UserError, VectorGame
from tests.envs.addressed import draws_of
from tests.envs.auction_oracle import replay

DATA = Path(os.environ.get("MARL_DATA") or Path(__file__).parents[3] / "shared" / "data") / "auction" / "ipinyou_1458_rtbcontrol"
ROWS = 300


def write(path: Path, seed: int, rows: int = ROWS) -> str:
    """A small log in which clicks are likely where pCTR is high."""
    g = np.random.default_rng(seed)
    price, pctr = g.integers(0, 60, rows), np.round(g.beta(1, 9, rows), 6)
    click = (g.random(rows) < pctr).astype(int)
    path.write_text("".join(f"{c}\t{p}\t{q:.6f}\t{1 + i % 3}\n" for i, (c, p, q) in enumerate(zip(click, price, pctr))))
    return str(path)


@pytest.fixture
def logs(tmp_path: Path) -> dict[str, str]:
    return {"train": write(tmp_path / "train.txt", 1), "test": write(tmp_path / "test.txt", 2)}


def at(game: VectorGame, name: str) -> Any:
    return game.metrics[:, :, game.metric_names.index(name)]


def play(game: VectorGame, baseline: str) -> VectorGame:
    game.reset(0)
    for _ in range(game.params.horizon):  # type: ignore[attr-defined]
        rows = game.obs.reshape(-1, game.obs.shape[2])
        action = game.game.baselines[baseline](game.params, rows, np.random.default_rng(0))
        game.step(action.reshape(game.action.shape).astype(np.float32))
        assert not game.residual.any()
    return game


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("vary", [True, False])
def test_equals_the_twin(logs: dict[str, str], n: int, vary: bool) -> None:
    for number in range(12):
        g = np.random.default_rng(number)
        horizon, share = int(g.integers(1, 40)), float(g.choice([1.0, 0.3, 0.05]))
        game = envs.make("auction_log", 1, **logs, n_agents=n, horizon=horizon, vary=vary, budget=share, budget_low=0.02)
        game.reset(number)
        actions = np.stack([np.exp(g.uniform(-2, 2, (horizon, n))), g.random((horizon, n))], axis=2)
        if number % 2:
            actions[:] = np.round(actions[:, :1], 1)  # equal bids, so that the seed decides
        share, start = float(game.world.share[0]), int(game.world.start[0])
        assert (share, start) == (game.params.budget, 0) or vary  # type: ignore[attr-defined]
        for t in range(horizon):
            game.step(actions[t][None])
            assert not game.residual.any()
        actions = np.clip(actions, [1 / 16, 0], [8, 1])
        twin = replay(game.params, share, start, actions, draws_of(int(game.world.key[0])))  # type: ignore[arg-type]
        for name, metric in (("spent", "spend"), ("wins", "wins"), ("clicks", "clicks"), ("expected", "expected_clicks")):
            np.testing.assert_allclose(at(game, metric)[0], twin[name], rtol=1e-9, err_msg=f"{number} {name}")


def test_a_bid_below_the_price_earns_nothing(tmp_path: Path) -> None:
    """Prices 10 and 100 in turn, a click in each: who bids 50 gets the cheap half and pays 10 for each of them."""
    path = tmp_path / "log.txt"
    path.write_text("1\t10\t0.5\n1\t100\t0.5\n" * 20)
    game = envs.make("auction_log", 1, train=str(path), test=str(path), vary=False, budget=1.0, horizon=4)
    game.reset(0)
    paid = []
    for _ in range(4):
        game.step([[[50 / 55, 0.0]]])
        paid.append(game.components[0, 0].tolist())
    assert paid == [[5.0, 5.0]] * 4
    assert at(game, "clicks") == 20 and at(game, "wins") == 20 and at(game, "spend") == 200
    game.step([[[99.99 / 55, 0.0]]])
    assert game.components[0, 0, 1] == 5
    game.step([[[100 / 55, 0.0]]])
    assert game.components[0, 0, 1] == 10


def test_rivals_pay_each_others_bids(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("click,price,pctr\n" + "1,10,0.5\n" * 64)
    game = envs.make("auction_log", 50, train=str(path), test=str(path), n_agents=3, vary=False, budget=1.0, horizon=1)
    game.reset(0)
    game.step(np.broadcast_to([[4.0, 0], [3.0, 0], [0.5, 1]], game.action.shape))
    assert (at(game, "spend")[:, 0] == 21 * 30).all()  # the rival's bid each time, until 10 of 640 are left
    assert (at(game, "spend")[:, 2] == 0).all()
    game.step(np.full(game.action.shape, [2.0, 0]))
    wins = at(game, "wins")
    assert np.abs(wins.mean(0) - wins.mean()).max() < 2


def test_budget_is_a_share_of_the_total_and_drawn_log_uniformly(logs: dict[str, str]) -> None:
    game = envs.make("auction_log", 4000, **logs, budget=0.5, budget_low=0.125)
    game.reset(1)
    share = game.world.share
    assert 0.125 <= share.min() < 0.126 and 0.499 < share.max() <= 0.5
    assert np.median(share) == pytest.approx(0.25, rel=0.05)
    assert len(np.unique(game.world.start)) > 290
    test = envs.make("auction_log", 3, **logs, split="test", budget=0.25)
    test.reset(1)
    assert (test.world.share == 0.25).all() and (test.world.start == 0).all()
    assert (test.world.purse == int(0.25 * read_log(logs["test"]).price.sum())).all()


def test_hostile_actions_keep_the_books(logs: dict[str, str]) -> None:
    game = envs.make("auction_log", 16, **logs, n_agents=3, horizon=20)
    game.reset(0)
    g = np.random.default_rng(0)
    for _ in range(50):
        game.step(g.choice([-np.inf, -1, 0, 1e-9, 0.5, 1, 8, 1e300], game.action.shape))
        assert not game.residual.any()
        assert np.isfinite(game.obs).all() and (game.world.left >= 0).all()
        for i, column in enumerate(game.groups["advertiser"].group.observation.values()):
            assert (game.final_obs[..., i] >= column.low - 1e-6).all() and (game.final_obs[..., i] <= column.high + 1e-6).all()


def test_tuning_is_the_best_of_its_search(logs: dict[str, str]) -> None:
    p = AuctionLogParams(**logs, horizon=1, vary=False, budget=0.1)
    for slope in (0.0, 1.0):
        clicks = [replay(p, 0.1, 0, [[(b / p.base, slope)]], draws_of(0))["clicks"][0] for b in bids(p.base)]
        assert tuned(p, slope) == pytest.approx(bids(p.base)[int(np.argmax(clicks))] / p.base)
    play(envs.make("auction_log", 4, **logs), "linear")
    assert shares_between(1 / 32, 0.5) == pytest.approx(0.5 ** np.arange(5, 0, -1))
    assert shares_between(0.25, 0.25).tolist() == [0.25]


def test_baselines_do_not_read_the_test_log(logs: dict[str, str], tmp_path: Path) -> None:
    other = write(tmp_path / "other.txt", 3)
    for name in AUCTION_LOG.baselines:
        one, two = (envs.make("auction_log", 1, train=logs["train"], test=t, split="test") for t in (logs["test"], other))
        for game in (one, two):
            play(game, name)
        assert at(one, "multiplier") == at(two, "multiplier")


def test_trials_are_the_test_log_at_three_budgets(logs: dict[str, str]) -> None:
    found = trials(AuctionLogParams(**logs))
    assert {name: (p.split, p.budget, p.varies) for name, p in found.items()} == {
        "1/2": ("test", 1 / 2, 0),
        "1/8": ("test", 1 / 8, 0),
        "1/32": ("test", 1 / 32, 0),
    }


def test_headers_and_delimiters(tmp_path: Path, logs: dict[str, str]) -> None:
    log = read_log(logs["train"])
    named = tmp_path / "named.csv"
    rows = zip(log.pctr, log.click, log.price)
    named.write_text("id,pCTR,click,price\n" + "".join(f"x,{q},{c},{p}\n" for q, c, p in rows))
    for mine, theirs in zip(read_log(str(named)), log):
        assert (mine == theirs).all()


GOOD = "0\t20\t0.01\t3\n1\t30\t0.02\t3\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("click,price,pctr\n", "no auctions after the header"),
        ("click,price\n0,20\n", "line 1: column 'pctr' is missing"),
        ("0\t20\n", "line 1: 2 columns and no header"),
        (GOOD + "0\t20\t0.01\n", "line 3: 3 cells, 4 are expected"),
        (GOOD + "0\t20\tmuch\t3\n", "line 3, column 'pctr': 'much', a probability in [0, 1] is expected"),
        (GOOD + "0\t20\t1.5\t3\n", "line 3, column 'pctr': '1.5'"),
        (GOOD + "2\t20\t0.5\t3\n", "line 3, column 'click': '2', 0 or 1 is expected"),
        (GOOD + "0\t-1\t0.5\t3\n", "line 3, column 'price': '-1', a whole number"),
        (GOOD + "0\t20.5\t0.5\t3\n", "line 3, column 'price': '20.5'"),
        (GOOD + "0\tnan\t0.5\t3\n", "line 3, column 'price': 'nan'"),
        ("0\t20\t0.01\t3\n" * 99, "no click among 99 auctions"),
        (GOOD, "horizon = 50 ticks: legal for the 2 auctions"),
        ("1\t0\t0.5\t3\n" * 99, "the price column is 0 throughout"),
    ],
)
def test_broken_logs_are_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "log.txt"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        AuctionLogParams(train=str(path), test=str(path))
    assert said in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"train": "absent.txt", "test": "absent.txt"}, "absent.txt: cannot be read"),
        ({"train": ""}, "AuctionLogParams.train = '': the path of a log is expected"),
        ({"train": "train.txt"}, "two files are expected, or none"),
        ({"budget": 0.0}, "legal range is [1e-06, 1]"),
        ({"budget": 1.5}, "AuctionLogParams.budget = 1.5 share of the log's total cost"),
        ({"split": "both"}, "legal are train, test"),
    ],
)
def test_illegal_parameters_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        AUCTION_LOG.make_params(**given)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_linear_beats_constant_on_the_synthetic_log() -> None:
    p = replace(AuctionLogParams(), split="test", budget=1 / 16)
    clicks = [float(at(play(VectorGame(AUCTION_LOG, 1, p), name), "expected_clicks")[0, 0]) for name in ("constant", "linear")]
    assert clicks[1] > 1.5 * clicks[0] > 0


@pytest.mark.skipif(not DATA.is_dir(), reason="no data beside the project: MARL_DATA names its folder")
def test_clicks_on_the_real_log() -> None:
    """iPinYou campaign 1458, tuned on train.txt, scored on test.txt."""
    p = AuctionLogParams(train=str(DATA / "train.txt"), test=str(DATA / "test.txt"))
    found = {
        name: [int(at(play(VectorGame(AUCTION_LOG, 1, q), b), "clicks")[0, 0]) for b in ("linear", "constant")]
        for name, q in trials(p).items()
    }
    assert found == {"1/2": [48, 34], "1/8": [23, 10], "1/32": [16, 2]}
