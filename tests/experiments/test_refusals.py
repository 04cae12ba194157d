"""Bad input: every case is one line on stderr that names the thing, its value and what is legal, and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from marl import extras
from marl.errors import UserError
from tests.experiments.conftest import TINY, Marl

SPEAKER_LISTENER = "env.factory=mpe2.simple_speaker_listener_v4:parallel_env"
CASES = {
    "unknown key of the game": (["env.capacitty=3"], ["env.capacitty", "no such key", "closest: capacity"]),
    "unknown key of the algorithm": (["algorithm.epoch=3"], ["algorithm.epoch", "closest: epochs"]),
    "unknown key of the run": (["sed=3"], ["sed", "closest: seed"]),
    "unknown nested key": (["evaluation.evry=3"], ["evaluation.evry", "every, episodes"]),
    "unknown weight": (["env.weights.havest=1"], ["env.weights.havest", "closest: harvest"]),
    "text for a whole number": (["env.n_agents=abc"], ["env.n_agents = 'abc'", "a whole number in [1, 128] agents"]),
    "fraction for a whole number": (["env.n_agents=1.5"], ["env.n_agents = '1.5'", "a whole number"]),
    "text for a number": (["algorithm.lr=fast"], ["algorithm.lr = 'fast'", "a number in [0, 10]"]),
    "text in a list": (["algorithm.hidden=[8,x]"], ["algorithm.hidden[1] = 'x'", "a whole number"]),
    "game's parameter out of range": (["env.n_agents=500"], ["n_agents = 500 agents", "[1, 128]"]),
    "not a number": (["env.growth=nan"], ["growth = nan 1/tick", "[0, 4]"]),
    "setting out of range": (["algorithm.lr=-1"], ["algorithm.lr = -1.0", "[0, 10]"]),
    "run's key out of range": (["seed=-1"], ["seed = -1", "a whole number in [0, "]),
    "null where a value is needed": (["seed=null"], ["seed", "a whole number"]),
    "none of the options": (["log_level=LOUD"], ["log_level = 'LOUD'", "DEBUG, INFO, WARNING, ERROR"]),
    "unknown game": (["env=harvst"], ["env = 'harvst'", "closest: harvest", "pettingzoo"]),
    "unknown algorithm": (["algorithm=ipo"], ["algorithm = 'ipo'", "idqn, ippo", "closest: ippo"]),
    "algorithm in capitals": (["algorithm=PPO"], ["algorithm = 'PPO'", "closest: ippo"]),
    "no algorithm": (["algorithm="], ["algorithm = ''", "idqn, ippo"]),
    "setting without its prefix": (["gamma=0.9"], ["gamma: no such key, legal is algorithm.gamma"]),
    "parameter without its prefix": (["n_agents=3"], ["n_agents: no such key, legal is env.n_agents"]),
    "number for a list": (["algorithm.hidden=64"], ["algorithm.hidden is no list", "a list like [64, 64]"]),
    "number for a table": (["evaluation=5"], ["evaluation has keys of its own", "every or episodes"]),
    "device without numbers": (["device=meta"], ["device = 'meta'", "cpu, and cuda"]),
    "sharing": (["sharing=shared"], ["sharing = 'shared'", "all, group, none"]),
    "one value of a team, paid to each": (["algorithm=qmix"], ["reward = 'individual'", "'qmix'", "team_sum, team_mean"]),
    "one value of a team, each a team": (["algorithm=vdn", "reward=team_sum", "sharing=none"], ["sharing = 'none'", "'vdn'", "all, group"]),
    "reward": (["reward=team"], ["reward = 'team'", "individual, team_sum, team_mean"]),
    "unknown curriculum": (["curriculum=fromats"], ["curriculum = 'fromats'", "auction_formats"]),
    "unknown tracker": (["tracker=wand"], ["tracker = 'wand'", "closest: wandb"]),
    "unknown preset of choices": (["experiment=nope"], ["experiment = 'nope'"]),
    "unknown preset of parameters": (["env.preset=foo"], ["harvest.preset = 'foo'"]),
    "unknown profile": (["profile=dev"], ["profile = 'dev'", "development, production"]),
    "unknown baseline": (["opponents=truthfull"], ["opponents = 'truthfull'", "random"]),
    "one episode": (["evaluation.episodes=1"], ["evaluation.episodes = 1", "[2, "]),
    "no folder": (["run_dir="], ["run_dir = ''", "the path of a folder"]),
    "folder for Hydra": (["hydra.run.dir=/tmp/x"], ["hydra.run.dir = '/tmp/x'", "run_dir"]),
    "nothing for a whole number": (["n_envs=null"], ["n_envs = null", "a whole number in [1, "]),
    "name that is too long": (["run_dir=" + 300 * "x"], ["File name too long"]),
    "unknown device": (["device=quantum"], ["device = 'quantum'"]),
    "curriculum of another game": (
        ["curriculum=auction_formats"],
        ["auction_formats is a curriculum of auction", "env = 'harvest' has none"],
    ),
    "curriculum of another game that has some": (
        ["env=auction", "algorithm=ippo", "curriculum=trading_demo"],
        ["trading_demo is a curriculum of trading", "legal with env = 'auction' are auction_formats, auction, none"],
    ),
    "what a key is called elsewhere": (["algorithm.learning_rate=1"], ["algorithm.learning_rate: no such key", "closest: lr"]),
    "what a key without its prefix is called elsewhere": (["learning_rate=1"], ["learning_rate: no such key, legal is algorithm.lr"]),
    "clicks from more to fewer": (
        ["env=auction", "algorithm=ippo", "env.click_low=0.5"],
        ["click_low = 0.5 clicks", "up to click_high = 0.05"],
    ),
    "clicks to fewer": (["env=auction", "algorithm=ippo", "env.click_high=1e-05"], ["click_low = 0.02 clicks", "up to click_high = 1e-05"]),
    "no value": (["seed"], ["override 'seed'", "key=value"]),
    "no key": (["=3"], ["override '=3'", "key=value"]),
    "added key": (["+foo=1"], ["override '+foo=1'", "every key is declared"]),
    "removed key": (["~seed"], ["override '~seed'", "every key is declared"]),
    "sweep without -m": (["seed=1,2"], ["override 'seed=1,2'", "-m"]),
    "two choices": (["env=[a,b]"], ["env = ['a', 'b']", "the name of a choice"]),
    "name beside the choice": (["env.name=auction"], ["env.name", "env=auction"]),
    "broken reference": (["env.n_agents=${nope}"], ["env.n_agents", "nope"]),
    "two lengths": (["total_steps=10", "total_episodes=3"], ["total_steps = 10 and total_episodes = 3"]),
    "no factory": (["env=pettingzoo"], ["env.factory is not given"]),
    "factory without a function": (["env=pettingzoo", "env.factory=tests.commons"], ["env.factory = 'tests.commons'", "module:name"]),
    "factory in no module": (["env=pettingzoo", "env.factory=nowhere:env"], ["env.factory = 'nowhere'", "no module named"]),
    "list for the arguments of a factory": (["env=pettingzoo", "env.factory=a:b", "env.kwargs=[1]"], ["env.kwargs", "a table like {"]),
    "shared by different columns": (["env=pettingzoo", SPEAKER_LISTENER, "sharing=all"], ["sharing = 'all'"]),
    "module that is not there": (["--module", "nowhere.to.be"], ["--module = 'nowhere.to.be'", "no module named"]),
    "unknown option": (["--sed"], ["--sed"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused_in_one_line(case: str, marl: Marl, tmp_path: Path) -> None:
    given, expected = CASES[case]
    own = [] if any(line.startswith("env=") for line in given) else TINY
    refusal = marl("train", *own, f"run_dir={tmp_path / 'run'}", *given).refusal
    assert [words for words in expected if words not in refusal] == []
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_holds_a_run(marl: Marl, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step":0}\n')
    refusal = marl("train", *TINY, f"run_dir={run}").refusal
    assert str(run) in refusal
    assert "marl resume" in refusal
    assert [p.name for p in run.iterdir()] == ["metrics.jsonl"]


def test_run_folder_under_a_file(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "file" in marl("train", *TINY, f"run_dir={tmp_path / 'file' / 'run'}").refusal


@pytest.mark.parametrize("command", ["evaluate", "resume"])
def test_no_run(command: str, marl: Marl, tmp_path: Path) -> None:
    assert f"RUN = '{tmp_path}'" in marl(command, str(tmp_path)).refusal


@pytest.mark.parametrize("command", ["evaluate", "resume"])
@pytest.mark.parametrize(("text", "words"), [("env: [", "config.yaml"), ("seed: 3", "'modules' is missing"), ("just text", "a table")])
def test_broken_config(command: str, text: str, words: str, marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    assert words in marl(command, str(tmp_path)).refusal


def test_unknown_command_and_key_of_list(marl: Marl) -> None:
    assert "no command 'trian'" in marl("trian").refusal
    assert "legal are" in marl("list", "seed=3").refusal
    assert "write marl list env=harvest algorithm=ippo" in marl("list", "harvest", "ippo").refusal
    assert marl("resume").refusal == "marl resume: the following arguments are required: RUN"
    assert "closest: capacity" in marl("list", "env=harvest", "env.capacitty=3").refusal


@pytest.mark.parametrize(("launcher", "extra"), [("joblib", "sweep"), ("submitit_slurm", "slurm")])
def test_launcher_that_is_not_installed(launcher: str, extra: str) -> None:
    assert f"market-marl[{extra}]" in str(extras.missing(extras.LAUNCHERS[launcher]))


def test_module_of_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.EXTRAS, "no_such_library.part", "ray")
    with pytest.raises(UserError, match=r"market-marl\[ray\]"):
        extras.need("no_such_library.part")
    assert extras.need("json.decoder").__name__ == "json.decoder"
