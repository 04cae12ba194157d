"""Which baselines stand beside what was learned on the market: each behaviour of the roles that are there once."""

from __future__ import annotations

from functools import partial

import numpy as np

import envs
from envs.trading.baselines import STRATEGIES
from marl.evaluate import evaluate
from marl.judge import Judge
from marl.team import parts, scripted
from marl.vector import VectorGame

GAME = envs.GAMES["trading"]
SMALL = {"horizon": 30}


def named(**given: object) -> list[str]:
    assert GAME.beside is not None
    return list(GAME.beside(GAME.make_params(**given)))


def test_among_executors_no_maker_and_no_taker_is_told_of() -> None:
    """Whose strategies would all play as the house does."""
    assert named(preset="demo") == ["house", "naive", "wait", "twap", "pov", "almgren_chriss"]


def test_where_all_roles_trade_only_synonyms_are_left_out() -> None:
    everybody = named(portfolios=1, market_makers=1, executors=1, informed=1, momentum=1)
    assert set(STRATEGIES) - set(everybody) == {"leaning", "posted", "informed_beta", "kelly"}, "the house, by other names"


def test_what_is_left_out_earns_what_a_baseline_of_the_report_earns() -> None:
    params = GAME.make_params(preset="demo", **SMALL)
    make = partial(VectorGame, GAME, params=params)
    sample = make(1)
    plan = parts(sample, "group")
    returns = {name: evaluate(make, plan, {n: scripted(sample, p, name, 0) for n, p in plan.items()}, 4, 1).returns for name in STRATEGIES}
    told = set(named(preset="demo", **SMALL))
    for name in set(STRATEGIES) - told:
        assert any(np.array_equal(returns[name], returns[other]) for other in told), name


def test_a_report_plays_these_alone() -> None:
    params = GAME.make_params(preset="demo", **SMALL)
    make = partial(VectorGame, GAME, params=params)
    sample = make(1)
    plan = parts(sample, "all")
    verdict = Judge(make, plan, 2, 3, True).verdict({n: scripted(sample, p, "house", 0) for n, p in plan.items()}, baselines=True)
    assert [*verdict.baselines, *verdict.refused] == [*named(preset="demo", **SMALL), "random"]
