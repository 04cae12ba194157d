"""Runs in `marl bidders`, `allocators`, `replenishment` and `traders`: who plays among whom, in which setting, on which keys, counted once.

Commands are called as a user types them, on runs that `marl train` made; only their lengths are small.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from experiments.cli import main
from marl import evaluate, rng
from marl.evaluate import seed_of
from marl.team import ScriptedPolicy, parts, scripted
from tests.experiments.conftest import Marl

TINY = [
    "n_envs=4", "algorithm.hidden=[8]", "algorithm.rollout=4", "algorithm.minibatches=1", "evaluation.episodes=4", "evaluation.every=1000",
    "total_steps=32",
]  # fmt: skip
MARKET = {"preset": "tiny", "horizon": 4, "outcomes": "expected"}
TENANTS = {"n_agents": 2, "horizon": 20}
STOCK = {"horizon": 20, "n_agents": 4}
FLOOR = {"horizon": 8}
TRAINED = {
    "bidders": ["env=auction", MARKET, "opponents=dual"],
    "allocators": ["env=allocation_log", TENANTS],
    "replenishment": ["experiment=supply_chain_log", STOCK],
    "traders": ["env=trading", FLOOR],
}
"""Command -> what `marl train` is told of the setting of its table."""
SHOWN: dict[str, tuple[list[str], dict[str, Any]]] = {
    "bidders": (["--episodes", "6"], MARKET),
    "allocators": (["--episodes", "6"], TENANTS),
    "replenishment": ([], {f"env.{key}": value for key, value in STOCK.items()}),
    "traders": (["--episodes", "6"], FLOOR),
}
"""Command -> its options, the setting of its table."""

Train = Callable[..., str]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], str]:
    """Folders of the runs of this file, which are trained once."""
    return {("root",): str(tmp_path_factory.mktemp("runs"))}


@pytest.fixture
def trained(kept: dict[tuple[str, ...], str], capsys: pytest.CaptureFixture[str]) -> Train:
    """`trained("bidders", "seed=1")` -> the folder of a run in the setting of that table, with overrides."""

    def call(command: str, *overrides: str) -> str:
        choice, setting, *more = TRAINED[command]
        assert isinstance(choice, str) and isinstance(setting, dict)
        line = (choice, *(f"env.{key}={value}" for key, value in setting.items()), *map(str, more), *overrides)
        if line not in kept:
            kept[line] = f"{kept['root',]}/{len(kept)}"
            assert main(["train", *TINY, *line, f"run_dir={kept[line]}"]) == 0
            capsys.readouterr()
        return kept[line]

    return call


def table(command: str, *runs: str, **other: Any) -> list[str]:
    """The words of a command that shows a table of these runs, with parameters beside its setting's."""
    options, setting = SHOWN[command]
    return [
        command,
        *(f"{key}={value}" for key, value in {**setting, **other}.items()),
        *options,
        *(w for run in runs for w in ("--run", run)),
    ]


def rows(marl: Marl, words: list[str], page: Path) -> dict[str, list[str]]:
    """Label -> the cells of each row of the page that a command writes; for traders by role and label."""
    said = marl(*words, "-o", str(page))
    assert said.code == 0, said.err
    lines = [line.strip("| ").split(" | ") for line in page.read_text().splitlines() if line.startswith("| ")][2:]
    names = 2 if words[0] == "traders" else 1
    return {" ".join(line[:names]): line[names:] for line in lines}


def copies(name: str, episodes: int, **settings: Any) -> Any:
    """Copies of a game on the episodes of a table of seed 0."""
    game = envs.make(name, episodes, **settings)
    game.reset(seed_of(seed_of(0, "table")))
    return game


def policy_of(run: str, part: str, checkpoint: str = "result") -> Any:
    """The policy of a part of a run."""
    from experiments.stored import loaded

    return loaded(run, checkpoint).run.policies[part]


def first(text: str) -> float:
    """The number that a cell begins with."""
    return float(text.split(" ")[0].replace(",", ""))


@pytest.mark.parametrize(
    ("overrides", "part", "said"),
    [
        ([], "advertiser", "ippo, trained among dual, 1 seed"),
        (["opponents=null", "sharing=none"], "advertiser_0", "ippo, trained together, 1 seed"),
    ],
)
@pytest.mark.parametrize("rivals", ["truthful", "dual"])
def test_bidders_play_among_the_rivals_of_the_heading(
    overrides: list[str], part: str, said: str, rivals: str, marl: Marl, trained: Train, tmp_path: Path
) -> None:
    """Whatever the run's own rivals were, and where all its bidders learned for themselves."""
    run = trained("bidders", *overrides)
    found = rows(marl, [*table("bidders", run), "--rivals", rivals], tmp_path / "page.md")
    game = copies("auction", 6, **MARKET)
    plan = parts(game, "group", learners=1)
    others = scripted(game, plan["advertiser_rivals"], rivals)
    known = evaluate.play(game, plan, {"advertiser": policy_of(run, part), "advertiser_rivals": others}).returns[:, 0].mean()
    assert first(found[said][0]) == pytest.approx(known, rel=1e-3)


def test_a_trader_plays_among_the_house(marl: Marl, trained: Train, tmp_path: Path) -> None:
    run = trained("traders", "opponents=idle")
    found = rows(marl, table("traders", run), tmp_path / "page.md")
    game = copies("trading", 6, **FLOOR)
    plan = parts(game, "group", learners=1)
    seats: dict[str, Any] = {name: scripted(game, part, "house") for name, part in plan.items()}
    known = evaluate.play(game, plan, {**seats, "informed": policy_of(run, "informed", "last")})
    mean = known.returns[:, game.groups["informed"].group.lo].mean()
    assert first(found["informed ippo, trained among idle, 1 seed"][0]) == pytest.approx(mean, abs=6e-4)


def test_one_policy_of_all_tenants_plays_a_table_of_more(marl: Marl, trained: Train, tmp_path: Path) -> None:
    """All four tenants, where two of them had acted on zeros."""
    run = trained("allocators")
    found = rows(marl, table("allocators", run, n_agents=4), tmp_path / "page.md")
    game = copies("allocation_log", 6, **{**TENANTS, "n_agents": 4, "split": "test"})
    played = evaluate.play(game, parts(game, "group"), {"tenant": policy_of(run, "tenant")})
    known = played.metrics[:, :, played.metric_names.index("utility")].mean()
    assert first(found["ippo learners, proportional_share, trained with 2 tenants, 1 seed"][6]) == pytest.approx(known, rel=1e-3)


def test_one_learner_among_scripted_tenants_is_called_so(marl: Marl, trained: Train, tmp_path: Path) -> None:
    found = rows(marl, table("allocators", trained("allocators", "opponents=steady"), n_agents=3), tmp_path / "page.md")
    assert "ippo learner of role tenant among steady, proportional_share, trained with 2 tenants, 1 seed" in found


@pytest.mark.parametrize("overrides", [["sharing=none"], ["algorithm.agent_id=true"]])
def test_policies_of_numbered_tenants_are_refused_in_a_table_of_more(overrides: list[str], marl: Marl, trained: Train) -> None:
    said = marl(*table("allocators", trained("allocators", *overrides), n_agents=4)).refusal
    assert "was made for agents 0 to " in said and "the table has 4 of role tenant" in said


@pytest.mark.parametrize(
    ("command", "other", "key"),
    [
        ("bidders", {"format": "first"}, "format differs, 'gsp' in its training and 'first' in this table"),
        ("bidders", {"horizon": 5}, "horizon differs, 4 in its training and 5 in this table"),
        ("allocators", {"load": 0.3}, "load differs, 0.75 in its training and 0.3 in this table"),
        ("replenishment", {"env.fixed": 5.0}, "fixed differs, 20.0 in its training and 5.0 in this table"),
        ("traders", {"market_makers": 2}, "market_makers differs, 1 in its training and 2 in this table"),
    ],
)
def test_a_run_of_another_setting_is_refused_by_its_key(command: str, other: dict[str, Any], key: str, marl: Marl, trained: Train) -> None:
    run = trained(command)
    assert marl(*table(command, run, **other)).refusal.startswith(f"--run {run}: its env.{key}")


@pytest.mark.parametrize(
    ("command", "other", "label"),
    [
        ("bidders", {"outcomes": "sampled", "auctions_per_tick": 8}, "ippo, trained among dual, 1 seed"),
        ("allocators", {"horizon": 30, "split": "train"}, "ippo learners, proportional_share, 1 seed"),
        ("replenishment", {"env.split": "test"}, "ippo, 1 seed"),
    ],
)
def test_what_a_table_is_about_may_differ(
    command: str, other: dict[str, Any], label: str, marl: Marl, trained: Train, tmp_path: Path
) -> None:
    assert label in rows(marl, table(command, trained(command), **other), tmp_path / "page.md")


@pytest.mark.parametrize("command", SHOWN)
def test_judged_episodes_are_of_no_training_and_chose_nothing(
    command: str, marl: Marl, trained: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of the keys of seeds 0 .. 9 in training, nor of the evaluations by which they chose a policy, nor of their reports."""
    judged: list[set[int]] = []
    plain = evaluate.play

    def play(game: Any, *arguments: Any, **named: Any) -> Any:
        judged.append(set(map(int, game.world.key)))
        return plain(game, *arguments, **named)

    run = trained(command)
    monkeypatch.setattr(evaluate, "play", play)
    assert marl(*table(command, run)).code == 0
    one = judged[0]
    assert all(keys == one for keys in judged) and len(judged) > 4
    for seed in range(10):
        for own in (seed, seed_of(seed), seed_of(seed, "final"), seed_of(seed_of(seed, "final"))):
            assert one.isdisjoint(map(int, rng.keys(own, 0, 256)))


def test_a_search_is_on_episodes_of_its_own(marl: Marl, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: dict[int, set[int]] = {}
    plain = evaluate.play

    def play(game: Any, *arguments: Any, **named: Any) -> Any:
        judged.setdefault(game.n_envs, set()).update(map(int, game.world.key))
        return plain(game, *arguments, **named)

    monkeypatch.setattr(evaluate, "play", play)
    assert marl("traders", "horizon=2", "mechanism=impact", "--episodes", "8", "--search").code == 0
    assert set(judged) == {8, 2} and len(judged[2]) == 2
    assert judged[8].isdisjoint(judged[2])


@pytest.mark.parametrize("command", SHOWN)
def test_a_run_that_is_named_twice_counts_once(command: str, marl: Marl, trained: Train, tmp_path: Path) -> None:
    run = trained(command)
    again = tmp_path / "again"
    again.symlink_to(run)
    copied = tmp_path / "copied"
    shutil.copytree(run, copied)
    words = table(command, run, str(again), str(copied))
    assert "2 seeds" not in " ".join(rows(marl, words, tmp_path / "page.md"))
    said = marl(*words)
    assert f"--run {again} is the run of --run {run}: it counts once" in said.err
    assert f"--run {copied} is the run of --run {run}: it counts once" in said.err


def test_one_seed_of_one_configuration_trained_twice_is_refused(marl: Marl, trained: Train) -> None:
    """Threads change no number worth a seed."""
    one, two = trained("allocators"), trained("allocators", "threads=2")
    assert marl(*table("allocators", one, two)).refusal == (
        f"--run {one} and --run {two}: both have seed = 0 and one configuration, seeds of a row differ; name one"
    )


@pytest.mark.parametrize(
    ("command", "label"), [("allocators", "ippo learners, proportional_share"), ("bidders", "ippo, trained among dual")]
)
def test_seeds_are_of_one_row_and_unlike_runs_of_their_own(command: str, label: str, marl: Marl, trained: Train, tmp_path: Path) -> None:
    runs = [trained(command), trained(command, "seed=1"), trained(command, "algorithm.lr=0.01")]
    found = rows(marl, table(command, *runs), tmp_path / "page.md")
    assert [name for name in found if "ippo" in name] == [
        f"{label} (algorithm.lr=0.0003), 2 seeds",
        f"{label} (algorithm.lr=0.01), 1 seed",
    ]


def test_a_trace_is_one_by_its_content(marl: Marl, trained: Train, tmp_path: Path) -> None:
    """Another path to the same file is the same setting; another file is refused."""
    for name, seed in (("one.csv", 1), ("copy.csv", 1), ("other.csv", 2)):
        drawn = np.random.default_rng(seed)
        lines = [f"{t:.3f},{drawn.integers(50, 3_000)},{drawn.integers(1, 400)}" for t in np.cumsum(drawn.exponential(0.5, 600))]
        (tmp_path / name).write_text("t_s,context_tokens,generated_tokens\n" + "\n".join(lines) + "\n")
    run = trained("allocators", f"env.trace={tmp_path / 'one.csv'}")
    assert "ippo learners, proportional_share, 1 seed" in rows(marl, table("allocators", run, trace="copy.csv"), tmp_path / "page.md")
    assert f"--run {run}: its env.trace differs" in marl(*table("allocators", run, trace="other.csv")).refusal


def test_the_reference_of_bidders_stands_at_one(marl: Marl, tmp_path: Path) -> None:
    """Its own error is that of what it is compared with: the score is 1 and the gain 0 in every resample; naive stands at 0."""
    words = ["bidders", "preset=train", "outcomes=expected", "horizon=24", "auctions_per_tick=16", "--episodes", "32"]
    found = rows(marl, words, tmp_path / "page.md")
    assert found["pid"][1:3] == ["1 [1, 1]", "0 [0, 0]"]
    assert found["random"][1] == "0 [0, 0]"
    low, high = (float(x) for x in found["dual"][1].partition("[")[2].rstrip("]").split(", "))
    assert low < first(found["dual"][1]) < high


def test_what_scores_0_of_a_trader_is_the_best_of_the_naive(marl: Marl, tmp_path: Path) -> None:
    """Drawn quotes lose where not to quote costs nothing."""
    words = ["traders", *(f"{k}={v}" for k, v in FLOOR.items()), "--episodes", "512"]
    found = rows(marl, words, tmp_path / "page.md")
    assert found["market_maker idle"] == ["0.000", "0.00", "0.00", "0.00"]
    assert found["market_maker house"][1:] == ["1.00", "1.00", "1.00"]
    assert float(found["market_maker naive"][1]) < -1
    assert found["momentum house"][1:] == ["-", "-", "-"], "eight ticks are too few for a house that is better than doing nothing"
    assert "no scores of momentum: gap between house and" in marl(*words).out


def test_scripts_of_one_role_are_told_apart_from_the_house(marl: Marl, tmp_path: Path) -> None:
    """By hand: the first of the informed buys and holds, all others are the house."""
    from envs.trading.baselines import by_role

    found = rows(marl, table("traders"), tmp_path / "page.md")
    game = copies("trading", 6, **FLOOR)
    plan = parts(game, "group", learners=1)
    seats: dict[str, Any] = {name: scripted(game, part, "house") for name, part in plan.items()}
    role = "informed"
    played = evaluate.play(game, plan, {**seats, role: ScriptedPolicy(by_role("buy_and_hold"), game.params)})
    assert first(found[f"{role} buy_and_hold"][0]) == pytest.approx(played.returns[:, game.groups[role].group.lo].mean(), abs=6e-4)
