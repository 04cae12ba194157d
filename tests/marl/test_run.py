"""A run's course: what happens when, what is written, how it ends, and that a broken one goes on as if it had not been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import algorithms
from algorithms.settings import Replayed
from curricula import Curriculum, Stage
from marl import checkpoint
from marl.errors import UserError
from marl.judge import Judge, Verdict
from marl.schedule import COMPLETE, Progress, Schedule
from marl.track import read_metrics
from marl.train import Run
from marl.vector import VectorGame
from tests.bazaar import BAZAAR
from tests.commons import COMMONS
from tests.lanes import SMALL, paid
from tests.marl.test_resume import assert_equal_runs
from tests.resumable import served
from tests.riddles import BARGAIN

PLAN = Schedule(total=96, evaluation_every=24, evaluation_episodes=4, checkpoint_every=40)
"""Of two copies and rollouts of four ticks: rows at 0, 8, ..., 96."""
EASY = Stage("easy", {"growth": 1.0}, promote=0.5, on="return", window=1)
HARD = Stage("hard", {"growth": 0.125}, demote=-0.5, on="return", window=1)


def made(folder: Path, schedule: Schedule = PLAN, name: str = "ippo", game: Any = COMMONS, **given: Any) -> Run:
    folder.mkdir(exist_ok=True)
    settings = algorithms.settings_of(name)(**{**SMALL[name], "rollout": 4, "anneal": False, **given.pop("own", {})})
    size = {"n_agents": 3, "horizon": 6} if game is COMMONS else {"n_agents": 3} if game is BARGAIN else {"horizon": 6}
    given = {"seed": 3, "n_envs": 2, "folder": folder, "reward": paid(name), **given}
    return Run(lambda stage, n: VectorGame(game, n, **size, **stage), algorithms.load(name), settings, schedule, **given)


def done(folder: Path, *args: Any, **given: Any) -> tuple[Any, list[dict[str, Any]]]:
    """(outcome, rows) of a run from its beginning to its end."""
    run = made(folder, *args, **given)
    run.start()
    return run.run(), read_metrics(folder / "metrics.jsonl")


class Told:
    """A judge whose verdicts have these returns, one after the other; the last one again and again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, returns: Sequence[float]) -> None:
        self.returns, self.asked = list(returns), 0
        true = Judge.verdict

        def verdict(judge: Judge, policies: Any, baselines: bool = False) -> Verdict:
            value = self.returns[min(self.asked, len(self.returns) - 1)]
            self.asked += 1
            found = true(judge, policies, baselines)
            return Verdict(replace(found.evaluation, returns=np.full_like(found.evaluation.returns, value)), {})

        monkeypatch.setattr(Judge, "verdict", verdict)


# ---- the schedule --------------------------------------------------------------------------------------------------


def test_rows_evaluations_and_checkpoints_come_when_they_are_due(tmp_path: Path) -> None:
    told: list[Progress] = []
    saved: list[int] = []

    def watch(progress: Progress) -> None:
        told.append(progress)
        saved.append(checkpoint.load(tmp_path / "last.pt")["trainer"][1])

    outcome, rows = done(tmp_path, watch=watch)
    steps = list(range(0, 97, 8))
    assert [row["step"] for row in rows] == steps
    assert [row["step"] for row in rows if "evaluation/return" in row] == [0, 24, 48, 72, 96]
    assert saved == [0] * 5 + [40] * 5 + [80] * 2 + [96]
    assert [(p.done, p.total, p.steps) for p in told] == [(s, 96, s) for s in steps]
    assert [p.row for p in told] == [{k: v for k, v in row.items() if k != "step"} for row in rows]
    assert (outcome.steps, outcome.ended) == (96, COMPLETE)
    times = read_metrics(tmp_path / "timings.jsonl")
    assert [row["step"] for row in times] == steps
    assert [row["episodes"] for row in times] == [row["train/episodes"] for row in rows]


def test_a_row_holds_what_was_learned_collected_and_evaluated(tmp_path: Path) -> None:
    _, rows = done(tmp_path)
    train = {"return", "length", "harvester/return", "harvested", "cost/depletion"}
    evaluation = {"return", "length", "harvester/return", "harvested"}
    loss = {f"loss/harvester/{k}" for k in ("loss", "actor_loss", "vf_loss", "ent_loss", "gradient_steps")}
    always = {"step", "train/episodes"}
    assert set(rows[0]) == always | {f"evaluation/{k}" for k in evaluation}
    assert set(rows[1]) == always | loss  # no episode of six ticks has ended after four
    assert set(rows[3]) == always | loss | {f"train/{k}" for k in train} | {f"evaluation/{k}" for k in evaluation}
    assert [row["train/episodes"] for row in rows[:5]] == [0, 0, 2, 4, 4]
    assert rows[3]["train/length"] == 6.0
    assert rows[3]["train/return"] == pytest.approx(rows[3]["train/harvested"]) == pytest.approx(rows[3]["train/cost/depletion"])
    assert rows[3]["train/return"] > 0


def test_a_run_in_episodes_ends_after_so_many(tmp_path: Path) -> None:
    plan = Schedule(total=9, unit="episodes", evaluation_every=4, evaluation_episodes=4, checkpoint_every=100)
    outcome, rows = done(tmp_path, plan)
    assert [row["train/episodes"] for row in rows] == [0, 0, 2, 4, 4, 6, 8, 8, 10]
    assert [row["train/episodes"] for row in rows if "evaluation/return" in row] == [0, 4, 8, 10]
    assert (outcome.steps, outcome.ended) == (64, COMPLETE)


@pytest.mark.parametrize("total", [1, 90, 96, 97])
def test_a_total_is_rounded_up_to_whole_epochs(total: int, tmp_path: Path) -> None:
    assert done(tmp_path, replace(PLAN, total=total))[0].steps == -(-total // 8) * 8


def test_numbered_checkpoints_are_kept(tmp_path: Path) -> None:
    done(tmp_path, replace(PLAN, checkpoint_every=16, keep=3))
    found = sorted(p.name for p in tmp_path.glob("step_*.pt"))
    assert found == [f"step_{n:012d}.pt" for n in (64, 80, 96)]
    assert checkpoint.load(tmp_path / found[0])["trainer"][1] == 64
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("field", "value"), [("total", 0), ("evaluation_every", 0), ("checkpoint_every", -1), ("keep", -1), ("unit", "days")]
)
def test_a_schedule_refuses_what_cannot_be(field: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"{field} = "):
        replace(PLAN, **{field: value})


# ---- best and patience ---------------------------------------------------------------------------------------------


def test_the_best_evaluation_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Told(monkeypatch, [1.0, 3.0, 2.0, 3.0, -1.0])
    outcome, _ = done(tmp_path, reward="team_mean")
    assert (outcome.best, outcome.best_step, outcome.chosen) == (3.0, 24, True)
    again = made(tmp_path, reward="team_mean")
    assert again.load() == 24
    assert again.load("last.pt") == 96 and again.has_best
    again.close()


@pytest.mark.parametrize("given", [{"reward": "team_sum"}, {"rivals": "random"}])
def test_the_untrained_policy_is_never_the_best(given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there before the first update has learned nothing, however well it does."""
    Told(monkeypatch, [9.0, 1.0, 2.0, 1.5])
    outcome, _ = done(tmp_path, **given)
    assert (outcome.best, outcome.best_step, outcome.chosen) == (2.0, 48, True)
    again = made(tmp_path, **given)
    assert again.load("best.pt") == 48
    again.close()


def test_where_several_learn_for_themselves_none_is_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How one does among the references, or all together, is not what any of them is after: the last policies are the result."""
    Told(monkeypatch, [1.0, 3.0, 2.0])
    outcome, _ = done(tmp_path)
    assert not outcome.chosen and not (tmp_path / "best.pt").exists() and (tmp_path / "last.pt").exists()


def test_patience_ends_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """24 steps lie between evaluations: the one at 24 is the best, 48 steps later patience ends."""
    Told(monkeypatch, [-5.0, -4.0, -4.0, -4.5])
    outcome, rows = done(tmp_path, replace(PLAN, total=10_000, patience=48))
    assert outcome.ended == "no better evaluation for 48 steps"
    assert (outcome.steps, outcome.best, outcome.best_step) == (72, -4.0, 24)
    assert "evaluation/return" in rows[-1]
    resumed = made(tmp_path, replace(PLAN, total=10_000, patience=48))
    resumed.resume()
    assert resumed.run() == outcome


@pytest.mark.parametrize(("reward", "best"), [("individual", 9.0), ("team_mean", 3.0)])
def test_a_team_is_best_by_its_return_others_by_score(reward: str, best: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Told(monkeypatch, [1.0, 3.0, 2.0])
    monkeypatch.setattr(Verdict, "score", 9.0)
    assert done(tmp_path, reward=reward)[0].best == best


def test_the_best_is_the_learners_not_their_rivals(tmp_path: Path) -> None:
    """Where one learns among scripted ones, rows and the best are of its own return."""
    outcome, rows = done(tmp_path, rivals="random")
    run = made(tmp_path, rivals="random")
    run.load("last.pt")
    seen = run._judge.verdict(run.policies).evaluation
    run.close()
    assert seen.learners.tolist() == [True, False, False]
    assert rows[-1]["evaluation/return"] == pytest.approx(seen.returns[:, 0].mean())
    assert outcome.best == max(row["evaluation/return"] for row in rows if "evaluation/return" in row)


# ---- curricula -----------------------------------------------------------------------------------------------------


def test_a_curriculum_moves_on_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promoted at 24, demoted at 48, promoted at 96: copies, judge and scripted rivals follow; a row's stage is its own."""
    Told(monkeypatch, [0.0, 1.0, -1.0, 0.0, 1.0, 0.0])
    growths: list[tuple[float, ...]] = []
    run = made(tmp_path, replace(PLAN, total=128), curriculum=Curriculum([EASY, HARD]), rivals="random")

    def watch(_: Progress) -> None:
        rival = run.policies["harvester_rivals"]
        growths.append(
            (run._copies.params.growth, rival._params.growth, run._judge._sample.params.growth, run._collector.copies.params.growth)
        )

    run._watch = watch
    run.start()
    streams = {id(run.policies["harvester_rivals"].generator)}
    outcome = run.run()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    stage = [row["curriculum/stage"] for row in rows]
    assert stage == [0] * 4 + [1] * 3 + [0] * 6 + [1] * 4
    growth = [1.0] * 3 + [0.125] * 3 + [1.0] * 6 + [0.125] * 5
    assert growths == [(g, g, g, g) for g in growth]
    assert {id(run.policies["harvester_rivals"].generator)} == streams
    assert run._curriculum is not None and run._curriculum.state_dict()["history"] == [
        [24, "easy", "hard"],
        [48, "hard", "easy"],
        [96, "easy", "hard"],
    ]
    assert (outcome.best, outcome.best_step) == (0.0, 120)  # the best of the stage that it ended in
    assert rows[4]["train/episodes"] == rows[3]["train/episodes"]  # the episodes of a stage begin with it


def test_a_stage_of_other_columns_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Told(monkeypatch, [1.0])
    stages = [replace(EASY, params={"n_sellers": 1}), replace(HARD, params={"n_sellers": 2})]
    run = made(tmp_path, game=BAZAAR, curriculum=Curriculum(stages))
    with pytest.raises(UserError, match=r"stage 1 has parts .* the policies were made for"):
        run.start()


# ---- resume --------------------------------------------------------------------------------------------------------


class Killed(Exception):
    """The process is gone."""


def broken(folder: Path, at: Sequence[int], **given: Any) -> None:
    """A run that is killed when its rows reach these steps, and resumed with another seed each time."""
    for i, step in enumerate([*at, -1]):

        def watch(progress: Progress, step: int = step) -> None:
            if progress.steps == step:
                raise Killed

        extra = {"curriculum": given["curriculum"]()} if "curriculum" in given else {}
        run = made(folder, **{**given, **extra, "watch": watch, "seed": 3 if i == 0 else 70 + i})
        if step < 0:
            run.resume()
            run.run()
            continue
        run.resume()
        with pytest.raises(Killed):
            run.run()


MIXED = [name for name in sorted(algorithms.ALGORITHMS) if algorithms.settings_of(name).serves == "any"]
"""Algorithms that learn the mixed actions of the bazaar; the others would refuse them."""


@pytest.mark.parametrize(("name", "game"), [*((n, served(n)) for n in sorted(algorithms.ALGORITHMS)), *((n, BAZAAR) for n in MIXED)])
@pytest.mark.parametrize("rivals", [None, "random"])
def test_a_broken_run_is_the_whole_run(name: str, game: Any, rivals: str | None, tmp_path: Path) -> None:
    """Between a checkpoint and the next, with rivals that draw, with agents that leave."""
    epoch = 256 if issubclass(algorithms.settings_of(name), Replayed) else 8  # steps: off-policy 128 ticks, on-policy a rollout
    plan = Schedule(6 * epoch, evaluation_every=3 * epoch, evaluation_episodes=4, checkpoint_every=2 * epoch)
    own = {"anneal": True, **({"return_scaling": True} if name == "ippo" else {})}
    given = {"schedule": plan, "name": name, "game": game, "rivals": rivals, "own": own}
    done(tmp_path / "whole", **given)
    broken(tmp_path / "broken", [epoch, 3 * epoch, 5 * epoch], **given)
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")


def test_a_broken_curriculum_is_the_whole_one(tmp_path: Path) -> None:
    """Stages change at 24, 48, 72, ...: killed right after, just before, and rows after a change that no checkpoint covers."""

    def curriculum() -> Curriculum:
        easy, hard = (replace(EASY, promote=-1e9, minimum_steps=20), replace(HARD, demote=1e9, minimum_steps=20))
        return Curriculum([easy, hard])

    plan = replace(PLAN, total=160)
    _, rows = done(tmp_path / "whole", plan, curriculum=curriculum(), rivals="random")
    assert len({row["curriculum/stage"] for row in rows}) == 2
    broken(tmp_path / "broken", [24, 32, 64, 72, 120], schedule=plan, curriculum=curriculum, rivals="random")
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")


def test_a_finished_run_is_done(tmp_path: Path) -> None:
    outcome, _ = done(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    again = made(tmp_path, seed=9)
    again.resume()
    assert again.run() == outcome
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_finished_run_goes_on_to_a_larger_total(tmp_path: Path) -> None:
    """To the bit the run that had that total from the start, where nothing anneals."""
    done(tmp_path / "parts", replace(PLAN, total=48))
    longer = made(tmp_path / "parts", PLAN)
    longer.resume()
    assert longer.run().steps == 96
    done(tmp_path / "whole")
    assert_equal_runs(tmp_path / "parts", tmp_path / "whole")


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    one, two = made(tmp_path), made(tmp_path)
    one.start()
    with pytest.raises(UserError, match="being written by another run"):
        two.resume()
    one.run()
    two.resume()
    assert two.run().ended == COMPLETE


def test_a_checkpoint_of_another_team_is_refused(tmp_path: Path) -> None:
    done(tmp_path)
    with pytest.raises(UserError, match=r"saved team has parts \['harvester'\]: expected \['harvester_0', 'harvester_1', 'harvester_2'\]"):
        made(tmp_path, sharing="none").resume()
