"""Known answers of trading, learned: over five seeds (slow), that each preset runs at all, `marl traders`, pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.trading import theory
from experiments import run_folder
from experiments.build import copies_of, run_of
from experiments.compose import compose
from experiments.training import execute
from marl.evaluate import evaluate
from marl.team import parts, scripted
from tests.experiments.conftest import Marl

SEEDS = range(5)
TINY = [
    "n_envs=4",
    "algorithm.rollout=4",
    "algorithm.minibatches=1",
    "algorithm.hidden=[8]",
    "evaluation.episodes=4",
    "evaluation.every=1000",
]
PRESETS = {
    "avellaneda_stoikov": ["env.horizon=8"],
    "almgren_chriss": [],
    "liquidation_race": ["env.preset=ten_sellers"],
    "predators": [],
    "kyle": ["env.rounds=4"],
    "trading_mixed": ["env.horizon=8"],
}


def trained(experiment: str, path: Path, *overrides: str) -> Any:
    """(setup, run with its last policies) of a finished run."""
    setup = compose([f"experiment={experiment}", f"run_dir='{path}'", *overrides])
    execute(setup, run_folder.create(path, setup.config), quiet=True)
    run = run_of(setup, run_folder.RunFolder(path))
    run.load("last.pt")
    return setup, run


def played(setup: Any, run: Any, episodes: int = 4_096, baseline: str | None = None, **other: Any) -> Any:
    """The learners, or everybody by a baseline, on the same episodes; parameters may differ from those of the training."""
    make = copies_of(setup)
    if baseline is None:
        return evaluate(lambda n: make(other, n), run.plan, run.policies, episodes, run.seed)
    sample = make(other, 1)
    plan = parts(sample, "group")
    seats = {name: scripted(sample, part, baseline) for name, part in plan.items()}
    return evaluate(lambda n: make(other, n), plan, seats, episodes, run.seed)


@pytest.mark.parametrize("experiment", PRESETS)
def test_presets_run(experiment: str, tmp_path: Path) -> None:
    setup, run = trained(experiment, tmp_path / "run", *TINY, *PRESETS[experiment], "total_steps=32")
    found = played(setup, run, 2)
    assert np.isfinite(found.metrics).all() and np.isfinite(found.returns).all()


def test_the_demo_is_the_one_that_is_documented() -> None:
    setup = compose(["experiment=trading_demo"])
    p: Any = setup.params
    assert (p.executors, p.n_agents, p.symbols, p.horizon, p.cash) == (4, 4, "AAPL GOOGL TSLA MSFT", 1_000, 100_000)
    assert (p.taker_fee, p.permanent, p.regime) == (0.001, 0.0001, "volatile")
    assert setup.config["total_episodes"] == 2_000 and setup.config["algorithm"]["hidden"] == [256, 256]


@pytest.mark.parametrize("arguments", [["market_makers=2"], ["mechanism=impact", "--search", "--episodes", "2"]])
def test_traders_side_by_side(marl: Marl, arguments: list[str], tmp_path: Path) -> None:
    said = marl("traders", "horizon=8", "--episodes", "4", *arguments, "-o", str(tmp_path / "docs" / "trading.md"))
    assert said.code == 0 and "avellaneda_stoikov" in said.out and "informed_beta" in said.out
    assert (tmp_path / "docs" / "trading.md").read_text().count("\n| ") > 10


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["horizon"], "marl traders horizon: key=value is expected"),
        (["horizon=0"], "TradingParams.horizon = 0 ticks: legal range is"),
        (["--episodes", "1"], "--episodes = 1: legal are whole numbers from 2"),
    ],
)
def test_refusals_of_traders(marl: Marl, arguments: list[str], said: str) -> None:
    assert said in marl("traders", *arguments).refusal


@pytest.mark.parametrize(
    ("game", "given", "baseline"),
    [
        ("trading", ["env.horizon=12"], "house"),
        ("trading", ["env.horizon=12", "env.mechanism=impact", "env.market_makers=10"], "random"),
        ("quoting", ["env.horizon=12"], "inventory"),
        ("liquidation", [], "almgren_chriss"),
        ("liquidation", ["env.preset=two_sellers"], "nash"),
    ],
)
def test_pages_of_episodes(marl: Marl, game: str, given: list[str], baseline: str, tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    assert marl("replay", f"env={game}", *given, "--baseline", baseline, "-o", str(page)).code == 0
    assert page.read_bytes()[:4] == b"\x89PNG" and page.stat().st_size > 20_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        ["env=trading", "curriculum=trading", "algorithm=ippo", "n_envs=8", "total_steps=1024", "evaluation.every=1024"],
        ["experiment=trading_demo", "total_episodes=32"],
    ],
)
def test_ladders_are_walked_to_their_report(marl: Marl, given: list[str], tmp_path: Path) -> None:
    assert marl("train", *given, f"run_dir={tmp_path / 'run'}").code == 0
    assert (tmp_path / "run" / "evaluation.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_maker_learns_to_quote_as_well_as_the_inventory_strategy(seed: int, tmp_path: Path) -> None:
    """At least 97 % of its utility, profit less gamma sigma^2/2 x inventory^2 dt, on the same episodes with unlimited quotes for it."""
    setup, run = trained("avellaneda_stoikov", tmp_path / "run", f"seed={seed}")
    learned = played(setup, run).metric("utility").mean()
    known = played(setup, run, baseline="inventory", deepest=30.0, beyond=30.0).metric("utility").mean()
    print(f"avellaneda_stoikov seed {seed}: utility {learned:.3f}, inventory strategy {known:.3f}, {learned / known:.2%}")
    assert learned >= 0.97 * known


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_an_executor_learns_the_efficient_schedule(seed: int, tmp_path: Path) -> None:
    """E + lambda V within 3 % of the optimum, whose own mean on the same episodes takes the luck out."""
    setup, run = trained("almgren_chriss", tmp_path / "run", f"seed={seed}")
    known = setup.game.known(setup.params)["utility"]
    gap = (played(setup, run, baseline="almgren_chriss").returns - played(setup, run).returns).mean()
    found, best = (x * setup.params.scale for x in (known + gap, known))
    print(f"almgren_chriss seed {seed}: E + lambda V {found:,.0f}, optimum {best:,.0f}, {gap / known:+.2%}")
    assert gap < 0.03 * known


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("preset", "nash"), [("two_sellers", 1.0184), ("ten_sellers", 1.1069)])
def test_sellers_race_to_nash_and_together_they_do_not(preset: str, nash: float, seed: int, tmp_path: Path) -> None:
    """Independent learners within 2 % of the Nash total; those who share their reward below it, nearer to 1 than to Nash."""
    totals = {}
    for reward in ("individual", "team_sum"):
        setup, run = trained("liquidation_race", tmp_path / reward, f"env.preset={preset}", f"reward={reward}", f"seed={seed}")
        totals[reward] = float(played(setup, run, 512).metric("total_cost").mean())
    exact = setup.game.known(setup.params)["total_cost"]
    alone, together = totals["individual"], totals["team_sum"]
    print(f"{preset} seed {seed}: independent {alone:.4f}, cooperative {together:.4f}, Nash {nash} ({exact:.4f} in 20 ticks)")
    assert alone == pytest.approx(nash, rel=0.02)
    assert together < alone and together < (1 + nash) / 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_kyles_insider_and_maker(seed: int, tmp_path: Path) -> None:
    setup, run = trained("kyle", tmp_path / "run", f"seed={seed}")
    found = played(setup, run, 1_024)
    beta, impact = float(found.metric("intensity").mean()), float(found.metric("chosen_impact").mean())
    known = theory.kyle(1, 2.0, 3.0)
    print(f"kyle seed {seed}: beta {beta:.4f} of {known.intensity:.4f}, lambda {impact:.4f} of {known.impact:.4f}")
    assert beta == pytest.approx(known.intensity, rel=0.05) and impact == pytest.approx(known.impact, rel=0.05)


@pytest.mark.slow
def test_a_mixed_population_trains_for_a_million_steps_without_a_violated_law(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maker, executor, informed and momentum on one book; every residual of the ledger is looked at on every step."""
    from marl.vector import VectorGame

    plain, seen = VectorGame.tick, {"steps": 0}

    def tick(self: VectorGame) -> None:
        plain(self)
        assert not self.residual.any()
        seen["steps"] += self.n_envs

    monkeypatch.setattr(VectorGame, "tick", tick)
    setup, run = trained("trading_mixed", tmp_path / "run")
    assert setup.config["total_steps"] >= 1_000_000 and seen["steps"] >= 1_000_000
    found = played(setup, run, 256)
    print({role: float(found.returns[:, part].mean()) for role, part in found.roles.items()}, f"{seen['steps']:,} steps")
