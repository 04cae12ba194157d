"""What a user types, from its first line to its report, changed in nothing but its length: every ladder and every experiment."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import curricula
from curricula import CURRICULA, Curriculum
from marl.judge import Verdict
from marl.track import read_metrics
from tests.experiments.conftest import Marl

EXPERIMENTS = sorted(p.stem for p in (Path(__file__).parents[2] / "experiments" / "conf" / "experiment").glob("*.yaml"))
DEMOS = ("supply_chain_demo", "resource_allocation_demo", "trading_demo")
LADDERS = {
    "auction_formats": ["env=auction"],
    "auction": ["env=auction"],
    "resource_allocation": ["env=cluster"],
    "supply_chain": ["env=supply_chain"],
    "trading": ["env=trading"],
    "trading_demo": ["env=trading", "env.preset=demo"],
}
QUICK = ("auction_formats", "resource_allocation")
"""Ladders that the fast tests begin, beside those of the demos (one of the supply chain, one of trading); the others take minutes."""


def slow_but(names: list[str], quick: tuple[str, ...]) -> list[object]:
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow, id=name) for name in names]


@pytest.fixture
def plain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the fast tests the plain installation, without the extra `planning`: the baseline that it brings takes minutes."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setitem(sys.modules, "scipy.sparse", None)


def reported(folder: Path) -> dict[str, object]:
    """The report that a run left, which has a return whatever else."""
    found: dict[str, object] = json.loads((folder / "evaluation.json").read_text())
    assert isinstance(found["return"], dict) and found["return"]["episodes"] >= 2
    return found


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("name", slow_but(EXPERIMENTS, DEMOS))
def test_an_experiment_runs_to_its_report(name: str, marl: Marl, tmp_path: Path) -> None:
    """A rollout or two, with whatever curriculum, evaluation and ensemble the experiment has."""
    run = tmp_path / "run"
    said = marl("train", f"experiment={name}", *shortest(name), f"run_dir={run}")
    assert said.code == 0, said.err
    if (run / "ensemble.json").exists():
        assert [path for path in run.glob("*/evaluation.json") if reported(path.parent)]
        return
    found = reported(run)
    assert marl("evaluate", str(run), "--episodes", "2").code == 0
    assert found["checkpoint"] in ("best", "last")


def shortest(name: str) -> list[str]:
    """The length of a run that is one epoch, whatever it counts in."""
    from experiments.compose import compose

    episodes = compose([f"experiment={name}"]).config["total_episodes"]
    return ["total_steps=1", "evaluation.every=1"] if episodes is None else ["total_episodes=2", "evaluation.every=2"]


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("name", slow_but(sorted(CURRICULA), QUICK))
def test_a_ladder_starts_on_its_game(name: str, marl: Marl, tmp_path: Path) -> None:
    run = tmp_path / "run"
    length = ["n_envs=8", "total_steps=1024", "evaluation.every=1024"]
    said = marl("train", *LADDERS[name], f"curriculum={name}", "algorithm=ippo", *length, f"run_dir={run}")
    assert said.code == 0, said.err
    rows = [row for row in read_metrics(run / "metrics.jsonl") if "evaluation/return" in row]
    assert all("evaluation/score" in row for row in rows), "a stage is judged by its score"
    assert reported(run)["stage"] == curricula.load(name).stages[0].name


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CURRICULA))
def test_a_ladder_is_walked_to_its_last_stage(name: str, marl: Marl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever scores is led on after one evaluation of a stage, so that every stage is collected in, judged and left."""
    inner, score = curricula.load, Verdict.score.fget  # type: ignore[attr-defined]

    def short(wanted: str, check: object = None) -> Curriculum:
        return Curriculum([replace(s, window=1, minimum_steps=0) for s in inner(wanted).stages], check)  # type: ignore[arg-type]

    monkeypatch.setattr(curricula, "load", short)
    monkeypatch.setattr(Verdict, "score", property(lambda verdict: None if score(verdict) is None else 1.0))
    run, stages = tmp_path / "run", curricula.load(name).stages
    steps = 256 * (len(stages) + 1)
    said = marl(
        "train", *LADDERS[name], f"curriculum={name}", "algorithm=ippo", "n_envs=8", "algorithm.rollout=32",
        f"total_steps={steps}", "evaluation.every=256", f"run_dir={run}",
    )  # fmt: skip
    assert said.code == 0, said.err
    walked = [row["curriculum/stage"] for row in read_metrics(run / "metrics.jsonl")]
    assert sorted(set(walked)) == list(range(len(stages)))
    assert reported(run)["stage"] == stages[-1].name
