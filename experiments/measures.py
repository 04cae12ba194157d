"""What `marl answers` measures of a learned auction, and what counts as the right answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from experiments.tables import number

if TYPE_CHECKING:
    from experiments.compose import Setup
    from experiments.run_folder import RunFolder
    from marl.train import Run

NEAR = 0.03
"""Farthest that a learned multiplier may lie from the equilibrium's."""
EXPLOITABLE = 0.02
"""Largest gain of a best response, as a share of the equilibrium utility."""
EARNED = 0.98
"""Least surplus against truthful rivals, as a share of the equilibrium surplus."""
EPISODES = 4_096
"""Evaluation episodes: with 256 auctions each, the surplus is known to some thousandths of itself."""
RESPONSE_STEPS = 61_440
"""Environment steps of a best response's training: half of the learner's own."""


@dataclass(frozen=True)
class Case:
    """A game with a known answer: the preset of choices that learns it, and what is asked of it."""

    experiment: str
    title: str
    agents: int
    asked: str
    drawn: bool


CASES = (
    Case("first_price", "first price, 2 bidders", 2, "multiplier", drawn=True),
    Case("first_price_five", "first price, 5 bidders", 5, "multiplier", drawn=True),
    Case("second_price", "second price, 1 learner against a truthful rival", 2, "surplus", drawn=False),
)


@dataclass(frozen=True)
class Answer:
    """What one seed learned. Money is $ per auction of agent 0; low and high end a 95 % interval over episodes.

    `exploitability` is exact, from the closed form, None where there is none; `response` is what a trained best response gains.
    """

    case: str
    seed: int
    multiplier: float
    theory: float
    std: float
    utility: float
    surplus: float
    surplus_low: float
    surplus_high: float
    exploitability: float | None
    response: float | None
    response_low: float | None
    response_high: float | None
    seconds: float


def measure(case: Case, setup: Setup, folder: RunFolder, began: float) -> Answer:
    """The answer in a finished run's last checkpoint; `began` is when its work began, by the monotonic clock."""
    from experiments.build import copies_of, run_of
    from marl import stats
    from marl.evaluate import evaluate

    assert setup.game is not None and setup.game.known is not None
    known = setup.game.known(setup.params)
    run = run_of(setup, folder)
    run.load("last.pt")
    make = copies_of(setup)
    seen = evaluate(lambda n: make({}, n), run.plan, run.policies, EPISODES, run.seed)
    multiplier = float(seen.metric("multiplier")[:, 0].mean())
    surplus = stats.interval(stats.mean, seen.metric("surplus")[:, 0], seed=run.seed)
    found = Answer(
        case.experiment, run.seed, multiplier, known["multiplier"], deviation(run), known["surplus"],
        surplus.point, surplus.low, surplus.high, None, None, None, None, 0.0,
    )  # fmt: skip
    if case.asked == "multiplier":
        found = _attacked(found, case, setup, run)
    return replace(found, seconds=time.monotonic() - began)


def _attacked(found: Answer, case: Case, setup: Setup, run: Run) -> Answer:
    """With the gain of a best response: exact, and of one that was trained."""
    import algorithms
    from envs.auction.theory import first_price_exploitability
    from experiments.build import copies_of
    from marl.exploit import exploitability

    gain = exploitability(
        copies_of(setup), algorithms.load(setup.config["algorithm"]["name"]), setup.settings, run.plan, run.policies,
        next(iter(run.plan.values())).group.name, steps=RESPONSE_STEPS, n_envs=run.n_envs, episodes=EPISODES, seed=run.seed,
    )  # fmt: skip
    exact = first_price_exploitability(case.agents, found.multiplier)
    return replace(found, exploitability=exact, response=gain.mean, response_low=gain.low, response_high=gain.high)


def deviation(run: Run) -> float:
    """Standard deviation of the learned policy's multiplier, in units of the action table; its scale is linear, so any mean will do."""
    policy: Any = next(iter(run.policies.values()))
    columns, raw = policy.actor.columns, policy.actor.log_std.detach().exp().cpu().numpy()
    return float(columns.deviation(0.0 * raw, raw)[0])


HEAD = (
    "seed", "multiplier", "theory", "difference", "policy std", "surplus [95 %]", "of theory",
    "exploitable, exact", "best response [95 %]", "s",
)  # fmt: skip


def cells(a: Answer) -> list[Any]:
    """An answer as a row under HEAD; gains as shares of the equilibrium utility."""
    response = "" if a.response is None else _interval(*(share(a, x) for x in (a.response, a.response_low, a.response_high)))
    return [
        a.seed, round(a.multiplier, 4), a.theory, f"{a.multiplier - a.theory:+.4f}", round(a.std, 4),
        f"{a.surplus:.4f} [{a.surplus_low:.4f}, {a.surplus_high:.4f}]", f"{share(a, a.surplus):.2%}",
        "" if a.exploitability is None else f"{share(a, a.exploitability):.2%}", response, round(a.seconds),
    ]  # fmt: skip


def share(a: Answer, money: float | None) -> float:
    """Money as a share of the equilibrium utility."""
    assert money is not None
    return money / a.utility


def _interval(mean: float, low: float, high: float) -> str:
    return f"{mean:.2%} [{low:.2%}, {high:.2%}]"


def over_seeds(answers: Sequence[Answer]) -> str:
    """Mean multiplier with its 95 % interval over seeds, Student's: a bootstrap of three is too narrow."""
    from marl import stats

    found = stats.student_interval([a.multiplier for a in answers])
    mean = f"{number(found.point)} [{number(found.low)}, {number(found.high)}]"
    return f"mean multiplier over {len(answers)} seeds: {mean}; theory {number(answers[0].theory)}"


def verdicts(case: Case, answers: Sequence[Answer]) -> list[tuple[bool, str]]:
    """What is asked of a case: whether it holds for every seed, in words with the worst seed's number."""
    if case.asked == "surplus":
        least = min(share(a, a.surplus) for a in answers)
        return [(least >= EARNED, f"{case.title}: surplus at least {least:.2%} of {answers[0].utility:.4f} (asked: {EARNED:.0%})")]
    farthest = max(abs(a.multiplier - a.theory) for a in answers)
    gain = max(share(a, max(a.exploitability or 0.0, a.response or 0.0)) for a in answers)
    return [
        (farthest <= NEAR, f"{case.title}: multipliers within {farthest:.4f} of {answers[0].theory:.4g} (asked: {NEAR})"),
        (gain <= EXPLOITABLE, f"{case.title}: exploitability at most {gain:.2%} of the equilibrium utility (asked: {EXPLOITABLE:.0%})"),
    ]
