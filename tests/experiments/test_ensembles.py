"""Ensembles from the command line and from Python: beside each member on the same episodes; what cannot act together is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
import experiments
from experiments import compose
from experiments.cli import main
from experiments.run_folder import config_hash
from marl.errors import UserError
from tests.commons import COMMONS
from tests.experiments.conftest import TINY, Marl
from tests.riddles import SHELF

REPLAYED = ["algorithm.warm_up=20", "algorithm.batch=16", "algorithm.rollout=1"]
RUNS: Mapping[str, list[str]] = {
    "ippo": ["algorithm.lr=0.01", "sharing=none"],
    "isac": ["algorithm=isac", *REPLAYED],
    "idqn": ["algorithm=idqn", "algorithm.agent_id=true", *REPLAYED],
    "rich": ["env.capacity=50", "total_steps=20"],
    "three": ["env.n_agents=3", "total_steps=20"],
    "alone": ["opponents=random", "total_steps=20"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each kind."""
    root = tmp_path_factory.mktemp("members")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(envs.GAMES, "harvest", COMMONS)
        patched.setitem(envs.GAMES, "shelf", SHELF)
        for name, given in RUNS.items():
            assert main(["train", *TINY, "total_steps=60", f"run_dir={root / name}", *given]) == 0
        assert main(["train", "env=shelf", *TINY[3:], "total_steps=20", f"run_dir={root / 'shelf'}"]) == 0
    return root


@pytest.fixture(autouse=True)
def shelf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(envs.GAMES, "shelf", SHELF)


@pytest.mark.parametrize("kind", ["mean", "vote", "uncertainty"])
def test_beside_its_members_on_the_same_episodes(kind: str, runs: Path, marl: Marl, tmp_path: Path) -> None:
    members = [str(runs / name) for name in ("ippo", "isac", "idqn")]
    out = tmp_path / "report.json"
    said = marl("evaluate", *members, "--ensemble", kind, "--episodes", "8", "--weights", "2", "1", "1", "-o", str(out))
    assert said.code == 0
    assert all(words in said.out for words in (f"ensemble, {kind}", *members, "random", "episodes: 8"))
    report = json.loads(out.read_text())
    assert [m["weight"] for m in report["members"]] == [0.5, 0.25, 0.25]
    assert [m["algorithm"] for m in report["members"]] == ["ippo", "isac", "idqn"]
    for other in [*report["members"], *report["baselines"].values()]:
        assert other["gain"]["mean"] == pytest.approx(report["return"]["mean"] - other["return"]["mean"], abs=1e-6)
    assert report["other_settings"] == {}


def test_one_member_is_itself(runs: Path) -> None:
    team = experiments.ensemble([runs / "idqn"], "uncertainty")
    report = team.evaluate(8)
    assert report["members"][0]["gain"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert report["members"][0]["return"] == report["return"]


def test_it_acts_from_python(runs: Path) -> None:
    team = experiments.ensemble([runs / "ippo", runs / "isac", str(runs / "idqn")], "mean")
    obs = np.random.default_rng(0).random((7, 2, 2)).astype(np.float32)
    parts = [experiments.ensemble([runs / name]).act(obs) for name in ("ippo", "isac", "idqn")]
    assert np.allclose(team.act(obs), np.mean(parts, 0), atol=1e-6)
    one = team.act({"harvester_1": obs[3, 1]})
    assert np.allclose(one["harvester_1"], np.mean(parts, 0)[3, 1], atol=1e-6)


def test_learners_among_rivals(runs: Path) -> None:
    """Agent 0 is the ensemble's, the others play their script."""
    report = experiments.ensemble([runs / "alone", runs / "alone"], "vote").evaluate(4)
    assert report["members"][0]["gain"]["mean"] == 0.0
    assert report["members"][0]["run"] == str(runs / "alone")


def test_members_of_another_setting_are_told(runs: Path, marl: Marl) -> None:
    said = marl("evaluate", str(runs / "ippo"), str(runs / "rich"), "--ensemble", "mean", "--episodes", "4")
    assert f"{runs / 'rich'} was trained with env.capacity = 50.0; played as {runs / 'ippo'}" in said.out


REFUSED = {
    "another game": (["ippo", "shelf"], ["--ensemble", "mean"], ["shelf plays shelf", "ippo harvest", "one game"]),
    "another number of agents": (["ippo", "three"], ["--ensemble", "mean"], ["three", "ippo", "agents of harvester, 3 against 2"]),
    "other learners": (["ippo", "alone"], ["--ensemble", "mean"], ["alone", "harvester_1 learned"]),
    "no run": (["ippo", "nowhere"], ["--ensemble", "mean"], ["nowhere': no run there"]),
    "unknown kind": (["ippo", "isac"], ["--ensemble", "median"], ["ensemble = 'median'", "mean, vote, uncertainty"]),
    "too few weights": (["ippo", "isac"], ["--ensemble", "mean", "--weights", "1"], ["weights = 1", "2 numbers"]),
    "a text for a weight": (["ippo", "isac"], ["--ensemble", "mean", "--weights", "much"], ["--weights", "'much'"]),
    "temperature": (["ippo", "isac"], ["--ensemble", "mean", "--temperature", "0"], ["temperature = 0.0"]),
    "one episode": (["ippo", "isac"], ["--ensemble", "mean", "--episodes", "1"], ["episodes = 1"]),
    "unknown checkpoint": (["ippo", "isac"], ["--ensemble", "mean", "--checkpoint", "worst"], ["checkpoint = 'worst'"]),
    "no folder for the report": (["ippo", "isac"], ["--ensemble", "mean", "-o", "no/where.json"], ["no/where.json", "folder that exists"]),
    "a best response": (["ippo", "isac"], ["--ensemble", "mean", "--best-response", "9"], ["--best-response 9"]),
    "several runs": (["ippo", "isac"], [], ["one run is expected, or --ensemble"]),
    "weights of one run": (["ippo"], ["--weights", "1"], ["--weights", "--ensemble"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(case: str, runs: Path, marl: Marl) -> None:
    names, options, expected = REFUSED[case]
    refusal = marl("evaluate", *(str(runs / name) for name in names), *options).refusal
    assert [words for words in expected if words not in refusal] == []


def test_an_unreadable_member_is_named(runs: Path, marl: Marl, tmp_path: Path) -> None:
    shutil.copytree(runs / "isac", tmp_path / "torn")
    (tmp_path / "torn" / "best.pt").write_bytes(b"torn")
    assert (
        f"{tmp_path / 'torn' / 'best.pt'} cannot be read"
        in marl("evaluate", str(runs / "ippo"), str(tmp_path / "torn"), "--ensemble", "mean").refusal
    )


def conf(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration of ours with two more experiments: a member, and an ensemble."""
    ours = folder / "conf"
    shutil.copytree(compose.CONF, ours)
    (ours / "experiment" / "slow_ippo.yaml").write_text("# @package _global_\nalgorithm: {lr: 0.001}\n")
    (ours / "experiment" / "two.yaml").write_text(f"# @package _global_\nensemble: {text}\n")
    monkeypatch.setattr(compose, "CONF", ours)


def test_members_are_trained_in_turn_and_resumed(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf("{members: [slow_ippo, shelved], kind: vote}", tmp_path, monkeypatch)
    shutil.copy(compose.CONF / "experiment" / "slow_ippo.yaml", compose.CONF / "experiment" / "shelved.yaml")
    root = tmp_path / "both"
    given = ["train", *TINY, "experiment=two", f"run_dir={root}", "total_steps=20"]
    said = marl(*given)
    assert said.code == 0 and "ensemble, vote" in said.out
    report = json.loads((root / "ensemble.json").read_text())
    assert [m["run"] for m in report["members"]] == [str(root / "slow_ippo"), str(root / "shelved")]
    metrics = (root / "slow_ippo" / "metrics.jsonl").read_bytes()
    shutil.rmtree(root / "shelved")  # as if it had been killed before its second member
    assert marl(*given).code == 0
    assert (root / "slow_ippo" / "metrics.jsonl").read_bytes() == metrics
    assert json.loads((root / "ensemble.json").read_text()) == report


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{members: [slow_ippo, slow_ippo]}", "every member once is expected"),
        ("{members: [slow_ippo, two]}", "two is an ensemble itself"),
        ("{members: [slow_ippo, nobody]}", "nobody"),
        ("{members: [slow_ippo], kind: best}", "ensemble.kind = 'best': legal is one of mean, vote, uncertainty"),
    ],
)
def test_an_ensemble_is_refused_before_it_trains(
    text: str, message: str, marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf(text, tmp_path, monkeypatch)
    assert message in marl("train", *TINY, "experiment=two", f"run_dir={tmp_path / 'r'}").refusal
    assert not (tmp_path / "r").exists()


def test_an_ensemble_is_no_run_of_a_sweep(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf("{members: [slow_ippo]}", tmp_path, monkeypatch)
    said = marl("train", "-m", *TINY, "experiment=two", f"run_dir={tmp_path / 'r'}")
    assert said.code == 2 and "an ensemble is trained by marl train without -m" in said.err


def test_no_members_are_refused() -> None:
    for none in ([], "runs/one"):
        with pytest.raises(UserError, match="a list of run folders"):
            experiments.ensemble(none)


def as_trained_on_cuda(folder: Path) -> None:
    """The run's configuration and manifest as a machine with a GPU would have written them."""
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("device: cpu", "device: cuda"))
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    manifest["config_hash"] = config_hash(experiments.run_folder.RunFolder(folder).read_config())
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_run_of_another_device_is_played_on_the_cpu(runs: Path, marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    real = torch.zeros

    def zeros(*size: Any, **how: Any) -> Any:
        if how.get("device") == "cuda":
            raise RuntimeError("Found no NVIDIA driver on your system.\nCheck it.")
        return real(*size, **how)

    shutil.copytree(runs / "ippo", tmp_path / "far")
    as_trained_on_cuda(tmp_path / "far")
    monkeypatch.setattr(torch, "zeros", zeros)
    said = marl("evaluate", str(tmp_path / "far"), "--episodes", "8")
    near = marl("evaluate", str(runs / "ippo"), "--episodes", "8")
    assert (said.code, said.out) == (0, near.out)
    (line,) = said.err.splitlines()
    assert line.startswith(f"marl: warning: {tmp_path / 'far'} was trained on another device (device = 'cuda': ")
    assert marl("evaluate", str(tmp_path / "far"), str(runs / "isac"), "--ensemble", "vote", "--episodes", "4").code == 0
    assert "device = 'cuda'" in marl("resume", str(tmp_path / "far"), "total_steps=80").refusal
