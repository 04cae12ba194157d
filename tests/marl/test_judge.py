"""What a judge says of policies whose worth is known in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.auction.theory import second_price_utility
from marl.judge import Judge, interval
from marl.score import pool
from marl.team import parts
from marl.vector import VectorGame
from tests.bazaar import BAZAAR
from tests.constant import always, auction

EPISODES = 512
NAIVE = float(np.mean([second_price_utility(a) for a in np.linspace(0.0, 1.5, 4_001)]))
"""Of a multiplier drawn from U[0, 1.5] against a truthful rival."""


def judge(episodes: int = EPISODES, rivals: bool = False, seed: int = 1) -> Judge:
    plan = parts(auction("second_price_two", 1), "group", 1 if rivals else None)
    return Judge(lambda n: auction("second_price_two", n), plan, episodes, seed, trained_focal=rivals)


def test_the_score_is_the_closed_form() -> None:
    """One bidder plays the policy, the other bids the truth, the equilibrium: J = (a - a^2/2)/3, J_reference = 1/6."""
    one = judge(4_096)
    for multiplier in (0.5, 1.0, 1.4):
        verdict = one.verdict({"advertiser": always(multiplier)})
        found = verdict.scores["advertiser"]
        u = second_price_utility(multiplier)
        assert (found.learned, found.naive, found.reference) == pytest.approx((u, NAIVE, 1 / 6), abs=0.0025)
        assert found.mean == pytest.approx((u - NAIVE) / (1 / 6 - NAIVE), abs=0.06)
        assert found.low < (u - NAIVE) / (1 / 6 - NAIVE) + 0.02
        assert found.high > (u - NAIVE) / (1 / 6 - NAIVE) - 0.02
        assert verdict.score == found.mean
        assert (found.kind, found.naive_name, found.against.name) == ("focal_evaluated", "random", "equilibrium")


def test_naive_is_the_better_of_doing_nothing_and_drawn_actions() -> None:
    """First price, four bidders: multipliers above 1 pay more than values, so drawn ones lose money and doing nothing earns 0."""
    four = {"n_agents": 4, "format": "first"}
    plan = parts(auction("first_price_two", 1, four), "group")
    one = Judge(lambda n: auction("first_price_two", n, four), plan, 512, 1, trained_focal=False)
    found = one.verdict({"advertiser": always(0.5)}).scores["advertiser"]
    assert (found.naive_name, found.naive, found.against.name) == ("idle", 0.0, "equilibrium")
    assert found.mean == pytest.approx(found.learned / found.reference)


def test_a_stage_names_what_scores_0_and_1() -> None:
    plan = parts(auction("second_price_two", 1), "group")
    one = Judge(lambda n: auction("second_price_two", n), plan, 512, 1, False, reference="truthful", naive="shaded")
    found = one.verdict({"advertiser": always(1.0)}).scores["advertiser"]
    assert (found.naive_name, found.against.name, found.mean) == ("shaded", "truthful", 1.0)


def test_the_reference_scores_one_exactly() -> None:
    """The same bids on the same draws."""
    assert judge().verdict({"advertiser": always(1.0)}).score == 1.0
    rivals = judge(rivals=True).verdict({"advertiser": always(1.0), "advertiser_rivals": always(1.0)})
    assert rivals.score == 1.0
    assert rivals.scores["advertiser"].kind == "focal_trained"


def test_everybody_is_evaluated_together_and_baselines_beside_them() -> None:
    """Both halve their bids: the winner pays half the loser's value, welfare stays, so the surplus is (2/3 - 1/6)/2 each."""
    verdict = judge().verdict({"advertiser": always(0.5)}, baselines=True)
    row = verdict.row()
    assert row["evaluation/return"] == pytest.approx(0.25, abs=0.003)
    assert row["evaluation/advertiser/return"] == row["evaluation/return"]
    assert row["evaluation/multiplier"] == 0.5
    assert row["evaluation/length"] == 1.0
    assert row["evaluation/score"] == row["evaluation/advertiser/score"] == verdict.score
    assert set(verdict.baselines) == {"truthful", "shaded", "paced", "equilibrium", "idle", "random"}
    means = {name: float(e.by_episode.mean()) for name, e in verdict.baselines.items()}
    assert means["truthful"] == means["equilibrium"] == pytest.approx(1 / 6, abs=0.003)
    assert means["shaded"] == row["evaluation/return"]


FOUR = {"n_agents": 4, "format": "first"}


def four(reward: str = "individual", rivals: bool = False) -> Judge:
    """First price with four bidders: all together earn .2 (1 - a) each with a multiplier a, at the equilibrium a = 3/4."""
    plan = parts(auction("first_price_two", 1, FOUR), "group", 1 if rivals else None, reward)
    return Judge(lambda n: auction("first_price_two", n, FOUR), plan, 4_096, 1, trained_focal=rivals)


def test_the_score_of_all_is_the_closed_form() -> None:
    """Doing nothing earns nothing and scores 0, the equilibrium 1; all who bid half their values are better off than there."""
    one = four()
    verdict = one.verdict({"advertiser": always(0.5)})
    found = verdict.together
    assert found is not None and (found.kind, found.naive_name, found.against.name) == ("welfare", "idle", "equilibrium")
    assert (found.learned, found.naive, found.reference) == pytest.approx((0.1, 0.0, 0.05), abs=0.003)
    assert found.mean == pytest.approx(2.0, abs=0.05) and found.low <= found.mean <= found.high
    assert verdict.row()["evaluation/welfare_score"] == verdict.report(0)["together"]["mean"] == found.mean
    assert one.verdict({"advertiser": always(0.75)}).together.mean == 1.0  # type: ignore[union-attr]


def test_an_equilibrium_that_earns_all_less_than_drawn_bids_scores_nobody() -> None:
    """Second price: whoever draws its bids pays the others less than truth does, so that a score of all would be upside down."""
    found = judge(4_096).verdict({"advertiser": always(0.5)}).together
    assert found is not None and found.mean is None and "it is no reference here" in found.reason


def test_the_score_of_all_needs_that_all_learn() -> None:
    assert judge(64, rivals=True).verdict({"advertiser": always(1.0), "advertiser_rivals": always(1.0)}).together is None
    team = four("team_sum").verdict({"advertiser": always(0.75)})
    assert team.together is not None and team.together.kind == "cooperative" and team.together.mean == 1.0


def test_baselines_that_a_setting_has_not_are_refused_by_name() -> None:
    """First price under the market's law: the equilibrium has no closed form, the other baselines play."""
    first = {"format": "first", "horizon": 2, "auctions_per_tick": 4}
    one = Judge(lambda n: auction("market", n, first), parts(auction("market", 1, first), "group"), 4, 1, trained_focal=False)
    verdict = one.verdict({"advertiser": always(1.0)}, baselines=True)
    assert set(verdict.refused) == {"equilibrium"}
    assert "equilibrium" not in verdict.baselines
    assert {"truthful", "random"} <= set(verdict.baselines)


def test_a_verdict_repeats_itself() -> None:
    one, two = judge(64), judge(64)
    first = one.verdict({"advertiser": always(0.7)})
    one.verdict({"advertiser": always(1.2)})
    assert one.verdict({"advertiser": always(0.7)}).report(0) == first.report(0) == two.verdict({"advertiser": always(0.7)}).report(0)
    assert judge(64, seed=2).verdict({"advertiser": always(0.7)}).report(0) != first.report(0)


def test_naive_and_reference_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from marl import judge as module

    played: list[int] = []
    inner = module.evaluate
    monkeypatch.setattr(module, "evaluate", lambda *a, **k: played.append(1) or inner(*a, **k))
    one = judge(16)
    counts = []
    for _ in range(3):
        del played[:]
        one.verdict({"advertiser": always(0.7)})
        counts.append(len(played))
    assert counts == [7, 2, 2]


def test_few_episodes_give_no_score_but_its_reason() -> None:
    verdict = judge(1).verdict({"advertiser": always(0.7)})
    assert verdict.score is None
    assert "evaluation/score" not in verdict.row()
    assert "episodes" in verdict.scores["advertiser"].reason


def test_a_game_without_a_reference_has_no_score() -> None:
    copies = VectorGame(BAZAAR, 1)
    plan = parts(copies, "group")
    verdict = Judge(lambda n: VectorGame(BAZAAR, n, horizon=5), plan, 4, 0, trained_focal=False).verdict(
        {"seller": always(5.0, 1.0), "buyer": always(1.0, 1.0)}, baselines=True
    )
    assert verdict.scores == {}
    assert verdict.score is None
    assert set(verdict.baselines) == {"random"}
    row = verdict.row()
    assert row["evaluation/return"] == pytest.approx((2 * row["evaluation/seller/return"] + 3 * row["evaluation/buyer/return"]) / 5)
    report = verdict.report(0)
    assert (report["score"], report["scores"]) == (None, {})


def test_a_report_has_intervals_over_episodes() -> None:
    verdict = judge().verdict({"advertiser": always(0.5)})
    report: dict[str, Any] = verdict.report(0)
    assert report["return"] == interval(verdict.evaluation, 0)
    assert report["return"]["low"] < report["return"]["mean"] < report["return"]["high"]
    error = verdict.evaluation.by_episode.std() / EPISODES**0.5
    assert report["return"]["high"] - report["return"]["low"] == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert report["score"] == report["scores"]["advertiser"]
    assert pool([[verdict.scores["advertiser"]]])[0, 0] == report["score"]["mean"]
