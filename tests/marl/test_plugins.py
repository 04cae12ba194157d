"""Games that live elsewhere: a package is imported by name and registers what it brings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import envs
from marl import UserError
from marl.plugins import load_attribute, load_module
from tests.commons import COMMONS

BRINGS = """
from dataclasses import replace
import envs
from tests.commons import COMMONS
envs.GAMES["pasture"] = replace(COMMONS, name="pasture")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pastures"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(envs, "GAMES", dict(envs.GAMES))
    yield folder
    for name in [n for n in sys.modules if n.split(".")[0] == "pastures"]:
        del sys.modules[name]


def test_a_package_registers_its_game(package: Path) -> None:
    (package / "__init__.py").write_text(BRINGS)
    load_module("pastures")
    copies = envs.make("pasture", 2, n_agents=3)
    copies.reset(0)
    assert copies.name == "pasture" and copies.obs.shape == (2, 3, 2)
    assert envs.parallel_env("pasture").possible_agents[0] == "harvester_0"


def test_the_folder_of_the_command_is_looked_through(package: Path, tmp_path: Path) -> None:
    (package / "__init__.py").write_text("FOUND = 1")
    code = "import sys; sys.path.remove(''); from marl.plugins import load_module; print(load_module('pastures').FOUND)"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": root, "PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "1", done.stderr


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("", "my-package", "--module = 'my-package': the dotted name of a module is expected"),
        ("", "pastures.green", "--module = 'pastures.green': no module named 'pastures.green'"),
        ("", "meadows", "--module = 'meadows': no module named 'meadows'"),
        ("import tractor", "pastures", "--module = 'pastures': no module named 'tractor', which pastures imports"),
        ("1 / 0", "pastures", "--module = 'pastures': importing it raised ZeroDivisionError: division by zero"),
        ("x = = 1", "pastures", "--module = 'pastures': importing it raised SyntaxError: invalid syntax"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(package: Path, text: str, name: str, expected: str) -> None:
    (package / "__init__.py").write_text(text)
    with pytest.raises(UserError) as caught:
        load_module(name)
    assert str(caught.value).startswith(expected) and "\n" not in str(caught.value)


def test_attributes_by_name() -> None:
    assert load_attribute("tests.commons:COMMONS", "env.factory") is COMMONS
    with pytest.raises(UserError, match=r"env\.factory = 'tests.commons:NONE': module 'tests.commons' has no 'NONE'"):
        load_attribute("tests.commons:NONE", "env.factory")
