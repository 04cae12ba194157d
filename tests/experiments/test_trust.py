"""A run's folder runs no code that its user has not named: modules to import, a factory to call, what that imports in turn."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import experiments
from experiments import run_folder, trust
from experiments.cli import main
from experiments.run_folder import RunFolder, config_hash
from marl.errors import UserError
from tests.experiments.conftest import ROOT, TINY, Marl

FOREIGN = ["env=pettingzoo", "n_envs=2", "evaluation.episodes=2", "total_steps=40", "algorithm.rollout=10", "algorithm.hidden=[8]"]
SPEAKERS = "mpe2.simple_speaker_listener_v4:parallel_env"


@pytest.fixture(autouse=True)
def unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has named anything, and nothing was said."""
    monkeypatch.setattr(trust, "_named", set())
    monkeypatch.setattr(trust, "_said", set())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an installed environment."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", *FOREIGN, f"env.factory={SPEAKERS}", f"run_dir={folder}"]) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be forged."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def forged(run: Path, signed: bool = True, **changes: Any) -> None:
    """Another configuration, with the hash that belongs to it."""
    folder = RunFolder(run)
    config = folder.read_config()
    config["env"] |= {key: value for key, value in changes.items() if key != "modules"}
    config["modules"] = changes.get("modules", [])
    folder.config.write_text(yaml.safe_dump(config, sort_keys=False))
    if signed:
        text = folder.manifest.read_text()
        folder.manifest.write_text(text.replace(folder.read_manifest()["config_hash"], config_hash(config)))


def commands(run: Path, page: Path) -> Iterator[list[str]]:
    yield ["evaluate", str(run)]
    yield ["resume", str(run)]
    yield ["replay", str(run), "-o", str(page)]
    yield ["evaluate", str(run), str(run), "--ensemble", "mean"]
    yield ["traders", "--run", str(run)]


HOSTILE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a factory of the system": ({"factory": "os:system", "kwargs": {"command": "touch PWNED"}}, ["calls 'os:system'", "--module os"]),
    "a factory that loads pickles": ({"factory": "torch:load", "kwargs": {"f": "evil.pt"}}, ["calls 'torch:load'"]),
    "a writer of this distribution": ({"factory": "experiments.run_folder:write"}, ["calls 'experiments.run_folder:write'"]),
    "a package in its argument": (
        {"factory": "marl.tuples:parallel_env", "kwargs": {"name": "evilmod:Env-v0"}}, ["imports for 'evilmod:Env-v0'", "--module evilmod"],
    ),
    "a package in a list in its argument": (
        {"factory": "gymnasium:make", "kwargs": {"id": {"deep": ["evilmod:Env-v0"]}}}, ["imports for 'evilmod:Env-v0'"],
    ),
    "a module": ({"modules": ["evilmod"]}, ["imports 'evilmod'", "of no installed module", "--module evilmod", "--trust"]),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_no_command_runs_what_a_folder_brings(case: str, run: Path, marl: Marl, tmp_path: Path) -> None:
    """Files of that name lie in the folder, and the command is started there."""
    changes, words = HOSTILE[case]
    forged(run, **changes)
    (run / "evilmod.py").write_text("from pathlib import Path\nPath('PWNED').touch()\n")
    os.chdir(run)
    for given in commands(run, tmp_path / "page.png"):
        refusal = marl(*given).refusal
        assert [w for w in (*words, "brings code", str(run)) if w not in refusal] == []
        assert not (run / "PWNED").exists()


def test_an_edited_configuration_is_refused_before_its_module_is_imported(run: Path, marl: Marl) -> None:
    forged(run, signed=False, modules=["evilmod"])
    (run / "evilmod.py").write_text("from pathlib import Path\nPath('PWNED').touch()\n")
    os.chdir(run)
    for given in (["evaluate", ".", "--module", "evilmod"], ["resume", ".", "--trust"]):
        said = marl(*given)
        assert said.code == 2 and "config.yaml was edited" in said.err
        assert (run / "PWNED").exists() == ("--module" in given)  # the one that the user named is the user's
        (run / "PWNED").unlink(missing_ok=True)


def test_a_namesake_of_an_installed_package_is_none(run: Path, marl: Marl, monkeypatch: pytest.MonkeyPatch) -> None:
    """lbforaging is installed; in the folder lies another of that name, which a path that begins there would import."""
    forged(run, factory="lbforaging:parallel_env")
    (run / "lbforaging.py").write_text("from pathlib import Path\nPath('PWNED').touch()\n")
    os.chdir(run)
    for name in [name for name in sys.modules if name.partition(".")[0] == "lbforaging"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert "of no installed package of environments" in marl("evaluate", ".").refusal
    assert not (run / "PWNED").exists()


def test_an_installed_environment_is_taken_with_a_word(run: Path) -> None:
    """In a process of its own, as a user evaluates a run that somebody else has made."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    call = [sys.executable, "-m", "experiments.cli", "evaluate", str(run), "--episodes", "2"]
    said = subprocess.run(call, capture_output=True, text=True, check=False, env=env)
    assert said.returncode == 0, said.stderr
    assert f"marl: {run} brings code: its config.yaml calls {SPEAKERS}" in said.stderr.splitlines()


OWN = """
import envs
from tests.commons import COMMONS
envs.GAMES["pasture"] = COMMONS
"""


def test_a_game_of_ones_own_is_named_again_where_its_run_is_read(tmp_path: Path) -> None:
    """The way of the README: `--module` with train, and with whatever reads the run; `--trust` takes it as well."""
    (tmp_path / "my_pasture.py").write_text(OWN)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "experiments.cli", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=env, cwd=tmp_path)

    trained = call("train", "--module", "my_pasture", "env=pasture", *TINY[1:], "total_steps=20", "run_dir=run")
    assert trained.returncode == 0, trained.stderr
    refused = call("evaluate", "run", "--episodes", "2")
    assert refused.returncode == 2 and "imports 'my_pasture', of no installed module" in refused.stderr
    named = call("evaluate", "run", "--episodes", "2", "--module", "my_pasture")
    assert (named.returncode, named.stderr) == (0, "")
    assert call("resume", "run", "--trust", "total_steps=40").returncode == 0


def test_modules_on_the_command_line_are_imported(marl: Marl, tmp_path: Path) -> None:
    """`modules=[...]` is what `--module` is: one that is not there is refused before the run."""
    refusal = marl("train", *TINY, "modules=[nowhere]", f"run_dir={tmp_path / 'run'}").refusal
    assert "'nowhere': no module named 'nowhere'" in refusal and not (tmp_path / "run").exists()
    said = marl("train", *TINY, "modules=[tests.toys]", "--module", "tests.toy_algorithm", "--cfg", "job")
    assert "modules:\n- tests.toy_algorithm\n- tests.toys\n" in said.out


def test_in_python_a_name_is_given_once(run: Path) -> None:
    forged(run, factory="tests.experiments.test_trust:speakers")
    with pytest.raises(UserError, match=r"name it with --module tests\.experiments\.test_trust"):
        experiments.evaluate(run, 2)
    trust.trust("tests.experiments.test_trust")
    assert experiments.evaluate(run, 2)["return"]["episodes"] == 2


def speakers(**given: Any) -> Any:
    """A factory that is installed nowhere."""
    from mpe2 import simple_speaker_listener_v4

    return simple_speaker_listener_v4.parallel_env(**given)


@pytest.mark.parametrize(
    ("name", "known"),
    [("mpe2.simple_tag_v3", True), ("lbforaging", True), ("pettingzoo.classic", True), ("gymnasium", True), ("torch", False), ("os", False),
     ("numpy", False), ("nowhere", False), ("tests.toys", False), ("experiments", False)],
)  # fmt: skip
def test_environments_are_distributions_that_require_one(name: str, known: bool) -> None:
    assert trust._is_environment(name) is known


def test_where_a_distribution_lies() -> None:
    assert Path(sysconfig.get_path("purelib")).is_dir() and trust._distributions("yaml")
    assert not trust._distributions("json") and not trust._distributions("nowhere.at.all")


@pytest.mark.parametrize("text", ["modules: 5", "modules: [1]", "modules: {a: b}"])
def test_modules_that_are_no_list(text: str, run: Path, marl: Marl) -> None:
    lines = [line for line in (run / "config.yaml").read_text().splitlines() if not line.startswith("modules")]
    (run / "config.yaml").write_text("\n".join([*lines, text]) + "\n")
    assert "a list like [a, b] is expected" in marl("evaluate", str(run)).refusal


# ---- texts that are no configuration -----------------------------------------------------------------------------------

Damage = Callable[[RunFolder], None]


def bomb(folder: RunFolder) -> None:
    lines = ["x0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"x{i}: &x{i} [{', '.join(9 * [f'*x{i - 1}'])}]" for i in range(1, 9)]
    folder.config.write_text("\n".join(lines) + "\n")


def large(folder: RunFolder) -> None:
    folder.config.write_bytes(b"# " + b"x" * (5 << 20))


def deep(folder: RunFolder) -> None:
    folder.config.write_text("[" * 50_000)


def deep_manifest(folder: RunFolder) -> None:
    folder.manifest.write_text("[" * 200_000)


def hashes(folder: RunFolder) -> None:
    folder.manifest.write_text('{"id": "a", "config_hash": "b", "git": null, "earlier_hashes": 5}')


@pytest.mark.parametrize(
    ("damage", "words"),
    [(bomb, "alias *x0 in line 2"), (large, "more than 4,194,304 bytes"), (deep, "config.yaml"), (deep_manifest, "manifest.json"),
     (hashes, "earlier_hashes = 5")],
)  # fmt: skip
def test_a_text_that_unfolds_is_refused(damage: Damage, words: str, run: Path, marl: Marl, tmp_path: Path) -> None:
    damage(RunFolder(run))
    for given in commands(run, tmp_path / "page.png"):
        assert words in marl(*given).refusal


def test_what_a_run_writes_has_no_aliases(tmp_path: Path) -> None:
    """A list that occurs twice is written twice."""
    twice = [1, 2]
    config = {"seed": 0, "run_dir": "x", "a": twice, "b": {"c": twice}, "d": twice}
    folder = run_folder.create(tmp_path / "run", config)
    assert "&" not in folder.config.read_text() and folder.read_config() == config
    with pytest.raises(UserError, match="large arguments belong in a file of their own"):
        run_folder.create(tmp_path / "large", {**config, "a": "x" * (5 << 20)})
    assert not (tmp_path / "large").exists()
